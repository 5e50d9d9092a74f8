"""``@task.grok_video``: a function returns what to film, from whatever it looks up."""

from __future__ import annotations

import os

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

with DAG(
    "grokvideo_decorator",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    tags=["grokvideo"],
    doc_md=__doc__,
):

    @task
    def seasons() -> list[str]:
        return ["spring", "autumn"]

    @task.grok_video(duration=3, aspect_ratio="9:16", output_path=OUTPUT + "seasons/", poll_interval=2)
    def film(season: str) -> str:
        return f"The same oak tree in {season}, locked camera, wind in the leaves"

    film.expand(season=seasons())
