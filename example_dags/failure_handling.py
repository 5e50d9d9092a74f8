"""A refused prompt goes one way, a finished video the other.

In the sandbox the hashtag in the prompt decides how the generation ends: try #failed or #expired, or none.
"""

from __future__ import annotations

import os

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
    params={"prompt": Param("A crowd in a stadium #moderated", type="string", minLength=1)},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    generate = GrokVideoGenerateOperator(
        task_id="generate",
        prompt="{{ params.prompt }}",
        duration=3,
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
