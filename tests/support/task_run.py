"""Run an operator through retries, deferrals and clears: the real operator, trigger, HTTP and files.

Only Airflow's own runner is replaced, so that hundreds of runs take seconds. The same paths go through the real one in
tests/e2e.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred


class MemoryStore:
    """Stands in for ``context["task_state_store"]``."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


@dataclass
class TaskRun:
    """One task instance and its attempts.

    :param make: makes the operator afresh, as each new process does.
    :param retries: after the first attempt.
    :param store: the task state store, ``None`` for an Airflow without one.
    """

    make: Callable[[], Any]
    retries: int = 0
    store: MemoryStore | None = field(default_factory=MemoryStore)
    clear_number: int = 0
    max_tries: int | None = None
    run_id: str = "manual__1"
    run_started: datetime = datetime(2026, 11, 24, tzinfo=UTC)
    map_index: int = -1
    state: str = "none"
    result: Any = None
    error: BaseException | None = None
    xcoms: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    deferrals: list[TaskDeferred] = field(default_factory=list)
    attempts: int = 0
    try_number: int = 0

    def context(self, operator: Any) -> dict[str, Any]:
        ti = SimpleNamespace(
            dag_id="dag",
            run_id=self.run_id,
            task_id=operator.task_id,
            map_index=self.map_index,
            start_date=datetime.now(UTC),
            xcom_push=self._push,
            try_number=self.try_number,
            max_tries=self.retries if self.max_tries is None else self.max_tries,
            task=SimpleNamespace(retries=self.retries),
        )
        dag_run = SimpleNamespace(
            clear_number=self.clear_number, run_after=self.run_started, start_date=self.run_started
        )
        context: dict[str, Any] = {"ti": ti, "dag_run": dag_run}
        if self.store is not None:
            context["task_state_store"] = self.store
        return context

    def _push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def run(self) -> TaskRun:
        """Attempt until success, until a retry is forbidden, or until the retries are used up."""
        for _ in range(self.retries + 1):
            self.attempt()
            if self.state != "up_for_retry":
                return self
        self.state = "failed"
        return self

    def clear(self) -> TaskRun:
        """What a person does in the UI."""
        self.clear_number += 1
        self.max_tries = self.try_number + self.retries
        self.xcoms.clear()
        return self

    def clear_another_task(self) -> TaskRun:
        """What a person does to another task of the run, on Airflow 3.2 and later."""
        self.clear_number += 1
        return self

    def create_again(self) -> TaskRun:
        """What is left of the run after it was deleted and created again under the same id: the ledger's file."""
        self.run_started = datetime.now(UTC)
        self.try_number, self.clear_number, self.max_tries = 0, 0, None
        self.xcoms.clear()
        return self

    def attempt(self) -> None:
        """One attempt, with its deferrals."""
        self.attempts += 1
        self.try_number += 1
        self.xcoms.clear()
        method, kwargs = "execute", {}
        try:
            while True:
                operator = self.make()
                try:
                    self.result = getattr(operator, method)(self.context(operator), **kwargs)
                except TaskDeferred as deferred:
                    self.deferrals.append(deferred)
                    event = asyncio.run(_event_of(deferred.trigger))
                    self.events.append(event)
                    method, kwargs = deferred.method_name, {**(deferred.kwargs or {}), "event": event}
                else:
                    self.state, self.error = "success", None
                    return
        except AirflowSkipException as error:
            self.state, self.error = "skipped", error
        except AirflowFailException as error:
            self.state, self.error = "failed", error
        except Exception as error:
            self.state, self.error = "up_for_retry", error


async def _event_of(trigger: Any) -> Any:
    """The one event of a trigger, made anew from what Airflow stores of it."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    events = [event async for event in getattr(importlib.import_module(module), name)(**arguments).run()]
    assert len(events) == 1
    return events[0].payload
