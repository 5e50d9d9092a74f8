"""Every day: templated prompt and path, and retries that cannot pay twice.

A retry resumes the generation that the failed attempt has paid for. It submits again only where the API itself
ended that generation as failed or expired.

Look at *Rendered Templates* of the task: prompt and path carry the day of the run.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

with DAG(
    "grokvideo_daily",
    schedule="0 6 * * *",
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=2), "retry_exponential_backoff": True},
    params={
        "prompt": Param(
            "Opening shot of a weather report: sunrise over a city, slow aerial shot",
            type="string",
            minLength=1,
            description="What to film. In the sandbox, add #failed or #moderated to see a failure.",
        ),
        "duration": Param(6, type="integer", minimum=1, maximum=15, description="Seconds; each second is billed."),
        "resolution": Param("480p", type="string", enum=["480p", "720p"], description="720p costs more."),
    },
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="weather_opener",
        prompt="{{ params.prompt }}, {{ ds }}",
        duration="{{ params.duration }}",
        resolution="{{ params.resolution }}",
        output_path=OUTPUT + "weather/{{ ds }}.mp4",
        poll_interval=2,
    )
