"""Every day: templated prompt and path, and retries that cannot pay twice.

A retry resumes the generation that the failed attempt has paid for. It submits again only where the API itself
ended that generation as failed or expired.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

with DAG(
    "grokvideo_daily",
    schedule="0 6 * * *",
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=2), "retry_exponential_backoff": True},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="weather_opener",
        prompt="Opening shot of a weather report for {{ ds }}: sunrise over a city, slow aerial shot",
        duration=6,
        resolution="720p",
        output_path=OUTPUT + "weather/{{ ds }}.mp4",
        poll_interval=2,
    )
