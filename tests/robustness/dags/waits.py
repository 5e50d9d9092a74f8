"""Waits of which some poll a hostile API; an environment variable lists them."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

with DAG("waits", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), max_active_tasks=200):
    for wait in json.loads(os.environ.get("GROKVIDEO_WAITS", "[]")):
        GrokVideoSensor(
            task_id=wait["task_id"],
            request_id=wait["request_id"],
            grokvideo_conn_id=wait["connection"],
            poll_interval=1,
            timeout=wait["timeout"],
            retries=0,
            start_from_trigger=True,
            end_from_trigger=wait["ends_in_trigger"],
        )
