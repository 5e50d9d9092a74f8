"""Submit in one task, wait in another: the id crosses from one to the other as XCom.

Look at *XCom* of ``submit``: it has the ``request_id`` that ``wait`` is given.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

with DAG(
    "grokvideo_submit_then_sense",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    params={
        "prompt": Param(
            "Time lapse of a bakery from dawn to noon",
            type="string",
            minLength=1,
            description="What to film. In the sandbox, add #failed or #moderated to see a failure.",
        ),
        "duration": Param(4, type="integer", minimum=1, maximum=15, description="Seconds; each second is billed."),
        "aspect_ratio": Param("16:9", type="string", enum=["16:9", "9:16", "1:1"], description="Shape of the video."),
    },
    tags=["grokvideo"],
    doc_md=__doc__,
):
    submit = GrokVideoGenerateOperator(
        task_id="submit",
        prompt="{{ params.prompt }}",
        duration="{{ params.duration }}",
        aspect_ratio="{{ params.aspect_ratio }}",
        wait_for_completion=False,
        # Nothing is saved here; the ledger still needs a place on Airflow before 3.3.
        ledger_path=OUTPUT + "ledger/",
    )
    GrokVideoSensor(
        task_id="wait",
        request_id="{{ ti.xcom_pull(task_ids='submit', key='request_id') }}",
        output_path=OUTPUT,
        poll_interval=2,
    ).set_upstream(submit)
