"""One view of the gallery of a large run: queries to the database, and seconds, on SQLite."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Table

TASKS = 5_000
MAX_QUERIES = 9
MAX_SECONDS = 1.0
_ROUNDS = 5


def instances(count: int) -> list[dict[str, Any]]:
    """Return the task instances of a run: half submit, and half are sensors that wait for those generations."""
    result = {"status": "pending", "model": "grok-imagine-video", "video_url": None, "duration": 6, "path": None}
    made = [
        {"task_id": "make", "map_index": number, "state": "success", "fields": {"prompt": f"Scene {number}. " * 20},
         "xcoms": {"request_id": f"r-{number}", "return_value": {**result, "request_id": f"r-{number}"}}}
        for number in range(count // 2)
    ]  # fmt: skip
    waiting = [
        {"task_id": "await", "map_index": number, "state": "deferred", "fields": {"request_id": f"r-{number}"}}
        for number in range(count // 2)
    ]
    return [*made, *waiting]


def run(quick: bool) -> Table:
    """View the gallery of a small and of a large run: the page, then its cards."""
    count = 500 if quick else TASKS
    table = Table(
        "One view of the gallery: the page, then its cards, through the routes; SQLite on disk",
        ["run", "request", "cards", "queries", "seconds, first", "CPU, first", "seconds, then", "CPU, then"],
    )
    for size in (20, count):
        _view(table, size)
    large = [row for row in table.rows if row[0] == f"{count:,} tasks"]
    table.bars = [
        Bar(f"queries of one view, {count:,} tasks", large[0][3] + large[1][3], MAX_QUERIES),
        Bar("seconds of one view, the first", large[0][4] + large[1][4], MAX_SECONDS),
    ]
    table.notes = ["The queries of Airflow's auth manager are not counted: they do not depend on the run."]
    return table


def _view(table: Table, size: int) -> None:
    from fastapi.testclient import TestClient
    from sqlalchemy import create_engine
    from sqlalchemy.orm import sessionmaker

    from airflow_provider_grokvideo.plugins.preview import database, routes
    from tests.support.preview_database import DAG_ID, OPERATOR, RUN_ID, SENSOR, create_run, recorded_queries

    engine = create_engine(f"sqlite:///{Path(os.environ['BENCH_HOME'], f'{size}.db')}")
    create_run(engine, {"make": OPERATOR, "await": SENSOR}, instances(size))
    session_maker = sessionmaker(engine)
    database.create_session = lambda scoped: session_maker()  # type: ignore[assignment]
    app = routes.create_app()
    for dependency in routes.video_router.dependencies:
        app.dependency_overrides[dependency.dependency] = lambda: None
    path = f"/dags/{DAG_ID}/runs/{RUN_ID}"
    with TestClient(app) as client:
        # The first request to any app loads what FastAPI imports late.
        client.get("/static/video.css")
        requests = {"page": path, "cards": f"{path}/videos", "cards, all": f"{path}/videos?limit={max(size, 200)}"}
        for name, url in requests.items():
            with recorded_queries(engine) as queries:
                first, answer = _timed(lambda url=url: client.get(url))
            assert answer.status_code == 200, answer.text
            cards = "" if name == "page" else len(answer.json()["videos"])
            later = [_timed(lambda url=url: client.get(url))[0] for _ in range(_ROUNDS)]
            then = [statistics.median(times) for times in zip(*later, strict=True)]
            table.rows.append((f"{size:,} tasks", name, cards, len(queries), *first, *then))
    engine.dispose()


def _timed(work: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Return the seconds and the CPU seconds of the work, and its result."""
    cpu, began = time.process_time(), time.perf_counter()
    done = work()
    return (time.perf_counter() - began, time.process_time() - cpu), done
