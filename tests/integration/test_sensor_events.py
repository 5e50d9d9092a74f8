"""The sensor resumed by an event of its trigger."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    TaskDeferred,
)

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import GrokVideoError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from tests.support.task_run import TaskRun


def submitted(prompt: str = "A lake", **fields: Any) -> str:
    """Return the id of a new generation."""
    return GrokVideoHook().submit(VideoRequest(prompt=prompt, duration=1, **fields))


def context(try_number: int) -> Any:
    """Return what a sensor needs of a context."""
    return TaskRun(list, try_number=try_number).context(SimpleNamespace(task_id="sense"))


@pytest.mark.parametrize("status", ["timeout", "done", "error"])
def test_event_of_an_earlier_attempt_is_ignored(status: str, sandbox: Any) -> None:
    request_id = submitted()
    sensor = GrokVideoSensor(task_id="sense", request_id=request_id)
    event = {"status": status, "request_id": request_id}

    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute_complete(context(2), event, started_at=time.time() - 500, try_number=1)

    assert deferral.value.kwargs["try_number"] == 2
    assert time.time() - deferral.value.kwargs["started_at"] < 60
    assert deferral.value.trigger.deadline > time.time() + 800


@pytest.mark.parametrize(
    "kwargs", [{}, {"began_at": 0.0}, {"began_at": 0.0, "try_number": 2}, {"started_at": 0.0, "try_number": 2}], ids=str
)
def test_released_resume_arguments_are_accepted(kwargs: dict[str, Any], sandbox: Any) -> None:
    request_id = submitted()
    GrokVideoHook().wait(request_id, poll_interval=0.1)
    kwargs = {name: time.time() - 100 if name.endswith("_at") else value for name, value in kwargs.items()}

    result = GrokVideoSensor(task_id="sense", request_id=request_id).execute_complete(
        context(2), {"status": "done", "request_id": request_id}, **kwargs
    )

    assert result["status"] == "done"
    assert (result["elapsed_seconds"] >= 100) is bool(kwargs)


@pytest.mark.parametrize(
    ("error", "kind"), [("Trigger timeout", AirflowSensorTimeout), ("Trigger failure", GrokVideoError)]
)
def test_failed_trigger_does_not_end_the_generation(error: str, kind: type[Exception], sandbox: Any) -> None:
    request_id = submitted()
    sensor = GrokVideoSensor(task_id="sense", request_id=request_id)
    sandbox.fault("poll", "bare_id", times=1, request_id=request_id)

    with pytest.raises(kind, match=request_id):
        sensor.resume_execution("__fail__", {"error": error, "traceback": ["x"]}, context(1))

    GrokVideoHook().wait(request_id, poll_interval=0.1)
    assert sensor.resume_execution("__fail__", {"error": error}, context(1))["status"] == "done"


@pytest.mark.parametrize("event", ["success", "failed", None])
def test_unknown_event_is_replaced_by_a_poll(event: Any, sandbox: Any) -> None:
    request_id = submitted()
    GrokVideoHook().wait(request_id, poll_interval=0.1)

    result = GrokVideoSensor(task_id="sense", request_id=request_id).execute_complete(context(1), event)

    assert (result["request_id"], result["status"]) == (request_id, "done")
