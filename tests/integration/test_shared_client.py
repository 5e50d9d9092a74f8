"""Thousands of waits share one client, connection lookup and rate limit."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web

from airflow_provider_grokvideo.api import aio, rate_limit
from airflow_provider_grokvideo.hooks import async_connection
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

NAME = "grokvideo_shared"
GOOD, OLD = "sk-good", "sk-old"


class Api:
    """Answers polls as the test says, and counts."""

    def __init__(self) -> None:
        self.polls: Counter[str] = Counter()
        self.sent: list[tuple[float, int]] = []
        self.done: set[str] = set()
        self.all_done = False
        self.refuse_until = 0.0
        self.retry_after = "1"
        self.hanging = asyncio.Event()
        self.hangs = False
        self.connections: set[Any] = set()
        self.keys: Counter[str] = Counter()
        self.good_key = GOOD

    async def poll(self, request: web.Request) -> web.Response:
        self.connections.add(request.transport)
        request_id = request.match_info["id"]
        self.polls[request_id] += 1
        key = request.headers["Authorization"].removeprefix("Bearer ")
        self.keys[key] += 1
        if self.hangs:
            self.hanging.set()
            await asyncio.Event().wait()
        if key != self.good_key:
            return web.json_response({"error": "invalid api key"}, status=401)
        now = time.monotonic()
        if now < self.refuse_until:
            self.sent.append((now, 429))
            return web.json_response({"error": "rate limit"}, status=429, headers={"Retry-After": self.retry_after})
        self.sent.append((now, 200))
        if self.all_done or request_id in self.done:
            return web.json_response({"status": "done", "video": {"url": "https://v/1.mp4", "duration": 8}})
        return web.json_response({"status": "pending", "progress": 10})

    def open_connections(self) -> int:
        return sum(not transport.is_closing() for transport in self.connections if transport is not None)


@pytest.fixture
async def api(context, ca_file) -> AsyncIterator[tuple[Api, Callable[..., str]]]:
    """Return the API and what makes the Airflow connection to it."""
    api = Api()
    app = web.Application()
    app.router.add_get("/grok/v1/videos/{id}", api.poll)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    def connection(rate: float = 10_000.0, key: str = GOOD, **more: Any) -> str:
        extra = {"verify": ca_file, "max_requests_per_second": rate, **more}
        host = f"https://127.0.0.1:{port}/grok/v1"
        return json.dumps({"conn_type": "grokvideo", "host": host, "password": key, "extra": extra})

    yield api, connection
    await runner.cleanup()


@pytest.fixture
def connect(api, monkeypatch) -> Callable[..., None]:
    """Return what puts the connection into the environment."""

    def put(**given: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{NAME.upper()}", api[1](**given))

    put()
    return put


@pytest.fixture
def look_ups(monkeypatch) -> list[str]:
    """Return the look-ups of connections, as they happen."""
    seen: list[str] = []
    look = async_connection.get_async_connection

    async def counted(conn_id: str) -> Any:
        seen.append(conn_id)
        return await look(conn_id)

    monkeypatch.setattr(async_connection, "get_async_connection", counted)
    monkeypatch.setattr(async_connection, "_lookups", {})
    return seen


def wait_for(request_id: str, *, interval: float = 0.02, seconds: float = 60.0) -> Coroutine[Any, Any, dict[str, Any]]:
    async def fired() -> dict[str, Any]:
        trigger = GrokVideoTrigger(NAME, request_id, interval, time.time() + seconds)
        (event,) = [event.payload async for event in trigger.run()]
        return event

    return fired()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.005)


async def test_concurrent_waits_share_client_and_lookup(api, connect, look_ups):
    server, _ = api
    before = asyncio.all_tasks()
    draw = random.Random(4)
    waits: dict[str, asyncio.Task[dict[str, Any]]] = {}
    clients = set()
    for wave in range(6):
        for number in range(40):
            request_id = f"{wave}-{number}"
            waits[request_id] = asyncio.create_task(wait_for(request_id))
        await until(lambda wave=wave: all(server.polls[f"{wave}-{number}"] for number in range(40)))
        clients |= set(aio._clients.values())
        going_on = [request_id for request_id, wait in waits.items() if not wait.done()]
        for request_id in draw.sample(going_on, 30):
            if draw.random() < 0.5:
                waits[request_id].cancel()
            else:
                server.done.add(request_id)
    server.all_done = True
    ends = await asyncio.gather(*waits.values(), return_exceptions=True)

    cancelled = [end for end in ends if isinstance(end, asyncio.CancelledError)]
    events = [end for end in ends if isinstance(end, dict)]
    assert len(cancelled) + len(events) == len(waits)
    assert {event["status"] for event in events} == {"done"}
    assert len(clients) == 1
    assert len(look_ups) <= 1 + (60 / async_connection.LOOKUP_TTL)
    assert len(server.connections) <= aio.MAX_CONNECTIONS + len(cancelled)
    assert aio._clients == {}
    assert all(client._refcount == 0 and client._session is None for client in clients)
    await until(lambda: server.open_connections() == 0)
    await until(lambda: asyncio.all_tasks() <= before)


async def test_thousand_waits_share_one_lookup(connect, api, look_ups):
    api[0].all_done = True
    ends = await asyncio.gather(*(wait_for(f"w{number}", interval=1.0) for number in range(1000)))

    assert {end["status"] for end in ends} == {"done"}
    assert len(look_ups) == 1
    assert set(api[0].polls.values()) == {1}


async def test_new_client_is_created_after_the_last_wait(connect, api):
    api[0].all_done = True
    await wait_for("first")
    assert aio._clients == {}
    assert (await wait_for("second"))["status"] == "done"
    assert len(api[0].connections) == 2


async def test_cancelled_lookup_does_not_fail_other_waits(connect, api, monkeypatch):
    looking, go_on = asyncio.Event(), asyncio.Event()
    look = async_connection.get_async_connection

    async def slow(conn_id: str) -> Any:
        looking.set()
        await go_on.wait()
        return await look(conn_id)

    monkeypatch.setattr(async_connection, "get_async_connection", slow)
    api[0].all_done = True
    first, second = asyncio.create_task(wait_for("a", interval=0.001)), asyncio.create_task(wait_for("b"))
    await looking.wait()
    first.cancel()
    go_on.set()

    assert (await second)["status"] == "done"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_rotated_key_is_looked_up_once(connect, api, look_ups):
    server, _ = api
    waits = [asyncio.create_task(wait_for(f"w{number}")) for number in range(50)]
    await until(lambda: len(server.polls) == 50)
    before = len(look_ups)

    connect(key="sk-new")
    server.good_key = "sk-new"
    await until(lambda: server.keys["sk-new"] >= 50)
    server.all_done = True
    ends = await asyncio.gather(*waits)

    assert {end["status"] for end in ends} == {"done"}
    assert len(look_ups) - before <= 3
    assert aio._clients == {}


async def test_wrong_key_fails_after_a_fresh_lookup(connect, api, look_ups):
    connect(key=OLD)
    end = await wait_for("w")

    assert (end["status"], end["error_type"], end["polls"]) == ("error", "AuthenticationError", 3)
    assert len(look_ups) == 2


async def test_rate_limit_and_pause_apply_to_all_waits(connect, api):
    server, _ = api
    connect(rate=40.0)
    waits = [asyncio.create_task(wait_for(f"w{number}")) for number in range(300)]
    await until(lambda: len(server.sent) >= 60)
    server.refuse_until = time.monotonic() + 0.5
    await until(lambda: any(status == 429 for _, status in server.sent))
    refused_at = next(at for at, status in server.sent if status == 429)
    await until(lambda: len(server.sent) >= 110)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)

    times = [at for at, _ in server.sent]
    # 100 requests take two and a half seconds, and nothing makes them faster. The pace itself is tested with a clock.
    assert times[100] - times[0] > 2.0
    assert not [at for at in times if refused_at + 0.45 < at < refused_at + 0.55]
    assert sum(status == 429 for _, status in server.sent) <= 20
    # No wait is polled twice before each has been polled once.
    assert set(server.polls.values()) == {1}


@pytest.mark.parametrize(("rate", "waits"), [(20.0, 30), (1.0, 6)], ids=["20-per-second", "1-per-second"])
async def test_expired_waits_are_polled_once(rate, waits, connect, api):
    """The triggerer was down until now: each wait is polled once, however long the queue is."""
    server, _ = api
    connect(rate=rate)
    server.done |= {f"w{number}" for number in range(0, waits, 2)}
    ends = await asyncio.gather(*(wait_for(f"w{number}", seconds=-600.0) for number in range(waits)))

    assert [end["status"] for end in ends] == ["done", "timeout"] * (waits // 2)
    assert {end["raw_status"] for end in ends} == {"done", "pending"}
    assert set(server.polls.values()) == {1}


async def test_long_retry_after_does_not_skip_the_last_poll(connect, api, monkeypatch):
    server, _ = api
    monkeypatch.setattr(rate_limit, "MAX_PAUSE", 0.5)
    server.all_done, server.retry_after, server.refuse_until = True, "86400", time.monotonic() + 0.2
    ends = await asyncio.gather(*(wait_for(f"w{number}", seconds=-600.0) for number in range(30)))

    assert {end["status"] for end in ends} == {"done"}
    assert any(status == 429 for _, status in server.sent)


async def test_hanging_last_poll_ends_after_request_timeout(connect, api):
    server, _ = api
    connect(request_timeout=0.5)
    server.hangs = True
    # It would hang for ever.
    end = await asyncio.wait_for(wait_for("w", seconds=0.2), 60)

    assert server.hanging.is_set()
    assert end["status"] == "timeout"
    assert aio._clients == {}


async def test_event_loop_is_not_blocked_by_a_thousand_waits(connect, api):
    """Not how fast: that nothing in between holds the loop for seconds."""
    lags: list[float] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            lags.append(loop.time() - before)

    watching = asyncio.create_task(watch())
    waits = [asyncio.create_task(wait_for(f"w{number}", interval=0.5)) for number in range(1000)]
    await until(lambda: len(api[0].polls) == 1000)
    api[0].all_done = True
    ends = await asyncio.gather(*waits)
    watching.cancel()

    assert {end["status"] for end in ends} == {"done"}
    assert max(lags) < 5.0
    assert len(lags) > 20
