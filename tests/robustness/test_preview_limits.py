"""A slow or huge API costs the API server few threads, little time and little memory."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.plugins.preview import progress as progress_module
from airflow_provider_grokvideo.plugins.preview.progress import CACHE_TTL, MAX_CONCURRENT_POLLS, UNKNOWN, ProgressCache
from airflow_provider_grokvideo.plugins.preview.records import TaskRecord
from tests.support import connections
from tests.support.raw_server import HOLD, RawServer, Step, drip, repeat, response

ROOT = Path(__file__).parents[2]
OPERATOR = "airflow_provider_grokvideo.operators.grokvideo"
USERS = 20
REQUEST_TIMEOUT = 1.5
GUARD = 60.0
"""Seconds after which the request counts as endless: the slow API never ends its answer."""
MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PENDING = response(200, {"request_id": "r", "status": "pending", "progress": 42}, Connection="close")


def connection(url: str) -> str:
    return connections.connection(f"{url}/grok/v1", "k" * 20)


class Clock:
    """A clock that a test can move forward."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.offset


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def get_progress(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[..., Any]:
    """Return a coroutine function that requests ``/progress`` of one task instance of a connection."""
    pytest.importorskip("fastapi", reason="this Airflow has no pages of plugins")
    import httpx

    from airflow_provider_grokvideo.plugins.preview import database, routes

    def get_record(dag_id: str, run_id: str, task_id: str, map_index: int) -> TaskRecord:
        fields = {"grokvideo_conn_id": task_id}
        return TaskRecord(task_id, map_index, "deferred", OPERATOR, fields=fields, request_id_xcom=f"r{map_index}")

    monkeypatch.setattr(database, "get_record", get_record)
    monkeypatch.setattr(routes, "_progress_cache", ProgressCache(clock=clock))
    monkeypatch.setattr(progress_module, "REQUEST_TIMEOUT", REQUEST_TIMEOUT)
    app = routes.create_app()
    for dependency in routes.video_router.dependencies:
        if dependency.dependency is not routes._check_ids:
            app.dependency_overrides[dependency.dependency] = lambda: None

    async def get_progress(conn_id: str, number: int) -> dict[str, Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            answer = await client.get(f"/dags/d/runs/r/tasks/{conn_id}/{number}/progress")
        assert answer.status_code == 200
        progress: dict[str, Any] = answer.json()
        return progress

    return get_progress


SLOW: dict[str, Callable[[], Iterator[Step]]] = {
    "no response": lambda: iter([HOLD]),
    "dripping headers": lambda: iter([HEAD, *drip(b"X-Drip: " + b"x" * 1000, 0.05)]),
    "dripping body": lambda: itertools.chain([HEAD + b"Content-Length: 100000\r\n\r\n"], repeat(b" ", 0.05)()),
    "dripping chunks": lambda: itertools.chain(
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"1\r\n \r\n", 0.05)()
    ),
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
async def test_slow_api_holds_few_threads_and_recovers(
    slow: Callable[[], Iterator[Step]], get_progress: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_healthy = threading.Event()
    with RawServer(lambda: [PENDING] if is_healthy.is_set() else slow()) as server, RawServer([PENDING]) as other:
        monkeypatch.setenv("AIRFLOW_CONN_SLOW", connection(server.url))
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(other.url))
        # Loads what is imported late.
        assert (await get_progress("other", 0))["progress"] == 42

        users = asyncio.gather(*(get_progress("slow", number) for number in range(USERS)))
        assert await asyncio.wait_for(users, GUARD) == [UNKNOWN] * USERS
        assert server.connections <= MAX_CONCURRENT_POLLS
        # One thread of the event loop, and those of its executor.
        assert (
            sum(one.name.startswith("grokvideo-preview") for one in threading.enumerate()) <= 1 + MAX_CONCURRENT_POLLS
        )

        # The API that does not answer gets no polls for some seconds; another one does.
        polls = server.connections
        assert await get_progress("slow", USERS) == UNKNOWN
        assert server.connections == polls
        assert (await get_progress("other", 1))["progress"] == 42

        is_healthy.set()
        clock.offset += CACHE_TTL["unknown"] + 1
        recovered = await asyncio.gather(*(get_progress("slow", number) for number in range(MAX_CONCURRENT_POLLS)))
        assert [progress["progress"] for progress in recovered] == [42] * MAX_CONCURRENT_POLLS


LETTERS = b"x" * 65536
# Decompressed, 64 MiB; sent, 64 KiB.
BOMB = response(200, gzip.compress(bytes(64 * MIB)), Content_Encoding="gzip")
HUGE: dict[str, Callable[[], Iterator[Step]]] = {
    "500 MB": lambda: itertools.chain([HEAD + b"Content-Length: 500000000\r\n\r\n"], repeat(LETTERS)()),
    "no length": lambda: itertools.chain([HEAD + b"Connection: close\r\n\r\n"], repeat(LETTERS)()),
    "chunks": lambda: itertools.chain(
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"10000\r\n" + LETTERS + b"\r\n")()
    ),
    "gzip": lambda: iter([BOMB]),
    "headers": lambda: itertools.chain([HEAD], repeat(b"X-Header: " + LETTERS[:8000] + b"\r\n")()),
}
MEASURE = """
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from airflow_provider_grokvideo.plugins.preview.progress import MAX_CONCURRENT_POLLS, ProgressCache

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

cache = ProgressCache()
assert cache.get("healthy", "r")["progress"] == 42
Path("/proc/self/clear_refs").write_text("5")  # The peak is counted from here.
before = memory("VmRSS")
with ThreadPoolExecutor(MAX_CONCURRENT_POLLS) as users:
    states = list(users.map(lambda number: cache.get("huge", str(number))["state"], range(9)))
growth = memory("VmHWM") - before
print(json.dumps({"states": states, "growth": growth, "after": cache.get("healthy", "s")["progress"]}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory by /proc")
@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE)
def test_huge_response_uses_little_memory(huge: Callable[[], Iterator[Step]]) -> None:
    with RawServer(huge) as server, RawServer([PENDING]) as healthy:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
            "AIRFLOW_CONN_HUGE": connection(server.url),
            "AIRFLOW_CONN_HEALTHY": connection(healthy.url),
        }
        done = subprocess.run(
            [sys.executable, "-c", MEASURE], capture_output=True, text=True, env=environment, timeout=120
        )

    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert set(measured["states"]) == {"unknown"}
    assert measured["after"] == 42
    assert server.connections >= 1
    # Three polls at once, each with 1 MiB of body, its copy, and buffers of the connection: about 4 MiB.
    assert measured["growth"] < 24 * MIB


def test_users_of_one_generation_share_one_poll() -> None:
    polls, released = [], threading.Event()

    def poll(conn_id: str, request_id: str) -> Any:
        polls.append(request_id)
        released.wait(10)
        raise ValueError("no answer")

    cache = ProgressCache(poll)
    with ThreadPoolExecutor(8) as users:
        requests = [users.submit(cache.get, "c", "r") for _ in range(8)]
        # All but the one that polls.
        finished = list(islice(as_completed(requests, timeout=10), 7))
        released.set()

    assert polls == ["r"]
    assert [request.result() for request in finished] == [UNKNOWN] * 7


def test_unknown_connection_or_unusable_id_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_UNREACHABLE", connection("http://127.0.0.1:1"))
    cache = ProgressCache()

    assert cache.get("no_such_connection", "r") == UNKNOWN
    assert cache.get("unreachable", "r") == UNKNOWN
    assert cache.get("unreachable", "\ud800") == UNKNOWN
