"""Small DAGs whose requests are in the conf of the run."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")
START = datetime(2026, 1, 1, tzinfo=UTC)
RETRIES: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(seconds=1)}
ASKED: dict[str, Any] = {
    "task_id": "video",
    "prompt": "{{ dag_run.conf['prompt'] }}",
    "duration": "{{ dag_run.conf.get('duration', 1) }}",
    "grokvideo_conn_id": "{{ dag_run.conf.get('connection', 'grokvideo_default') }}",
    "output_path": OUTPUT,
    "poll_interval": 1,
    **RETRIES,
}

with DAG("video", schedule=None, start_date=START):
    GrokVideoGenerateOperator(**ASKED)
with DAG("video_on_worker", schedule=None, start_date=START):
    GrokVideoGenerateOperator(**ASKED, deferrable=False)
with DAG("video_resubmitted", schedule=None, start_date=START):
    GrokVideoGenerateOperator(**ASKED, on_unknown_submission="resubmit")
with DAG("video_in_time", schedule=None, start_date=START):
    GrokVideoGenerateOperator(**ASKED, timeout=4)
with DAG("video_of_each_try", schedule=None, start_date=START):
    GrokVideoGenerateOperator(**{**ASKED, "prompt": ASKED["prompt"] + " Take {{ ti.try_number }}."}, timeout=4)

with DAG("video_mapped", schedule=None, start_date=START):
    arguments = {name: value for name, value in ASKED.items() if name not in {"prompt", "retries"}}
    GrokVideoGenerateOperator.partial(**arguments, retries=20, timeout=4).expand(
        prompt=["One of the mapped", "Two of the mapped", "Three of the mapped"]
    )

with DAG("video_sensed", schedule=None, start_date=START):
    submitting = GrokVideoGenerateOperator(**ASKED, wait_for_completion=False)
    sensing = GrokVideoSensor(
        task_id="sense",
        request_id="{{ ti.xcom_pull(task_ids='video', key='request_id') }}",
        grokvideo_conn_id=ASKED["grokvideo_conn_id"],
        output_path=OUTPUT,
        poll_interval=1,
        **RETRIES,
    )
    submitting >> sensing
