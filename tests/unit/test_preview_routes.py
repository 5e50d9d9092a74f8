"""The preview answers any request and any XCom, with content or with 404, never with an error of the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="this Airflow has no pages of plugins")

from fastapi.testclient import TestClient

from airflow_provider_grokvideo.plugins.preview import database, routes
from airflow_provider_grokvideo.plugins.preview.progress import UNKNOWN
from airflow_provider_grokvideo.plugins.preview.records import TaskRecord

OPERATOR = "airflow_provider_grokvideo.operators.grokvideo"
SENSOR = "airflow_provider_grokvideo.sensors.grokvideo"
VIDEO = b"\x00\x00\x00\x18ftypisom" + b"x" * 1000
RUN = "/dags/d/runs/r"


class FakeDatabase:
    """A substitute for Airflow's database: one task instance, and the ids that were queried."""

    def __init__(self) -> None:
        self.record = TaskRecord("make", -1, "success", OPERATOR)
        self.queries: list[tuple[Any, ...]] = []

    def get_record(self, *ids: Any) -> TaskRecord:
        self.queries.append(ids)
        return self.record

    def list_records(self, dag_id: str, run_id: str, limit: int) -> tuple[list[TaskRecord], bool]:
        self.queries.append((dag_id, run_id, limit))
        return [self.record], False

    def find_submitter(self, *ids: Any) -> TaskRecord | None:
        self.queries.append(ids)
        return TaskRecord("submit", -1, "success", OPERATOR, fields={"prompt": "A lake"}, request_id_xcom="r")


@pytest.fixture
def fake_database(monkeypatch: pytest.MonkeyPatch) -> FakeDatabase:
    fake_database = FakeDatabase()
    monkeypatch.setattr(database, "get_record", fake_database.get_record)
    monkeypatch.setattr(database, "list_records", fake_database.list_records)
    monkeypatch.setattr(database, "find_submitter", fake_database.find_submitter)
    monkeypatch.setattr(database, "check_run", lambda *ids: fake_database.queries.append(ids))
    return fake_database


@pytest.fixture
def client(fake_database: FakeDatabase) -> Iterator[TestClient]:
    app = routes.create_app()
    for dependency in routes.video_router.dependencies:
        if dependency.dependency is not routes._check_ids:
            app.dependency_overrides[dependency.dependency] = lambda: None
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def saved(path: Path, **fields: Any) -> TaskRecord:
    """Return the record of a task whose output_path was that file."""
    result = {"request_id": "r", "status": "done", "path": str(path), "size_bytes": len(VIDEO), **fields}
    fields = {"output_path": str(path)}
    return TaskRecord("make", -1, "success", OPERATOR, fields=fields, return_value_xcom=json.dumps(result))


ROUTES = ("", "/videos", "/progress", "/media")


@pytest.mark.parametrize("index", ["9" * 5000, "9" * 20, "--1", "-2", "1.5", "²", "٣", "x", "-", "%00", "1e3"])
@pytest.mark.parametrize("route", ROUTES)
def test_invalid_map_index_is_not_found(
    index: str, route: str, client: TestClient, fake_database: FakeDatabase
) -> None:
    assert client.get(f"{RUN}/tasks/make/{index}{route}").status_code == 404
    assert fake_database.queries == []


@pytest.mark.parametrize("index", ["-1", "0", "123456789", "{MAP_INDEX}"])
def test_valid_map_index_is_queried(index: str, client: TestClient, fake_database: FakeDatabase) -> None:
    assert client.get(f"{RUN}/tasks/make/{index}/videos").status_code == 200
    assert fake_database.queries == [("d", "r", "make", -1 if index.startswith("{") else int(index))]


@pytest.mark.parametrize(
    "path",
    [
        "/dags/%00/runs/r",
        "/dags/d/runs/r%00",
        "/dags/d/runs/%1b%5B31m/videos",
        *(f"{RUN}/tasks/m%00/-1{route}" for route in ROUTES),
        f"{RUN}/tasks/%0a/-1/media",
        f"{RUN}/tasks/%C2%85/-1/videos",
    ],
)
def test_unprintable_ids_are_not_found(path: str, client: TestClient, fake_database: FakeDatabase) -> None:
    assert client.get(path).status_code == 404
    assert fake_database.queries == []


@pytest.mark.parametrize(
    "limit", ["9" * 5000, "9" * 30, str(2**63), "10001", "0", "-5", "-" + "9" * 100, "x", "1.5", "", "NaN", "%00"]
)
def test_invalid_limit_is_a_client_error(limit: str, client: TestClient, fake_database: FakeDatabase) -> None:
    assert 400 <= client.get(f"{RUN}/videos?limit={limit}").status_code < 500
    assert fake_database.queries == []


@pytest.mark.parametrize(("query", "queried"), [("", 200), ("?limit=1", 1), ("?limit=10000", 10_000)])
def test_valid_limit_is_queried(query: str, queried: int, client: TestClient, fake_database: FakeDatabase) -> None:
    assert client.get(f"{RUN}/videos{query}").status_code == 200
    assert fake_database.queries == [("d", "r", queried)]


def test_tab_of_a_sensor_shows_the_prompt_of_its_submitter(client: TestClient, fake_database: FakeDatabase) -> None:
    fields = {"request_id": "r"}
    fake_database.record = TaskRecord("wait", -1, "deferred", SENSOR, fields=fields)

    [card] = client.get(f"{RUN}/tasks/wait/-1/videos").json()["videos"]

    assert fake_database.queries == [("d", "r", "wait", -1), ("d", "r", "r")]
    assert card["prompt"] == "A lake"
    assert [task["task_id"] for task in card["tasks"]] == ["submit", "wait"]


@pytest.mark.parametrize(
    ("state", "api_state", "shown"),
    [("deferred", "done", "saving"), ("failed", "done", "late"), (None, "done", "waiting")],
)
def test_progress_says_what_the_card_shows(
    state: str | None,
    api_state: str,
    shown: str,
    client: TestClient,
    fake_database: FakeDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    polled = []

    def get(conn_id: str, request_id: str) -> dict[str, Any]:
        polled.append((conn_id, request_id))
        return {**UNKNOWN, "state": api_state}

    monkeypatch.setattr(routes._progress_cache, "get", get)
    fake_database.record = TaskRecord("make", -1, state, OPERATOR, request_id_xcom="r")

    progress = client.get(f"{RUN}/tasks/make/-1/progress").json()

    assert progress["shown"] == shown
    assert (progress["advice"] is None) == (shown != "late")
    # The id that a cleared task has recorded is not polled.
    assert polled == ([("grokvideo_default", "r")] if state else [])


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("bytes=0-3", 206),
        (f"bytes=0-{'9' * 5000}", 206),
        (f"bytes=-{'9' * 5000}", 206),
        (f"bytes={'0' * 5000}1-", 206),
        (f"bytes={'9' * 5000}-", 416),
        (f"bytes={'9' * 5000}-{'9' * 5001}", 416),
        ("bytes=\xb2-", 200),
        ("bytes=" + "-" * 9000, 200),
    ],
    ids=lambda value: str(value)[:20],
)
def test_any_range_gets_a_response(
    header: str, status: int, client: TestClient, fake_database: FakeDatabase, tmp_path: Path
) -> None:
    (tmp_path / "v.mp4").write_bytes(VIDEO)
    fake_database.record = saved(tmp_path / "v.mp4")

    response = client.get(f"{RUN}/tasks/make/-1/media", headers={"Range": header.encode("latin-1")})

    assert response.status_code == status
    assert len(response.content) == int(response.headers["content-length"])


def test_loop_of_links_is_not_found(client: TestClient, fake_database: FakeDatabase, tmp_path: Path) -> None:
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "other.mp4")
    (tmp_path / "other.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "folder").symlink_to(tmp_path / "folder")
    for path in (
        tmp_path / "loop.mp4",
        tmp_path / "folder" / "v.mp4",
        tmp_path / ("x" * 300),
        tmp_path / "v\ud800.mp4",
    ):
        fake_database.record = saved(path)
        assert client.get(f"{RUN}/tasks/make/-1/media").status_code in {403, 404}


ODD_RESULTS = [
    {"video_url": "http://["},
    {"video_url": "https://u:p@h/v.mp4"},
    {"duration": "9" * 5000},
    {"duration": float("nan")},
    {"size_bytes": float("inf")},
    {"elapsed_seconds": 10**400},
    {"cost_usd": "0." + "1" * 300},
    {"cost_usd": "1e999999999"},
    {"cost_usd": "-1"},
    {"cost_usd": "NaN"},
    {"cost_usd": "9" * 5000},
    {"request_id": "\ud800", "model": "\ud800", "path": "/\ud800"},
    {"path": "/x\x00y", "size_bytes": 10**300},
    {"status": ["failed"]},
    {"model": "x" * 10**6},
]


@pytest.mark.parametrize("odd", ODD_RESULTS, ids=lambda odd: str(list(odd)))
@pytest.mark.parametrize("state", ["success", "failed", "deferred"])
def test_any_xcom_gets_a_response(
    odd: dict[str, Any], state: str, client: TestClient, fake_database: FakeDatabase
) -> None:
    result = {"request_id": "r", "status": "done", **odd}
    fields = {"prompt": "\ud800" * 20_000, "grokvideo_conn_id": "unknown", "duration": odd.get("duration")}
    fake_database.record = TaskRecord(
        "make",
        -1,
        state,
        OPERATOR,
        label="\ud800",
        fields=fields,
        return_value_xcom=result,
        outcome_xcom={**result, "error_message": "\ud800"},
    )

    for path in (f"{RUN}/videos", f"{RUN}/tasks/make/-1/videos", f"{RUN}/tasks/make/-1/progress"):
        response = client.get(path)
        assert response.status_code == 200, response.text
        assert len(response.content) < 100_000
    assert client.get(f"{RUN}/tasks/make/-1/media").status_code in {403, 404}


@pytest.mark.parametrize("path", [RUN, f"{RUN}/tasks/make/-1"])
def test_page_paints_before_it_has_data(path: str, client: TestClient, fake_database: FakeDatabase) -> None:
    fake_database.record = saved(Path("/v/secret.mp4"))

    page = client.get(path)

    assert page.headers["Content-Type"].startswith("text/html")
    assert 'class="card skeleton"' in page.text
    assert f'data-page-size="{database.PAGE_SIZE}"' in page.text
    assert "secret" not in page.text
    # The run or the task instance is looked up, and nothing else.
    assert len(fake_database.queries) == 1
    # A file from another host, or in the markup, would be blocked by the policy of the page.
    linked = re.findall(r'(?:src|href)="((?:\.\./)+)(static/[^"]+)"', page.text)
    assert [name for _, name in linked] == [
        f"static/{name}" for name in ("video.svg", "video.css", "theme.js", "video.js")
    ]
    assert page.text.count("src=") + page.text.count("href=") == len(linked)
    for up, name in linked:
        assert path.count("/") == up.count("../") + 1
        assert client.get(f"/{name}").status_code == 200
