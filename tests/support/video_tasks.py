"""Tasks of the operators, with short videos and quick polls."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.task_run import MemoryStore, TaskRun

QUICK = {"poll_interval": 0.05, "timeout": 20}


def video_task(
    kind: type = GrokVideoGenerateOperator,
    *,
    retries: int = 0,
    store: MemoryStore | Callable[[], MemoryStore] | None = MemoryStore,
    **arguments: Any,
) -> TaskRun:
    """Return a task instance of an operator; a callable argument is called anew at every attempt.

    :param store: the task state store, ``None`` for an Airflow without one.
    """
    defaults = {"task_id": "task", **QUICK}
    if kind is GrokVideoGenerateOperator:
        defaults |= {"prompt": "A lake", "duration": 1}

    def make() -> Any:
        given = {**defaults, **arguments}
        return kind(**{name: value() if callable(value) else value for name, value in given.items()})

    return TaskRun(make, retries=retries, store=store() if callable(store) else store)


def counted(text: str) -> Callable[[], str]:
    """Return an argument that renders differently at every attempt."""
    numbers = itertools.count(1)
    return lambda: text.format(next(numbers))


def never_done(sandbox: Sandbox, prompt: str = "") -> None:
    """Keep generations pending until the faults are cleared."""
    sandbox.fault("poll", "bare_id", times=None, **({"prompt_contains": prompt} if prompt else {}))


def submissions_of(sandbox: Sandbox, prompt: str) -> list[dict[str, Any]]:
    """Return the submissions with this prompt."""
    return [one for one in sandbox.submissions if one["body"].get("prompt") == prompt]
