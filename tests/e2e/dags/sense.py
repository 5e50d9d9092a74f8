"""Sensors that start, and if asked end, in the triggerer; the run's conf names the generation."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

with DAG("sense_without_worker", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    GrokVideoSensor(
        task_id="video",
        request_id="{{ dag_run.conf['request_id'] }}",
        grokvideo_conn_id="{{ dag_run.conf.get('connection', 'grokvideo_default') }}",
        poll_interval=1,
        timeout=120,
        start_from_trigger=True,
        end_from_trigger=True,
    )
with DAG("sense_ended_by_worker", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    GrokVideoSensor(
        task_id="video",
        request_id="{{ dag_run.conf['request_id'] }}",
        poll_interval=1,
        timeout=120,
        start_from_trigger=True,
    )
