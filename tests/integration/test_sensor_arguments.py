"""Intervals and timeout of the sensor."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    TaskDeferred,
)

from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from tests.support.task_run import TaskRun

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "default_args", "poll", "poke"),
    [
        ({}, {}, 5, 5),
        ({"poll_interval": 7}, {}, 7, 7),
        ({"poke_interval": 7}, {}, 7, 7),
        ({"poll_interval": 2, "poke_interval": 7}, {}, 2, 7),
        ({}, {"poke_interval": 9}, 9, 9),
        ({}, {"poll_interval": 9}, 9, 9),
        ({}, {"poll_interval": 3, "poke_interval": 9}, 3, 9),
        ({"poll_interval": 2}, {"poke_interval": 9}, 2, 2),
        ({"poke_interval": 2}, {"poll_interval": 9}, 2, 2),
        ({"poke_interval": timedelta(minutes=1)}, {"poll_interval": 9}, 60, 60),
        ({"poll_interval": timedelta(seconds=0.5)}, {"poll_interval": 9, "poke_interval": 8}, 0.5, 0.5),
        ({}, {"poke_interval": timedelta(seconds=90)}, 90, 90),
    ],
    ids=str,
)
def test_interval_precedence(given: dict[str, Any], default_args: dict[str, Any], poll: float, poke: float) -> None:
    with DAG("dag", schedule=None, start_date=START, default_args=default_args):
        in_dag = GrokVideoSensor(task_id="sense", request_id="x", **given)
    alone = GrokVideoSensor(task_id="sense", request_id="x", default_args=default_args, **given)

    for sensor in (in_dag, alone):
        assert (sensor.poll_interval, sensor.poke_interval) == (poll, poke)
    with pytest.raises(TaskDeferred) as deferral:
        in_dag._wait.defer(TaskRun(list, try_number=1).context(in_dag), time.time())
    assert deferral.value.trigger.poll_interval == poll


def test_mapped_sensor_keeps_its_interval() -> None:
    with DAG("dag", schedule=None, start_date=START, default_args={"poke_interval": 9}) as dag:
        GrokVideoSensor.partial(task_id="sense").expand(request_id=["a", "b"])

    assert dag.get_task("sense").unmap({"request_id": "a"}).poll_interval == 9


@pytest.mark.parametrize("timeout", [30, 30.0, timedelta(seconds=30)])
def test_timeout_is_a_number_or_a_timedelta(timeout: Any) -> None:
    sensor = GrokVideoSensor(task_id="sense", request_id="x", timeout=timeout)
    with pytest.raises(TaskDeferred) as deferral:
        sensor._wait.defer(TaskRun(list, try_number=1).context(sensor), time.time())

    assert deferral.value.trigger.deadline - time.time() == pytest.approx(30, abs=10)


@pytest.mark.parametrize("name", ["poll_interval", "poke_interval", "timeout"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "5", True, timedelta(seconds=-1)], ids=str)
def test_invalid_time_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        GrokVideoSensor(task_id="sense", request_id="x", **{name: value})
