"""Image to video: animate a local picture. Its path may be anything that ObjectStoragePath opens.

Look at the tab *Video* of the task ``animate``.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")
IMAGE = Path(__file__).parent / "images" / "lake.png"

with DAG(
    "grokvideo_image_to_video",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    params={
        "prompt": Param(
            "The clouds drift, the lake ripples, the camera rises slowly",
            type="string",
            minLength=1,
            description="How the picture moves. In the sandbox, add #failed or #moderated to see a failure.",
        ),
        "duration": Param(5, type="integer", minimum=1, maximum=15, description="Seconds; each second is billed."),
        "resolution": Param("480p", type="string", enum=["480p", "720p"], description="720p costs more."),
    },
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="animate",
        image=str(IMAGE),
        prompt="{{ params.prompt }}",
        duration="{{ params.duration }}",
        resolution="{{ params.resolution }}",
        output_path=OUTPUT,
        poll_interval=2,
    )
