"""One video for each prompt of a list that is known only at run time.

The pool bounds how many are under way at the API. To count waiting (deferred) tasks too, make a pool of your own:

    airflow pools set grokvideo 4 "Grok videos under way" --include-deferred

and name it in GROKVIDEO_POOL.

Look at the mapped task ``generate``: its instances are named after their prompts, and the pool limits them.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")
POOL = os.environ.get("GROKVIDEO_POOL", "default_pool")

with DAG(
    "grokvideo_mapped",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    params={
        "animals": Param(
            ["lynx", "heron", "tortoise"],
            type="array",
            items={"type": "string"},
            minItems=1,
            maxItems=8,
            description="One video for each. In the sandbox, add #failed or #moderated to see a failure.",
        ),
        "prompt": Param(
            "looks into the camera, studio light, shallow depth of field",
            type="string",
            minLength=1,
            description="What each animal does. In the sandbox, add #failed or #moderated to see a failure.",
        ),
        "duration": Param(3, type="integer", minimum=1, maximum=15, description="Seconds; each second is billed."),
        "aspect_ratio": Param("1:1", type="string", enum=["16:9", "9:16", "1:1"], description="Shape of the video."),
    },
    tags=["grokvideo"],
    doc_md=__doc__,
):

    @task
    def prompts(params: dict | None = None) -> list[str]:
        given = params or {}
        return [f"A {animal} {given['prompt']}" for animal in given["animals"]]

    @task
    def report(results: list[dict]) -> None:
        for result in results:
            print(f"{result['request_id']}: {result['path']}, {result['cost_usd']} USD")

    videos = GrokVideoGenerateOperator.partial(
        task_id="generate",
        duration="{{ params.duration }}",
        aspect_ratio="{{ params.aspect_ratio }}",
        output_path=OUTPUT + "animals/",
        poll_interval=2,
        pool=POOL,
        map_index_template="{{ task.prompt[:30] }}",
    ).expand(prompt=prompts())
    report(videos.output)
