"""When a sensor starts and ends in the triggerer, and the events of its trigger."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_grokvideo.api.polling import Stop
from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.sensors import grokvideo as sensors
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from airflow_provider_grokvideo.triggers.grokvideo import BackoffPoller, GrokVideoSensorTrigger, GrokVideoTrigger

TEMPLATE = "{{ ti.xcom_pull('submit', key='request_id') }}"
CONTEXT: Any = {"ti": SimpleNamespace(try_number=1)}
DONE = {"status": "done", "request_id": "id-1", "duration": 8, "model": "m", "cost_usd": "0.40"}


def sensor(**given: Any) -> GrokVideoSensor:
    return GrokVideoSensor(task_id="wait", **{"request_id": "id-1", "start_from_trigger": True} | given)


@pytest.fixture(params=["2.11", "3.0", "3.3"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sensors, "AIRFLOW_V_3_0_PLUS", request.param >= "3.0")
    monkeypatch.setattr(sensors, "AIRFLOW_V_3_3_PLUS", request.param >= "3.3")
    return request.param


@pytest.mark.parametrize(
    ("given", "versions"),
    [
        ({}, ("2.11", "3.3")),
        ({"request_id": TEMPLATE}, ("3.3",)),
        ({"grokvideo_conn_id": "{{ params.conn }}"}, ("3.3",)),
        ({"deferrable": False}, ()),
        ({"start_from_trigger": False}, ()),
        ({"output_path": "file:///tmp/"}, ("2.11", "3.3")),
    ],
    ids=str,
)
def test_sensor_starts_in_the_triggerer_if_supported(version: str, given: dict[str, Any], versions: tuple[str, ...]):
    made = sensor(**given)

    assert made.start_from_trigger is (version in versions)
    assert (made.start_trigger_args is not None) is (version in versions)


def test_xcom_id_starts_on_a_worker():
    from airflow.providers.common.compat.sdk import DAG

    with DAG("dag", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        upstream = GrokVideoSensor(task_id="first", request_id="x")
        assert sensor(request_id=upstream.output["request_id"]).start_from_trigger is False


def test_start_arguments_create_the_trigger(version: str):
    if version == "3.0":
        pytest.skip("no start from a trigger")
    arguments = sensor(timeout=100, end_from_trigger=True, poll_interval=2).start_trigger_args

    trigger = GrokVideoSensorTrigger(**arguments.trigger_kwargs)
    path, again = trigger.serialize()

    assert path == arguments.trigger_cls
    assert GrokVideoSensorTrigger(**json.loads(json.dumps(again))).serialize() == (path, again)
    assert again["end_from_trigger"] is True
    assert arguments.next_method == "execute_complete"
    assert arguments.timeout > timedelta(seconds=100)


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        ({}, True),
        ({"output_path": "file:///tmp/"}, False),
        ({"outlets": ["x"]}, False),
        ({"soft_fail": True}, False),
        ({"never_fail": True}, False),
        ({"silent_fail": True}, False),
    ],
    ids=str,
)
def test_sensor_ends_in_the_triggerer_only_without_a_save(given: dict[str, Any], ends: bool):
    made = sensor(end_from_trigger=True)
    for name, value in given.items():
        setattr(made, name, value)

    assert made._start_trigger_args().trigger_kwargs["end_from_trigger"] is ends


def test_normal_deferral_ends_in_the_triggerer():
    from airflow.providers.common.compat.sdk import TaskDeferred

    with pytest.raises(TaskDeferred) as deferral:
        sensor(end_from_trigger=True)._wait.defer(CONTEXT, time.time())
    assert isinstance(deferral.value.trigger, GrokVideoSensorTrigger)

    with pytest.raises(TaskDeferred) as deferral:
        sensor()._wait.defer(CONTEXT, time.time())
    assert type(deferral.value.trigger) is GrokVideoTrigger


def ended(said: dict[str, Any], *, end_from_trigger: bool = True) -> TriggerEvent:
    now = time.time()
    trigger = GrokVideoSensorTrigger("c", "id-1", 1.0, 100.0, now + 90, end_from_trigger)
    return trigger._event(said)


def test_success_event_has_the_result_without_url():
    event = ended(DONE | {"video_url": "https://signed"})

    assert isinstance(event, TaskSuccessEvent)
    result = event.xcoms["return_value"]
    assert (result["request_id"], result["cost_usd"], result["video_url"]) == ("id-1", "0.40", None)
    assert 10 <= result["elapsed_seconds"] < 60
    assert "signed" not in repr(event)


@pytest.mark.parametrize("status", ["failed", "moderated", "expired", "timeout", "error"])
def test_other_events_fail_the_task(status: str):
    event = ended({"status": status, "request_id": "id-1", "error_message": "why"})

    assert isinstance(event, TaskFailedEvent)
    assert (event.xcoms is None) is (status in {"timeout", "error"})


@pytest.mark.parametrize("status", ["done", "failed"])
def test_trigger_does_not_end_the_task_by_default(status: str):
    assert type(ended({"status": status, "request_id": "id-1"}, end_from_trigger=False)) is TriggerEvent


@pytest.mark.parametrize(
    ("limit", "deadline"), [(None, 100), (timedelta(seconds=160), 100), (timedelta(seconds=30), 30)], ids=str
)
def test_airflow_timeout_bounds_a_restarted_wait(monkeypatch, limit, deadline):
    async def follow(trigger: GrokVideoTrigger, poller: Any) -> Stop:
        return Stop("error", InvalidRequestError("enough"))

    monkeypatch.setattr(GrokVideoTrigger, "_follow", follow)
    trigger = GrokVideoSensorTrigger("c", "id-1", 1.0, 100.0)
    began = time.time()
    if limit is not None:
        trigger._task_instance = SimpleNamespace(trigger_timeout=datetime.now(UTC) + limit)
        monkeypatch.setattr(
            GrokVideoSensorTrigger, "task_instance", property(lambda self: self._task_instance), raising=False
        )

    async def run() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(run())

    assert event.payload["status"] == "error"
    assert trigger.deadline - began == pytest.approx(deadline, abs=20)
    assert trigger.serialize()[1]["deadline"] is None


@pytest.mark.parametrize("rendered", ["", "  ", "None", " None\n"])
@pytest.mark.parametrize("end_from_trigger", [False, True])
def test_empty_id_ends_a_wait_in_the_triggerer(rendered: str, end_from_trigger: bool):
    trigger = GrokVideoSensorTrigger("no-such-connection", TEMPLATE, 1.0, 100.0, None, end_from_trigger)
    trigger.request_id = rendered

    async def run() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(run())

    if end_from_trigger:
        assert isinstance(event, TaskFailedEvent)
    else:
        assert (event.payload["status"], event.payload["error_type"]) == ("error", "InvalidRequestError")
        assert "XCom" in event.payload["error_message"]


def test_event_names_the_start_in_the_triggerer():
    trigger = GrokVideoSensorTrigger("c", "id-1", 1.0, 100.0, time.time() + 90)

    event = trigger._event(DONE)

    assert time.time() - event.payload["started_at"] == pytest.approx(10, abs=5)


def test_interval_doubles_up_to_the_maximum():
    poller = BackoffPoller(poll_interval=2.0, max_poll_interval=12.0, deadline=1e9, now=0.0)
    seconds = []
    for polls in range(6):
        poller.polls = polls
        seconds.append(poller.poll_interval)

    assert seconds == [2, 4, 8, 12, 12, 12]


@pytest.mark.parametrize(
    ("given", "longest"),
    [({}, None), ({"exponential_backoff": True}, 900), ({"exponential_backoff": True, "max_wait": 40}, 40)],
    ids=str,
)
def test_exponential_backoff_is_kept_in_the_triggerer(given: dict[str, Any], longest: float | None):
    from airflow.providers.common.compat.sdk import TaskDeferred

    with pytest.raises(TaskDeferred) as deferral:
        sensor(**given)._wait.defer(CONTEXT, time.time())

    path, arguments = deferral.value.trigger.serialize()
    assert arguments.get("max_poll_interval") == longest
    assert type(GrokVideoSensorTrigger(**arguments)._poller()) is BackoffPoller if longest else "Sensor" not in path
