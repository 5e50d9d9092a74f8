"""The client of the local Airflow repeats calls that a busy API server rejects."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dev import airflow_client
from dev.airflow_client import AirflowApiError, AirflowClient
from dev.processes import StackError

LOCKED = (500, {"detail": {"reason": "Database error"}})
UNKNOWN = (404, {"detail": "Dag with dag_id: 'films' not found"})
DAG = (200, {"dag_id": "films"})
CREATED = (200, {"dag_run_id": "mine"})
CONFLICT = (409, {"detail": {"reason": "Unique constraint violation"}})
Answer = tuple[int, Any]


class Server(ThreadingHTTPServer):
    """An API server that gives the next of its answers to each call; the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.calls: list[tuple[str, str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.calls.append((self.command, self.path, json.loads(body) if body else None))
        answers = self.server.answers[self.command]
        status, content = answers.pop(0) if len(answers) > 1 else answers[0]
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(airflow_client, "REPEAT_PAUSE", 0.01)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(server: Server) -> AirflowClient:
    return AirflowClient(f"http://127.0.0.1:{server.server_port}", "admin", "admin")


def started(server: Server) -> list[str]:
    return [body["dag_run_id"] for method, _, body in server.calls if method == "POST"]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_call_is_repeated_while_the_server_is_busy(status: int, server: Server, client: AirflowClient) -> None:
    server.answers["GET"] = [(status, {}), (status, {}), (200, {"state": "success"})]

    assert client.run_state("films", "mine") == "success"
    assert len(server.calls) == 3


def test_call_fails_with_the_last_error(server: Server, client: AirflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_client, "REPEAT_FOR", 0.05)
    server.answers["GET"] = [LOCKED]

    with pytest.raises(AirflowApiError, match=r"500 .*Database error"):
        client.run_state("films", "mine")


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_wrong_call_is_not_repeated(status: int, server: Server, client: AirflowClient) -> None:
    server.answers["GET"] = [(status, {})]

    with pytest.raises(AirflowApiError):
        client.run_state("films", "mine")
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([CREATED], id="at-once"),
        pytest.param([LOCKED, LOCKED, CREATED], id="locked"),
        pytest.param([UNKNOWN, CREATED], id="not-serialized-yet"),
        pytest.param([LOCKED, CONFLICT], id="started-by-the-refused-call"),
    ],
)
def test_run_starts_when_the_dag_is_ready(answers: list[Answer], server: Server, client: AirflowClient) -> None:
    server.answers = {"GET": [UNKNOWN, LOCKED, DAG], "POST": [*answers]}

    assert client.trigger("films", run_id="mine") == "mine"
    assert started(server) == ["mine"] * len(answers)


def test_run_without_a_name_keeps_it_when_repeated(server: Server, client: AirflowClient) -> None:
    server.answers = {"GET": [DAG], "POST": [LOCKED, CREATED]}

    run_id = client.trigger("films")

    assert started(server) == [run_id, run_id]
    assert client.trigger("films") != run_id


@pytest.mark.parametrize("answer", [CONFLICT, (400, {"detail": "conf is no object"})])
def test_rejected_run_is_an_error(answer: Answer, server: Server, client: AirflowClient) -> None:
    server.answers = {"GET": [DAG], "POST": [answer]}

    with pytest.raises(AirflowApiError, match=str(answer[0])):
        client.trigger("films", run_id="mine")
    assert started(server) == ["mine"]


def test_run_that_never_starts_shows_the_last_answer(
    server: Server, client: AirflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_client, "DAG_TIMEOUT", 0.05)
    server.answers = {"GET": [DAG], "POST": [UNKNOWN]}

    with pytest.raises(StackError, match=r"a run of films to start.*404 .*not found"):
        client.trigger("films")
