"""Five thousand waits that start, end, time out or are cancelled at once, without Airflow around them."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable
from typing import Any

import psutil

from benchmarks.cpu_per_poll import fire
from benchmarks.harness import Bar, Server, Table, in_own_process, percentile, variables
from benchmarks.probe import STEP

RATE = 1000.0
POLL_INTERVAL = 5.0
ENDS = ("done at once", "deadline at once", "cancelled at once")


class Watch:
    """How late the loop is, sampled in the background."""

    def __init__(self) -> None:
        self._lags: list[float] = []
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(STEP)
            self._lags.append(1e3 * (loop.time() - before - STEP))

    async def during(self, what: Awaitable[Any]) -> tuple[float, float, float]:
        """The median, the 99th percentile and the maximum in milliseconds, while something goes on."""
        self._lags.clear()
        await what
        await asyncio.sleep(0.5)
        return percentile(self._lags, 0.5), percentile(self._lags, 0.99), max(self._lags)

    def stop(self) -> None:
        self._task.cancel()


async def burst(server: Server, waits: int, end: str) -> dict[str, Any]:
    """Start all, look on, end all."""
    from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

    # The first wait imports what Airflow's connections need.
    await fire(GrokVideoTrigger("grokvideo_bench", "n1-warm-up", 0.01, time.time() + 60))
    gc.collect()
    idle = psutil.Process().memory_info().rss
    await asyncio.sleep(1)
    watch = Watch()
    deadline = time.time() + (12 if end == ENDS[1] else 600)

    async def start() -> None:
        for number in range(waits):
            trigger = GrokVideoTrigger("grokvideo_bench", f"wait-{number}", POLL_INTERVAL, deadline)
            tasks.append(asyncio.create_task(fire(trigger)))
        await asyncio.sleep(POLL_INTERVAL)

    async def finish() -> None:
        if end == ENDS[0]:
            await asyncio.to_thread(server.control, "done")
        elif end == ENDS[2]:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    tasks: list[asyncio.Task[Any]] = []
    found: dict[str, Any] = {"start": await watch.during(start())}
    found["bytes"] = (psutil.Process().memory_info().rss - idle) / waits
    found["end"] = await watch.during(finish())
    found["late"] = time.time() - 0.5 - deadline
    watch.stop()
    return found


def observe(waits: int, end: str) -> dict[str, Any]:
    """One burst with a server of its own."""
    with Server() as server, variables(AIRFLOW_CONN_GROKVIDEO_BENCH=server.connection(max_requests_per_second=RATE)):
        return asyncio.run(burst(server, waits, end))


def run(quick: bool) -> Table:
    """Every kind of end."""
    waits = 500 if quick else 5000
    table = Table(
        f"{waits:,} GrokVideoTriggers on a bare event loop, {RATE:g} requests/s allowed, poll_interval "
        f"{POLL_INTERVAL:g} s",
        ["phase", "lag p50 (ms)", "p99", "max", "KiB per wait"],
    )
    for end in ENDS:
        found = in_own_process(observe, waits, end)
        table.rows += [
            ("all start at once", *found["start"], found["bytes"] / 1024),
            (end, *found["end"], ""),
        ]
        table.bars.append(Bar("lag p99 (ms), all start at once", found["start"][1], 100))
        if end != ENDS[2]:
            table.bars.append(Bar(f"lag p99 (ms), {end}", found["end"][1], 100))
        if end == ENDS[1]:
            table.bars.append(Bar("seconds after the common deadline at which the last one ends", found["late"], 3))
    table.bars.append(Bar("KiB per wait", max(row[4] for row in table.rows[::2]), 40))
    table.notes = [
        "The single largest lags are passes of Python's garbage collector over all that Airflow has imported.",
        "Airflow never cancels all at once but when a triggerer goes down.",
    ]
    return table
