"""Pacing: what a server sees of a thousand waits, while it refuses for a time."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence

from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger
from benchmarks.cpu_per_poll import fire
from benchmarks.harness import Bar, Server, Table, variables

WAITS = 1000
LIMIT = 50.0
RETRY_AFTER = 3.0
BEFORE, REFUSING, AFTER = 10.0, 6.0, 30.0


async def waits(server: Server, scale: float) -> float:
    """Let the waits run into refusals and out of them again; returns when the refusals began."""
    deadline = time.time() + 3600
    tasks = [
        asyncio.create_task(fire(GrokVideoTrigger("grokvideo_bench", f"wait-{number}", 5.0, deadline)))
        for number in range(WAITS)
    ]
    await asyncio.sleep(BEFORE * scale)
    began = time.time()
    await asyncio.to_thread(server.control, "refuse", seconds=REFUSING * scale, retry_after=RETRY_AFTER)
    await asyncio.sleep((REFUSING + AFTER) * scale)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return began


def per_second(timeline: Sequence[tuple[float, int]], since: float, until: float) -> list[int]:
    """Requests in each whole second, empty ones too."""
    seen = Counter(int(at - since) for at, _ in timeline if since <= at < until)
    return [seen[second] for second in range(int(until - since))]


def run(quick: bool) -> Table:
    """Count at the server."""
    scale = 0.5 if quick else 1.0
    with Server() as server, variables(AIRFLOW_CONN_GROKVIDEO_BENCH=server.connection(max_requests_per_second=LIMIT)):
        began = asyncio.run(waits(server, scale))
        timeline = server.control("timeline")
    first, last = timeline[0][0], timeline[-1][0]
    refusals = [at for at, status in timeline if status == 429]
    resumed = next(at for at, _ in timeline if at > refusals[0] + RETRY_AFTER / 2)
    table = Table(
        f"Pacing: {WAITS:,} waits, {LIMIT:g} requests/s allowed, 429 with Retry-After {RETRY_AFTER:g} s "
        f"for {REFUSING * scale:g} s; counted at the server",
        ["phase", "seconds", "requests/s, mean", "most in one second", "429s"],
    )
    phases = {
        "before": (first, began),
        "refusing": (began, began + REFUSING * scale),
        "first 10 s after": (began + REFUSING * scale, began + REFUSING * scale + 10),
        "the rest": (began + REFUSING * scale + 10, last),
    }
    for name, (since, until) in phases.items():
        if counts := per_second(timeline, since, until):
            refused = sum(since <= at < until for at in refusals)
            table.rows.append((name, len(counts), statistics.mean(counts), max(counts), refused))
    table.bars = [
        Bar("most requests in one second against the limit", max(per_second(timeline, first, last)) / LIMIT, 1.05),
        Bar("429s, which were under way or one try after each Retry-After", len(refusals), 2 * REFUSING),
        Bar("seconds of silence after the first 429", resumed - refusals[0], RETRY_AFTER * 0.95, at_least=True),
    ]
    return table
