"""One video through a real Airflow: worker, triggerer, worker, file."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess
from tests.e2e.video_runs import add_dag_file

DAG = """
import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

with DAG("generate", schedule=None, start_date=datetime(2026, 1, 1)):
    GrokVideoGenerateOperator(
        task_id="video",
        prompt="A red panda rides a paper boat in {{ run_id }}",
        duration=2,
        grokvideo_conn_id="grokvideo_patient",
        output_path=os.environ["GROKVIDEO_OUTPUT"],
        poll_interval=1,
    )
"""


@pytest.fixture(autouse=True)
def dag_file(dags_folder: Path) -> None:
    add_dag_file(DAG, dags_folder, "generate.py")


def test_operator_waits_without_a_process_and_saves(
    airflow: AirflowStack, patient_sandbox: SandboxProcess, videos: Path
) -> None:
    client = airflow.client
    run_id = client.trigger("generate")

    client.wait_for_task("generate", run_id, "video", "deferred", timeout=240)
    airflow.wait_until_no_process("generate", run_id, "video", timeout=60)
    request_id = client.xcom("generate", run_id, "video", key="request_id")
    assert client.task_instance("generate", run_id, "video")["state"] == "deferred"
    patient_sandbox.finish(request_id)
    assert client.wait_for_run("generate", run_id, timeout=400) == "success"

    result = client.xcom("generate", run_id, "video")
    saved = videos / f"{request_id}.mp4"
    assert result["request_id"] == request_id
    assert result["path"] == f"file://{saved}"
    assert saved.stat().st_size == result["size_bytes"]
    submitted = [entry for entry in patient_sandbox.requests() if run_id in entry["body"]["prompt"]]
    assert [entry["request_id"] for entry in submitted] == [request_id]
