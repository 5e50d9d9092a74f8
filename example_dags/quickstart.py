"""Text to video: the smallest useful DAG."""

from __future__ import annotations

import os

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

with DAG(
    "grokvideo_quickstart",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="generate",
        prompt="A paper boat sails down a rainy street at dusk, neon lights mirrored in the water",
        duration=8,
        aspect_ratio="16:9",
        resolution="480p",
        output_path=OUTPUT,
        poll_interval=2,
    )
