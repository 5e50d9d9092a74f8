"""No request and no XCom makes the preview's server fail: it answers, or says that there is nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.hostile import NASTY, documents

pytest.importorskip("fastapi", reason="this Airflow has no pages of plugins")

from fastapi.testclient import TestClient

from airflow_provider_grokvideo.plugins.preview import database, routes
from airflow_provider_grokvideo.plugins.preview.access import Location, Record, card, may_play

OPERATOR = "airflow_provider_grokvideo.operators.grokvideo"
VIDEO = b"\x00\x00\x00\x18ftypisom" + b"x" * 1000
RUN = "/dags/d/runs/r"


class Airflow:
    """Stands in for Airflow's database: one task instance, and the ids that were looked up."""

    def __init__(self) -> None:
        self.record = Record("make", -1, "success", OPERATOR)
        self.asked: list[tuple[Any, ...]] = []

    def find(self, *ids: Any) -> Record:
        self.asked.append(ids)
        return self.record

    def page(self, dag_id: str, run_id: str, offset: int) -> tuple[list[Record], bool]:
        self.asked.append((dag_id, run_id, offset))
        return [self.record], False


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    airflow = Airflow()
    monkeypatch.setattr(database, "find", airflow.find)
    monkeypatch.setattr(database, "page", airflow.page)
    monkeypatch.setattr(database, "check_run", lambda *ids: airflow.asked.append(ids))
    return airflow


@pytest.fixture
def client(airflow: Airflow) -> Iterator[TestClient]:
    app = routes.create_app()
    for dependency in routes.videos.dependencies:
        if dependency.dependency is not routes._refuse_unprintable_ids:
            app.dependency_overrides[dependency.dependency] = lambda: None
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def landed(path: Path, **fields: Any) -> Record:
    """Return the record of a task whose output_path was that file."""
    result = {"request_id": "r", "status": "done", "path": str(path), "size_bytes": len(VIDEO), **fields}
    return Record("make", -1, "success", OPERATOR, fields={"output_path": str(path)}, returned=json.dumps(result))


PLACES = ("", "/videos", "/progress", "/media")


@pytest.mark.parametrize("index", ["9" * 5000, "9" * 20, "--1", "-2", "1.5", "²", "٣", "x", "-", "%00", "1e3"])
@pytest.mark.parametrize("place", PLACES)
def test_map_index_that_is_none_is_not_found(index: str, place: str, client: TestClient, airflow: Airflow) -> None:
    assert client.get(f"{RUN}/tasks/make/{index}{place}").status_code == 404
    assert airflow.asked == []


@pytest.mark.parametrize("index", ["-1", "0", "123456789", "{MAP_INDEX}"])
def test_map_index_is_looked_up(index: str, client: TestClient, airflow: Airflow) -> None:
    assert client.get(f"{RUN}/tasks/make/{index}/videos").status_code == 200
    assert airflow.asked == [("d", "r", "make", -1 if index.startswith("{") else int(index))]


@pytest.mark.parametrize(
    "path",
    [
        "/dags/%00/runs/r",
        "/dags/d/runs/r%00",
        "/dags/d/runs/%1b%5B31m/videos",
        *(f"{RUN}/tasks/m%00/-1{place}" for place in PLACES),
        f"{RUN}/tasks/%0a/-1/media",
        f"{RUN}/tasks/%C2%85/-1/videos",
    ],
)
def test_ids_that_no_database_holds_are_not_found(path: str, client: TestClient, airflow: Airflow) -> None:
    assert client.get(path).status_code == 404
    assert airflow.asked == []


@pytest.mark.parametrize("offset", ["9" * 5000, "9" * 30, str(2**63), "x", "1.5", "", "NaN", "%00"])
def test_offset_that_is_none_is_refused(offset: str, client: TestClient) -> None:
    assert 400 <= client.get(f"{RUN}/videos?offset={offset}").status_code < 500


@pytest.mark.parametrize(("offset", "looked_up"), [("0", 0), ("60", 60), ("-5", 0), ("-" + "9" * 100, 0)])
def test_offset_is_looked_up(offset: str, looked_up: int, client: TestClient, airflow: Airflow) -> None:
    assert client.get(f"{RUN}/videos?offset={offset}").status_code == 200
    assert airflow.asked == [("d", "r", looked_up)]


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
def test_any_range_is_answered(header: str, status: int, client: TestClient, airflow: Airflow, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(VIDEO)
    airflow.record = landed(tmp_path / "v.mp4")

    answer = client.get(f"{RUN}/tasks/make/-1/media", headers={"Range": header.encode("latin-1")})

    assert answer.status_code == status
    assert len(answer.content) == int(answer.headers["content-length"])


def test_loop_of_links_is_not_found(client: TestClient, airflow: Airflow, tmp_path: Path) -> None:
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "other.mp4")
    (tmp_path / "other.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "folder").symlink_to(tmp_path / "folder")
    for path in (
        tmp_path / "loop.mp4",
        tmp_path / "folder" / "v.mp4",
        tmp_path / ("x" * 300),
        tmp_path / "v\ud800.mp4",
    ):
        airflow.record = landed(path)
        assert client.get(f"{RUN}/tasks/make/-1/media").status_code in {403, 404}


ODD = [
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


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(list(odd)))
@pytest.mark.parametrize("state", ["success", "failed", "deferred"])
def test_any_xcom_is_answered(odd: dict[str, Any], state: str, client: TestClient, airflow: Airflow) -> None:
    result = {"request_id": "r", "status": "done", **odd}
    fields = {"prompt": "\ud800" * 20_000, "grokvideo_conn_id": "unknown", "duration": odd.get("duration")}
    airflow.record = Record(
        "make",
        -1,
        state,
        OPERATOR,
        label="\ud800",
        fields=fields,
        returned=result,
        outcome={**result, "error_message": "\ud800"},
    )

    for path in (f"{RUN}/videos", f"{RUN}/tasks/make/-1/videos", f"{RUN}/tasks/make/-1/progress"):
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        assert len(answer.content) < 100_000
    assert client.get(f"{RUN}/tasks/make/-1/media").status_code in {403, 404}


def test_price_keeps_what_a_page_can_show() -> None:
    def shown(cost: Any) -> Any:
        return card(Record("m", -1, "success", OPERATOR, returned={"request_id": "r", "cost_usd": cost}), [])[
            "cost_usd"
        ]

    assert [shown(cost) for cost in ("0.05", "0.0000000001", "12", "0", "1E-3")] == [
        *("0.05", "0.0000000001", "12", "0", "0.001"),
    ]
    assert shown("0." + "3" * 120) == "0." + "3" * 12
    assert [shown(cost) for cost in ("x", "", None, 3, "-1", "Infinity", "1e500")] == [None] * 7


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(documents, documents, st.dictionaries(st.sampled_from(["prompt", "output_path", "duration"]), documents))
def test_any_record_makes_a_card(returned: Any, outcome: Any, fields: dict[str, Any]) -> None:
    if isinstance(returned, dict):
        returned = {"request_id": "r", **returned}
    for state in ("success", "failed", "deferred", None):
        record = Record(
            "make", -1, state, OPERATOR, fields=fields, returned=returned, pushed_id=returned, outcome=outcome
        )
        json.dumps(card(record, [Location.parse("/v/")]), allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", NASTY)
def test_xcom_as_a_text_is_answered(text: str) -> None:
    for returned in (text, json.dumps(text), "[" * 100_000, '{"request_id": "r", "duration": ' + "9" * 5000 + "}"):
        record = Record("make", -1, "success", OPERATOR, returned=returned, pushed_id=returned, outcome=returned)
        json.dumps(card(record, []), allow_nan=False, ensure_ascii=False).encode()


def test_xcom_chooses_no_connection() -> None:
    stolen = {"request_id": "r", "path": "s3://admin@bucket/v.mp4", "size_bytes": 3}
    record = Record("make", -1, "success", OPERATOR, fields={"output_path": "s3://bucket/v.mp4"}, returned=stolen)

    with pytest.raises(Exception, match="output_path"):
        may_play(record, [])
    with pytest.raises(Exception, match="another connection"):
        may_play(record, [Location.parse("s3://bucket/"), Location.parse("s3://team@bucket/")])
    assert may_play(record, [Location.parse("s3://admin@bucket/")]).within.conn_id == "admin"
