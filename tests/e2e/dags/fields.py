"""Decorated tasks whose rendered fields are read while they wait and afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.decorators.grokvideo import grok_video_task

# In two pieces, and joined when it is rendered: Airflow's database has the file as it stands, too.
HEAD, TAIL = "https://store.example.com/lake.png?X-Amz-Signa", "ture=deadbeef0123456789"
TEMPLATE = f"{{{{ '{HEAD}' ~ '{TAIL}' }}}}"

for dag_id, deferrable in (("fields_deferred", True), ("fields_on_worker", False)):
    with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):

        @grok_video_task(
            task_id="video",
            duration="{{ dag_run.conf.get('duration', 1) }}",
            image=TEMPLATE,
            extra={"callbacks": [TEMPLATE]},
            grokvideo_conn_id="grokvideo_patient",
            poll_interval=1,
            timeout=300,
            deferrable=deferrable,
        )
        def film(dag_run: Any = None) -> str:
            """Return what the run's conf holds, which somebody else has written."""
            return f"{dag_run.conf['prompt']} {HEAD}{TAIL}"

        film()
