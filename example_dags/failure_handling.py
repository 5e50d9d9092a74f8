"""A refused prompt goes one way, a finished video the other.

In the sandbox the hashtag in the prompt decides how the generation ends: try #failed or #expired, or none.

Look at the graph: ``publish`` or ``explain`` has run, and the log of ``explain`` has the reason.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

with DAG(
    "grokvideo_failure_handling",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    params={
        "prompt": Param(
            "A crowd in a stadium #moderated",
            type="string",
            minLength=1,
            description="What to film. In the sandbox, add #failed or #moderated to see a failure.",
        ),
        "duration": Param(3, type="integer", minimum=1, maximum=15, description="Seconds; each second is billed."),
    },
    tags=["grokvideo"],
    doc_md=__doc__,
):
    generate = GrokVideoGenerateOperator(
        task_id="generate",
        prompt="{{ params.prompt }}",
        duration="{{ params.duration }}",
        output_path=OUTPUT,
        poll_interval=2,
    )

    @task
    def publish(result: dict) -> None:
        print(f"publishing {result['path']}")

    @task(trigger_rule="all_failed")
    def explain(request_id: str) -> str:
        generation = GrokVideoHook().get_generation(request_id)
        reason = f"{generation.state}: {generation.error_message}"
        print(f"{request_id} ended as {reason}; it cost {generation.cost_usd} USD")
        return reason

    @task(trigger_rule="all_done")
    def finish() -> None:
        print("one of the two ways was taken")

    published, explained = publish(generate.output), explain(generate.output["request_id"])
    [published, explained] >> finish()
