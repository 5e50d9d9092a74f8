"""Image to video: animate a local picture. Its path may be anything that ObjectStoragePath opens."""

from __future__ import annotations

import os
from pathlib import Path

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")
IMAGE = Path(__file__).parent / "images" / "lake.png"

with DAG(
    "grokvideo_image_to_video",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="animate",
        image=str(IMAGE),
        prompt="The clouds drift, the lake ripples, the camera rises slowly",
        duration=5,
        output_path=OUTPUT,
        poll_interval=2,
    )
