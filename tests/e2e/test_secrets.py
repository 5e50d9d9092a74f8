"""No key, in no disguise, in nothing that Airflow keeps; and a video's signed URL only in the task's result.

All that the session has run before is searched, too.
"""

from __future__ import annotations

import base64
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack
from tests.e2e.video_runs import VideoRun, VideoRuns

SIGNATURE = re.compile(rb"signature(?:=|%3D)\w+", re.IGNORECASE)


def disguises(key: str) -> list[bytes]:
    """The key as it is and in base64, wherever in a longer text it was when that was encoded."""
    found = [key.encode()]
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + key.encode())
        found.append(encoded[offset + 1 if offset else 0 : -4])
    return found


def rows(database: Path) -> Iterator[tuple[str, bytes]]:
    """Every row of every table, with the table's name."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                cells = (cell if isinstance(cell, bytes) else str(cell).encode() for cell in row)
                yield table, b"\0".join(cells)


def files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".mp4")


@pytest.fixture(scope="module", autouse=True)
def ended(endings: VideoRuns) -> list[VideoRun]:
    """Return runs of every kind, of which there is something to search."""
    runs = endings.ended()
    assert len(runs) > len(endings) / 2
    return runs


@pytest.fixture
def database(airflow: AirflowStack) -> Path:
    path = airflow.home / "airflow.db"
    if not path.exists():
        pytest.skip("this Airflow does not keep its metadata in SQLite")
    return path


def test_search_finds_a_planted_secret(endings: VideoRuns, database: Path, airflow: AirflowStack) -> None:
    request_id = endings["failed"].ids()[0].encode()

    assert any(request_id in path.read_bytes() for path in files(airflow.home / "logs" / "tasks"))
    assert any(request_id in row for _, row in rows(database))
    encoded = base64.b64encode(b"Bearer sk-e2e-0123456789abcdef")
    assert any(disguise in encoded for disguise in disguises("sk-e2e-0123456789abcdef"))


def test_files_hold_no_key(airflow: AirflowStack, videos: Path, api_key: str, wrong_key: str) -> None:
    """Logs of tasks and of components, the database with its deleted rows, ledgers."""
    leaks = [
        path
        for path in files(airflow.home, videos)
        for disguise in (*disguises(api_key), *disguises(wrong_key))
        if disguise in path.read_bytes()
    ]
    assert leaks == []


def test_metadata_database_holds_no_key(database: Path, api_key: str, wrong_key: str) -> None:
    hidden = (*disguises(api_key), *disguises(wrong_key))
    leaks = [table for table, row in rows(database) if any(disguise in row for disguise in hidden)]
    assert leaks == []


def test_airflow_api_returns_no_key(ended: list[VideoRun], api_key: str) -> None:
    """Rendered fields, XComs and logs as the UI shows them."""
    for run in ended:
        task = run.task()
        assert api_key not in str(task)
        assert api_key not in run.log(task["try_number"])


def test_signed_url_is_in_the_result_only(airflow: AirflowStack, videos: Path, database: Path) -> None:
    tables = {table for table, row in rows(database) if SIGNATURE.search(row)}
    # An asset's event carries the result object, too.
    assert tables <= {"xcom", "asset_event"}
    leaks = {
        path: SIGNATURE.findall(path.read_bytes())[:1]
        for path in files(airflow.home / "logs", videos)
        if SIGNATURE.search(path.read_bytes())
    }
    assert leaks == {}
