"""Submit in one task, wait in another: the id crosses from one to the other as XCom."""

from __future__ import annotations

import os

import pendulum
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

with DAG(
    "grokvideo_submit_then_sense",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    tags=["grokvideo"],
    doc_md=__doc__,
):
    submit = GrokVideoGenerateOperator(
        task_id="submit",
        prompt="Time lapse of a bakery from dawn to noon",
        duration=4,
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
