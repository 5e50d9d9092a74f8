"""Sixty videos at once."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

with DAG(
    "sixty",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    max_active_tasks=60,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=1)},
):
    GrokVideoGenerateOperator.partial(
        task_id="video",
        duration=1,
        output_path=os.environ.get("GROKVIDEO_OUTPUT"),
        poll_interval=1,
        timeout=1800,
    ).expand(prompt=[f"Paper boat number {number}" for number in range(60)])
