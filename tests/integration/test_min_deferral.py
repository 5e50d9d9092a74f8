"""The minimum time of a deferral: a real trigger, as the triggerer and as dag.test() run it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.triggers import grokvideo as triggers
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoSensorTrigger, GrokVideoTrigger
from airflow_provider_grokvideo.utils.deferral import min_deferral
from tests.support.connections import connection

HOLD = 1.0
FOREVER = 3600.0
CONN_ID = "grokvideo_default"


@pytest.fixture
def finished(sandbox: Sandbox) -> str:
    """Return the id of a generation that the API has finished."""
    hook = GrokVideoHook(CONN_ID)
    request_id = hook.submit(VideoRequest(prompt="done"))
    hook.wait(request_id, poll_interval=0.05, timeout=30)
    return request_id


def in_triggerer(trigger: GrokVideoTrigger) -> GrokVideoTrigger:
    """Give a trigger what only a triggerer gives it."""
    trigger.trigger_id = 1
    return trigger


async def fire(trigger: GrokVideoTrigger) -> tuple[Any, float]:
    """Return a trigger's only event and the seconds after which it came."""
    began = time.monotonic()
    async with asyncio.timeout(30):
        (event,) = [event async for event in trigger.run()]
    return event, time.monotonic() - began


@pytest.mark.parametrize(
    ("conn_id", "wait", "status"),
    [
        pytest.param(CONN_ID, 60, "done", id="done-at-the-first-poll"),
        pytest.param(CONN_ID, -60, "done", id="deadline-long-past"),
        pytest.param("grokvideo_missing", 60, "error", id="no-connection"),
    ],
)
async def test_trigger_delays_every_early_event(
    finished: str, monkeypatch: pytest.MonkeyPatch, conn_id: str, wait: float, status: str
) -> None:
    monkeypatch.setattr(triggers, "min_deferral", lambda: HOLD)
    trigger = in_triggerer(GrokVideoTrigger(conn_id, finished, 0.01, time.time() + wait))

    event, seconds = await fire(trigger)

    assert event.payload["status"] == status
    assert seconds >= HOLD


async def test_early_timeout_is_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "min_deferral", lambda: HOLD)
    with Sandbox(render_seconds=600) as slow:
        monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_SLOW", connection(slow.base_url, slow.api_key))
        request_id = GrokVideoHook("grokvideo_slow").submit(VideoRequest(prompt="slow"))
        trigger = in_triggerer(GrokVideoTrigger("grokvideo_slow", request_id, 0.01, time.time() + 0.05))

        event, seconds = await fire(trigger)

    assert event.payload["status"] == "timeout"
    assert seconds >= HOLD


async def test_long_wait_is_not_delayed(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps: list[float] = []
    sleep = asyncio.sleep

    async def spy(delay: float) -> None:
        sleeps.append(delay)
        await sleep(delay)

    monkeypatch.setattr(triggers, "min_deferral", lambda: 0.01)
    monkeypatch.setattr("airflow_provider_grokvideo.triggers.grokvideo.asyncio.sleep", spy)
    request_id = GrokVideoHook(CONN_ID).submit(VideoRequest(prompt="as usual"))

    await fire(in_triggerer(GrokVideoTrigger(CONN_ID, request_id, 0.05, time.time() + 60)))

    assert sleeps[-1] == 0


@pytest.mark.parametrize(
    "trigger",
    [
        pytest.param(lambda id: GrokVideoTrigger(CONN_ID, id, 0.01, time.time() + 60), id="dag.test"),
        pytest.param(lambda id: in_triggerer(GrokVideoSensorTrigger(CONN_ID, id, 0.01, 60.0)), id="start-from-trigger"),
        pytest.param(
            lambda id: in_triggerer(
                GrokVideoSensorTrigger(CONN_ID, id, 0.01, 60.0, time.time() + 60, end_from_trigger=True)
            ),
            id="end-from-trigger",
        ),
    ],
)
async def test_only_a_running_triggerer_delays(finished: str, monkeypatch: pytest.MonkeyPatch, trigger: Any) -> None:
    monkeypatch.setattr(triggers, "min_deferral", lambda: FOREVER)

    event, _ = await fire(trigger(finished))

    assert event is not None


@pytest.mark.parametrize(("heartbeat", "seconds"), [(None, 10.0), ("1", 6.0), ("30", 35.0)])
def test_delay_covers_the_worker_heartbeat(
    monkeypatch: pytest.MonkeyPatch, heartbeat: str | None, seconds: float
) -> None:
    monkeypatch.delenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", raising=False)
    if heartbeat:
        monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", heartbeat)

    assert min_deferral() == seconds
