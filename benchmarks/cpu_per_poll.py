"""CPU per poll: the real trigger, beside what the same poll costs otherwise."""

from __future__ import annotations

import asyncio
import json
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import aiohttp
import httpx
import requests
from airflow.triggers.base import BaseTrigger

from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger
from benchmarks.harness import Bar, Server, Table, variables

WAITS = 16
"""Waits that poll side by side, in every contest."""
PAUSE = 0.001
"""Seconds between the polls of one wait, in every contest: a loop that never sleeps spares itself the timers."""

Wait = Callable[[int], Awaitable[None]]
"""Polls so often, as one wait."""
_ids = count()


@asynccontextmanager
async def bare_socket(server: Server) -> AsyncIterator[Wait]:
    context = ssl.create_default_context(cafile=str(server.ca))
    request = (
        f"GET /grok/v1/videos/x HTTP/1.1\r\nHost: localhost:{server.port}\r\n"
        "Authorization: Bearer bench-key\r\nAccept: application/json\r\n\r\n"
    ).encode()
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = [
        await asyncio.open_connection("localhost", server.port, ssl=context) for _ in range(WAITS)
    ]

    async def wait(polls: int) -> None:
        reader, writer = idle.pop()
        for _ in range(polls):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            json.loads(await reader.readexactly(length))
            await asyncio.sleep(PAUSE)
        idle.append((reader, writer))

    yield wait
    for _, writer in idle:
        writer.close()


@asynccontextmanager
async def aiohttp_shared(server: Server) -> AsyncIterator[Wait]:
    async with aiohttp.ClientSession() as session:

        async def wait(polls: int) -> None:
            for _ in range(polls):
                async with session.get(f"{server.origin}/grok/v1/videos/x") as response:
                    await response.json()
                await asyncio.sleep(PAUSE)

        yield wait


@asynccontextmanager
async def aiohttp_per_poll(server: Server) -> AsyncIterator[Wait]:
    async def wait(polls: int) -> None:
        for _ in range(polls):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{server.origin}/grok/v1/videos/x") as response,
            ):
                await response.json()
            await asyncio.sleep(PAUSE)

    yield wait


@asynccontextmanager
async def httpx_shared(server: Server) -> AsyncIterator[Wait]:
    context = ssl.create_default_context(cafile=str(server.ca))
    async with httpx.AsyncClient(verify=context) as client:

        async def wait(polls: int) -> None:
            for _ in range(polls):
                (await client.get(f"{server.origin}/grok/v1/videos/x")).json()
                await asyncio.sleep(PAUSE)

        yield wait


@asynccontextmanager
async def requests_in_threads(server: Server, *, keep: bool) -> AsyncIterator[Wait]:
    """``keep``: one kept-alive session per wait; else ``requests.get``, as most hooks do."""

    def ask(get: Callable[..., requests.Response]) -> None:
        get(f"{server.origin}/grok/v1/videos/x", verify=str(server.ca), timeout=30).json()

    async def wait(polls: int) -> None:
        with requests.Session() as session:
            for _ in range(polls):
                await asyncio.to_thread(ask, session.get if keep else requests.get)
                await asyncio.sleep(PAUSE)

    yield wait


async def fire(trigger: BaseTrigger) -> Any:
    """Run a trigger to its one event."""
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger sent no event")


@asynccontextmanager
async def ours(server: Server) -> AsyncIterator[Wait]:
    async def wait(polls: int) -> None:
        request_id = f"n{polls}-{next(_ids)}"
        event = await fire(GrokVideoTrigger("grokvideo_bench", request_id, PAUSE, time.time() + 600))
        assert (event["status"], event["polls"]) == ("done", polls), event

    yield wait


@asynccontextmanager
async def http_provider(server: Server) -> AsyncIterator[Wait]:
    """What ``HttpOperator(deferrable=True)`` and ``HttpSensor(deferrable=True)`` do for one poll."""
    from airflow.providers.http.triggers.http import HttpTrigger

    async def wait(polls: int) -> None:
        for _ in range(polls):
            event = await fire(
                HttpTrigger(
                    http_conn_id="http_bench", auth_type=None, method="GET", endpoint="grok/v1/videos/x", headers=None
                )
            )
            assert event["status"] == "success", event
            await asyncio.sleep(PAUSE)

    yield wait


@asynccontextmanager
async def dbt_cloud_provider(server: Server) -> AsyncIterator[Wait]:
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    async def wait(polls: int) -> None:
        event = await fire(
            DbtCloudRunJobTrigger("dbt_bench", f"n{polls}-{next(_ids)}", time.time() + 600, PAUSE, account_id=1)
        )
        assert event["status"] == "success", event

    yield wait


OURS, FLOOR, SESSION_PER_POLL, THREADS = (
    "GrokVideoTrigger", "bare asyncio TLS socket (the floor)", "aiohttp, a session per poll",
    "requests.get in threads",
)  # fmt: skip
HTTP, DBT = "http provider: HttpTrigger", "dbt-cloud provider: DbtCloudRunJobTrigger"
CONTESTANTS: dict[str, tuple[Callable[[Server], Any], int]] = {
    FLOOR: (bare_socket, 200),
    "aiohttp, one session": (aiohttp_shared, 200),
    OURS: (ours, 200),
    "httpx, one client": (httpx_shared, 30),
    "requests in threads, a session per wait": (partial(requests_in_threads, keep=True), 30),
    THREADS: (partial(requests_in_threads, keep=False), 10),
    SESSION_PER_POLL: (aiohttp_per_poll, 20),
    HTTP: (http_provider, 10),
    DBT: (dbt_cloud_provider, 20),
}


async def contest(server: Server, rounds: int, quick: bool) -> dict[str, list[float]]:
    """CPU seconds per poll of each contestant, round by round, interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for number in range(rounds + 1):
        for name, (enter, polls) in CONTESTANTS.items():
            polls = polls // 4 if quick else polls
            async with enter(server) as wait:
                began = time.process_time()
                await asyncio.gather(*(wait(polls) for _ in range(WAITS)))
                spent = time.process_time() - began
            if number:  # the first round warms up
                seconds[name].append(spent / (polls * WAITS))
    return seconds


def run(quick: bool) -> Table:
    """Contest, and compare with the bars."""
    with (
        Server() as server,
        variables(
            AIRFLOW_CONN_GROKVIDEO_BENCH=server.connection(max_requests_per_second=1_000_000),
            AIRFLOW_CONN_HTTP_BENCH=json.dumps({"conn_type": "http", "host": server.origin}),
            AIRFLOW_CONN_DBT_BENCH=json.dumps(
                {"conn_type": "dbt_cloud", "login": "1", "password": "bench-key", "host": f"localhost:{server.port}"}
            ),
        ),
    ):
        seconds = asyncio.run(contest(server, 2 if quick else 7, quick))
    middle = {name: statistics.median(values) for name, values in seconds.items()}

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))

    table = Table(
        f"CPU per poll, {WAITS} waits side by side, loopback TLS with a verified certificate",
        ["contestant", "CPU per poll (us)", "x floor", "x GrokVideoTrigger"],
    )
    for name, value in middle.items():
        table.rows.append((name, value * 1e6, ratio(name, FLOOR), ratio(name, OURS)))
    table.bars = [
        Bar("the whole trigger path against the floor", ratio(OURS, FLOOR), 3),
        Bar("less than a session per poll, times", ratio(SESSION_PER_POLL, OURS), 10, at_least=True),
        Bar("less than the http provider's trigger, times", ratio(HTTP, OURS), 10, at_least=True),
        Bar("less than the dbt-cloud provider's trigger, times", ratio(DBT, OURS), 10, at_least=True),
        Bar("less than requests in threads, times", ratio(THREADS, OURS), 15, at_least=True),
    ]
    table.notes = ["Medians of interleaved rounds; CPU of the client's process with all its threads."]
    return table
