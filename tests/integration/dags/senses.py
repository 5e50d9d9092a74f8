"""One generation for every mode of the sensor, and invalid ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

START = datetime(2026, 1, 1, tzinfo=UTC)
MODES: dict[str, dict[str, Any]] = {
    "deferred": {},
    "ended": {"end_from_trigger": True},
    "backoff": {"exponential_backoff": True, "max_wait": 2},
    "poke": {"deferrable": False},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
}
ID = "{{ ti.xcom_pull(task_ids='submit', key='request_id') }}"

with DAG(
    "senses",
    schedule=None,
    start_date=START,
    default_args={"poke_interval": timedelta(seconds=0.5), "timeout": timedelta(seconds=60)},
):
    submit = GrokVideoGenerateOperator(
        task_id="submit", prompt="A sense", duration=1, timeout=60, wait_for_completion=False
    )
    submit >> [GrokVideoSensor(task_id=name, request_id=f"  {ID}\n", **given) for name, given in MODES.items()]

for tolerance in ("failed", "soft_fail", "never_fail"):
    tolerant = {} if tolerance == "failed" else {tolerance: True}
    with DAG(f"senses_{tolerance}", schedule=None, start_date=START):
        for name, given in MODES.items():
            GrokVideoSensor(task_id=name, request_id=ID, poll_interval=0.5, timeout=60, **tolerant, **given)
