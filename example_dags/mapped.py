"""One video for each prompt of a list that is known only at run time.

The pool bounds how many are under way at the API. To count waiting (deferred) tasks too, make a pool of your own:

    airflow pools set grokvideo 4 "Grok videos under way" --include-deferred

and name it in GROKVIDEO_POOL.
"""

from __future__ import annotations

import os

import pendulum
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")
POOL = os.environ.get("GROKVIDEO_POOL", "default_pool")

with DAG(
    "grokvideo_mapped",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    tags=["grokvideo"],
    doc_md=__doc__,
):

    @task
    def prompts() -> list[str]:
        return [
            f"A {animal} looks into the camera, studio light, shallow depth of field"
            for animal in ("lynx", "heron", "tortoise")
        ]

    @task
    def report(results: list[dict]) -> None:
        for result in results:
            print(f"{result['request_id']}: {result['path']}, {result['cost_usd']} USD")

    videos = GrokVideoGenerateOperator.partial(
        task_id="generate",
        duration=3,
        aspect_ratio="1:1",
        output_path=OUTPUT + "animals/",
        poll_interval=2,
        pool=POOL,
    ).expand(prompt=prompts())
    report(videos.output)
