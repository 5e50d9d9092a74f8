"""Text to video: the smallest useful DAG, with a form.

Press *Trigger*, change the prompt, and look at the tab *Video* of the task ``generate``: it shows the video as it
comes. In the list of tasks the state *deferred* means that the triggerer waits, without a worker slot.

With the sandbox, a hashtag in the prompt sets how the generation ends: ``#failed``, ``#moderated``,
``#fault:submit:rate_limited``.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

with DAG(
    "grokvideo_quickstart",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    params={
        "prompt": Param(
            "A paper boat sails down a rainy street at dusk, neon lights mirrored in the water",
            type="string",
            minLength=1,
            description="What to film. In the sandbox, add #failed or #moderated to see a failure.",
        ),
        "duration": Param(8, type="integer", minimum=1, maximum=15, description="Seconds; each second is billed."),
        "aspect_ratio": Param("16:9", type="string", enum=["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3"]),
        "resolution": Param("480p", type="string", enum=["480p", "720p"], description="720p costs more."),
    },
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="generate",
        prompt="{{ params.prompt }}",
        duration="{{ params.duration }}",
        aspect_ratio="{{ params.aspect_ratio }}",
        resolution="{{ params.resolution }}",
        output_path=OUTPUT,
        poll_interval=2,
    )
