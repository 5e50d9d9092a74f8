"""``@task.grok_video``: a function returns what to film, from whatever it looks up.

Look at the mapped task ``film``: its instances are named after their seasons.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

with DAG(
    "grokvideo_decorator",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    params={
        "seasons": Param(
            ["spring", "autumn"],
            type="array",
            items={"type": "string"},
            minItems=1,
            maxItems=4,
            description="One video for each. In the sandbox, add #failed or #moderated to see a failure.",
        ),
        "duration": Param(3, type="integer", minimum=1, maximum=15, description="Seconds; each second is billed."),
        "aspect_ratio": Param("9:16", type="string", enum=["16:9", "9:16", "1:1"], description="Shape of the video."),
    },
    tags=["grokvideo"],
    doc_md=__doc__,
):

    @task
    def seasons(params: dict | None = None) -> list[str]:
        return (params or {})["seasons"]

    @task.grok_video(
        duration="{{ params.duration }}",
        aspect_ratio="{{ params.aspect_ratio }}",
        output_path=OUTPUT + "seasons/",
        poll_interval=2,
        map_index_template="{{ task.op_kwargs['season'] }}",
    )
    def film(season: str) -> str:
        return f"The same oak tree in {season}, locked camera, wind in the leaves"

    film.expand(season=seasons())
