"""DAGs that the tests clear and retry, some with a prompt that changes at each attempt."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")
START = datetime(2026, 1, 1, tzinfo=UTC)
PROMPT = "{{ dag_run.conf['prompt'] }}"
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=1)}
VIDEO: dict[str, Any] = {
    "duration": 1,
    "output_path": OUTPUT,
    "grokvideo_conn_id": "{{ dag_run.conf.get('connection', 'grokvideo_default') }}",
    "poll_interval": 1,
}


class Another(BaseOperator):
    """A task of the same run that has nothing to do with videos."""

    def execute(self, context: Any) -> None:
        """Do nothing."""


def video(task_id: str = "video", **kwargs: Any) -> GrokVideoGenerateOperator:
    """Return the task. On a busy machine Airflow may fail to start a process; a retry resumes then."""
    return GrokVideoGenerateOperator(task_id=task_id, **{**VIDEO, "prompt": PROMPT, **RETRIES, **kwargs})


with DAG("week", schedule=None, start_date=START):
    Another(task_id="another")
    video()
with DAG("week_beside", schedule=None, start_date=START):
    video()
    video("beside", prompt=f"{PROMPT} Beside.", grokvideo_conn_id="grokvideo_patient")
with DAG("week_no_wait", schedule=None, start_date=START):
    Another(task_id="another")
    video(wait_for_completion=False)
with DAG("week_mapped", schedule=None, start_date=START):
    Another(task_id="another")
    GrokVideoGenerateOperator.partial(task_id="video", **VIDEO, **RETRIES).expand(
        prompt=[f"{PROMPT} Map {index}." for index in range(2)]
    )
with DAG("week_changing", schedule=None, start_date=START):
    video(
        prompt=PROMPT + " Take {{ ti.try_number }}.",
        output_path=OUTPUT + "try={{ ti.try_number }}/",
        retries=30,
        retry_delay=timedelta(seconds=2),
        timeout=3,
    )
