"""Thousands of waits in one real triggerer process: lag of its event loop, memory, CPU."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Server, Table, in_own_process, percentile
from benchmarks.triggerer import Triggerer

RATE = 1000.0
POLL_INTERVAL = 5.0
LATENCY = 0.05
"""Seconds that the server takes for an answer."""
STEADY_SECONDS = 30.0

OURS, IDLE = "GrokVideoTrigger", "a trigger that only sleeps"


def trigger(kind: str, name: str) -> tuple[str, dict[str, Any]]:
    """A row for the database."""
    if kind == IDLE:
        return "benchmarks.probe.IdleTrigger", {"name": name}
    arguments = {
        "grokvideo_conn_id": "grokvideo_bench",
        "request_id": name,
        "poll_interval": POLL_INTERVAL,
        "deadline": time.time() + 3600,
    }
    return "airflow_provider_grokvideo.triggers.grokvideo.GrokVideoTrigger", arguments


def observe(kind: str, waits: int, seconds: float) -> dict[str, Any]:
    """Start so many waits at once, look on, and let them finish at once."""
    with tempfile.TemporaryDirectory(prefix="grokvideo-triggerer-") as home, Server() as server:
        server.control("reset", latency=LATENCY)
        with Triggerer(Path(home), server, RATE) as triggerer:
            # The first wait imports the code, once in a triggerer's life: no part of what one more wait takes.
            triggerer.add([trigger(OURS, "n1-warm-up")])
            triggerer.wait_for(lambda: server.control("counts")["polls"], 60)
            time.sleep(5)
            base = triggerer.samples()[-1]["tasks"]
            idle_bytes = triggerer.runner.memory_info().rss
            began = time.time()
            triggerer.add(trigger(kind, f"wait-{number}") for number in range(waits))
            triggerer.wait_for_tasks(lambda tasks: tasks >= base + waits, 300)
            time.sleep(POLL_INTERVAL + 2)
            started = time.time()
            seen = _while(triggerer, server, lambda: time.sleep(seconds))
            seen["bytes"] = (triggerer.runner.memory_info().rss - idle_bytes) / waits
            seen["start"] = _lags(triggerer, began, started)
            seen["steady"] = _lags(triggerer, started, time.time())
            if kind == OURS:
                done = time.time()
                server.control("done")
                triggerer.wait_for_tasks(lambda tasks: tasks <= base, 300)
                time.sleep(2)
                seen["finish"] = _lags(triggerer, done, time.time())
            return seen


def _while(triggerer: Triggerer, server: Server, act: Callable[[], None]) -> dict[str, Any]:
    cpu, polls, at = sum(triggerer.runner.cpu_times()[:2]), server.control("counts")["polls"], time.monotonic()
    act()
    seconds = time.monotonic() - at
    return {
        "cpu": (sum(triggerer.runner.cpu_times()[:2]) - cpu) / seconds,
        "polls": (server.control("counts")["polls"] - polls) / seconds,
    }


def _lags(triggerer: Triggerer, since: float, until: float) -> tuple[list[float], list[float]]:
    """Milliseconds that the loop was late, and milliseconds of CPU that its thread used meanwhile."""
    pairs = [pair for line in triggerer.samples(since) if line["at"] <= until + 1 for pair in line["lags"]]
    return [1e3 * lag for lag, _ in pairs], [1e3 * cpu for _, cpu in pairs]


def run(quick: bool) -> Table:
    """Observe ours and Airflow's own share."""
    table = Table(
        "Waits in one real `airflow triggerer` (its runner process; triggers are deferred tasks in the database)",
        [
            "waits",
            "trigger",
            "phase",
            "lag p50 (ms)",
            "p99",
            "max",
            "CPU p99 (ms)",
            "max ",
            "KiB per wait",
            "polls/s",
            "CPU share",
        ],
    )
    for waits in (300,) if quick else (1000, 5000):
        seen = {kind: in_own_process(observe, kind, waits, 5 if quick else STEADY_SECONDS) for kind in (IDLE, OURS)}
        for kind, found in seen.items():
            for phase in ("start", "steady", "finish"):
                if phase in found:
                    lags, cpu = found[phase]
                    steady = (found["bytes"] / 1024, found["polls"], f"{found['cpu']:.1%}")
                    row = (percentile(lags, 0.5), percentile(lags, 0.99), max(lags), percentile(cpu, 0.99), max(cpu))
                    table.rows.append((waits, kind, phase, *row, *(steady if phase == "steady" else ("", "", ""))))
        ours, idle = seen[OURS], seen[IDLE]
        table.bars += [
            *(Bar(f"{waits:,} waits, lag p99 (ms), {phase}", percentile(ours[phase][0], 0.99), 100)
              for phase in ("start", "steady", "finish")),
            Bar(f"{waits:,} waits, KiB each over the idle triggerer", ours["bytes"] / 1024, 40),
            Bar(f"{waits:,} waits, KiB each over Airflow's own share", (ours["bytes"] - idle["bytes"]) / 1024, 40),
        ]  # fmt: skip
    table.notes = [
        f"All triggers are taken in one batch (Airflow's default is 50 per second). poll_interval {POLL_INTERVAL:g} s, "
        f"{RATE:g} requests/s allowed, answers after {LATENCY * 1000:g} ms, TLS.",
        "CPU: what the loop's thread used between two samples, whatever else the machine does.",
        "The connection is a row of the database, so that the first look-up goes through the supervisor.",
    ]
    return table
