"""Triggers for the benchmarks: one that measures the event loop it runs on, and one that does nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

STEP = 0.01


class LagProbe(BaseTrigger):
    """Notes every ten milliseconds how late the loop is, and writes that down every second.

    Beside each lag stands the CPU that the loop's thread used meanwhile: where the machine is busy with other things,
    the loop is late without having done anything.

    :param path: the file, one JSON object per line.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "benchmarks.probe.LagProbe", {"path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        loop = asyncio.get_running_loop()
        while True:
            lags = []
            for _ in range(round(1 / STEP)):
                before, used = loop.time(), time.thread_time()
                await asyncio.sleep(STEP)
                lags.append((loop.time() - before - STEP, time.thread_time() - used))
            line = json.dumps({"at": time.time(), "tasks": len(asyncio.all_tasks()), "lags": lags})
            await asyncio.to_thread(self._write, line)
        yield TriggerEvent({})

    def _write(self, line: str) -> None:
        with Path(self.path).open("a") as file:
            file.write(line + "\n")


class IdleTrigger(BaseTrigger):
    """Sleeps: what any wait costs in Airflow, whatever it waits for.

    :param name: tells it from the others.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "benchmarks.probe.IdleTrigger", {"name": self.name}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(3600)
        yield TriggerEvent({})
