"""Healthy and hostile waits in one real triggerer: the hostile ones do not affect the others.

Airflow's own watchdog writes into the triggerer's log when the event loop was blocked for more than 0.2 s.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from dev.airflow_stack import AirflowStack, SandboxProcess, wait_until
from dev.processes import session_members
from tests.distributed.services import Postgres, missing
from tests.support.connections import connection
from tests.support.raw_server import HOLD, RESET, RawServer, drip, repeat, response

pytestmark = pytest.mark.timeout(900)

ONCE = "wait-a-day"
HEALTHY = 50
ENDED_BY_WORKER = 5
"""Of the healthy ones; the others end in the triggerer."""
HOSTILE_TIMEOUT = 45
NEVER = 86_400
KEY = "sk-Zq81xTopSecretKey0042"
PENDING = 10
"""Polls that find a generation pending before it has failed."""
MIB = b" " * 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\n"


def saying(text: str) -> list[Any]:
    """Return the answers of a generation that has a text in each field: pending a few times, then failed."""
    fields = {"model": text, "error": {"code": text, "message": text}}
    pending = [response(200, {"status": text, "progress": 3, **fields})]
    return [*[pending] * PENDING, [response(200, {"status": "failed", **fields})]]


HOSTILE: dict[str, Any] = {
    "surrogate-in-failure": saying("\ud800 \udfff"),
    "surrogate-in-status": [[response(200, b'{"status": "\\ud83d", "progress": 3}')]],
    "surrogate-in-bytes": [[response(200, b'{"status": "\xed\xa0\x80"}')]],
    "nul": saying("a\x00b\x1b[2J\u202e"),
    "long-message": saying("x" * 900_000),
    "20-MB-message": [[b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n", *[MIB] * 19]],
    "endless-body": [repeat(OK + b"\r\n" + MIB)],
    "slow-headers": [drip(OK + b"X: " + b"y" * 10_000, 0.2)],
    "slow-body": [[OK + b"Content-Length: 100\r\n\r\n", *drip(b" " * 100, 0.5)]],
    "silence": [[HOLD]],
    "reset": [[RESET]],
    "bomb": [[response(200, gzip.compress(bytes(300 * 1024**2)), Content_Encoding="gzip")]],
    ONCE: [[response(429, {"error": "too many requests"}, Retry_After="86400")]],
    "deep": [[response(200, b"[" * 400_000)]],
    "wide": [[response(200, b"[" + b"[]," * 300_000 + b"[]]")]],
    "huge-number": [[response(200, b'{"progress": ' + b"9" * 1_000_000 + b"}")]],
    "redirect": [[response(302, b"", Location="http://[")]],
    "interim": [repeat(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", 0.01)],
    "echo": saying(f"the key {KEY} is wrong: https://e.example/v.mp4?sig={KEY}"),
    "many-headers": [[OK + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)), HOLD]],
}
assert len(HOSTILE) == 20


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """Return an API whose generations end when the test says so."""
    with SandboxProcess(tmp_path_factory.mktemp("sandbox") / "sandbox.log", render_seconds=NEVER) as process:
        yield process


@pytest.fixture
def hostile() -> Iterator[dict[str, RawServer]]:
    """Return a server for each kind of hostility."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(RawServer(*scripts)) for name, scripts in HOSTILE.items()}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Return the database of Airflow; ``None`` is its SQLite."""
    if request.param == "sqlite":
        yield None
        return
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(f"CI must run this test, but {reason}")
        pytest.skip(reason)
    with Postgres() as server:
        yield server.url


def submitted(sandbox: SandboxProcess) -> list[str]:
    """Submit the healthy generations."""
    with GrokVideoClient(Settings(base_url=sandbox.base_url, api_key=sandbox.api_key)) as client:
        return [client.submit(VideoRequest(prompt=f"A lake {number}", duration=1)) for number in range(HEALTHY)]


def waits(ids: list[str]) -> list[dict[str, Any]]:
    """Return the waits that the DAG is made of."""
    healthy = [
        {
            "task_id": f"healthy-{number}",
            "request_id": request_id,
            "connection": "grokvideo_default",
            "timeout": 800,
            "ends_in_trigger": number >= ENDED_BY_WORKER,
        }
        for number, request_id in enumerate(ids)
    ]
    hostile = [
        {
            "task_id": f"hostile-{name}",
            "request_id": f"id-of-{name}",
            "connection": f"hostile_{number}",
            "timeout": HOSTILE_TIMEOUT,
            "ends_in_trigger": True,
        }
        for number, name in enumerate(HOSTILE)
    ]
    return healthy + hostile


def states(airflow: AirflowStack, run_id: str) -> dict[str, str]:
    """Return the state of each task."""
    return {task["task_id"]: task["state"] for task in airflow.client.task_instances("waits", run_id)}


def count(airflow: AirflowStack, run_id: str, prefix: str, *wanted: str) -> int:
    """Return how many tasks of one kind are in one of some states."""
    return sum(task.startswith(prefix) and state in wanted for task, state in states(airflow, run_id).items())


def all_polled(servers: dict[str, RawServer], times: int) -> bool:
    """Return whether each hostile API was polled so many times; the one that asks for a day's pause once."""
    return all(len(server.requests) >= (1 if name == ONCE else times) for name, server in servers.items())


def test_hostile_answers_do_not_affect_other_waits(
    database_url: str | None, sandbox: SandboxProcess, hostile: dict[str, RawServer], tmp_path: Path
) -> None:
    ids = submitted(sandbox)
    servers = enumerate(hostile.values())
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": sandbox.connection,
        "GROKVIDEO_WAITS": json.dumps(waits(ids)),
        **{
            f"AIRFLOW_CONN_HOSTILE_{number}": connection(f"{server.url}/grok/v1", KEY, request_timeout=5)
            for number, server in servers
        },
    }
    dags = Path(__file__).parent / "dags"
    with AirflowStack(tmp_path, dags, env, database_url=database_url) as airflow:
        triggerer = airflow.children["triggerer"]
        processes = {process.pid for process in session_members(triggerer.pid)}
        if os.geteuid() == 0:
            # What is measured is the loop, not the other processes of two busy cores.
            for process in session_members(triggerer.pid):
                process.nice(-15)
        airflow.client.wait_for_dag("waits", 180)
        run_id = airflow.client.trigger("waits")
        wait_until(
            lambda: count(airflow, run_id, "healthy", "deferred") == HEALTHY, timeout=300, what="the healthy waits"
        )
        # Airflow itself blocks the loop while it starts 70 triggers; what counts is what the answers do after that.
        wait_until(lambda: all_polled(hostile, 2), timeout=120, what="each hostile API to be polled")
        began = len(triggerer.log.read_text(errors="replace"))
        wait_until(
            lambda: count(airflow, run_id, "hostile", "failed") == len(HOSTILE),
            timeout=HOSTILE_TIMEOUT + 240,
            what="the hostile waits to end",
        )
        assert all_polled(hostile, 5)
        assert count(airflow, run_id, "healthy", "deferred") == HEALTHY
        told = triggerer.log.read_text(errors="replace")[began:]

        for request_id in ids:
            sandbox.finish(request_id)

        wait_until(
            lambda: count(airflow, run_id, "healthy", "success") == HEALTHY,
            timeout=300,
            what="the healthy waits to end",
        )
        assert processes == {process.pid for process in session_members(triggerer.pid)}
        airflow.check()
        logs = "\n".join(path.read_text(errors="replace") for path in (tmp_path / "logs").rglob("*.log*"))
        everything = logs + triggerer.log.read_text(errors="replace")
    assert "async thread was blocked" not in told
    assert KEY not in everything
    assert "Traceback" not in told
    for name in HOSTILE:
        assert f"id-of-{name}" in everything
