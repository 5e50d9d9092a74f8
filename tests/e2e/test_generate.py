"""A video through the whole of Airflow: worker, triggerer, worker again, and a file at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess

DAG = """
import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

with DAG("generate", schedule=None, start_date=datetime(2026, 1, 1)):
    GrokVideoGenerateOperator(
        task_id="video",
        prompt="A red panda rides a paper boat",
        duration=2,
        output_path=os.environ["GROKVIDEO_OUTPUT"],
        poll_interval=1,
    )
"""


@pytest.fixture(autouse=True)
def dag_file(dags_folder: Path) -> None:
    (dags_folder / "generate.py").write_text(DAG)


def test_a_video_is_waited_for_without_a_process_and_lands(
    airflow: AirflowStack, sandbox: SandboxProcess, videos: Path
) -> None:
    client = airflow.client
    before = len(sandbox.requests())
    run_id = client.trigger("generate")

    client.wait_for_task("generate", run_id, "video", "deferred")
    airflow.wait_until_no_process("generate", run_id, "video", timeout=3)
    request_id = client.xcom("generate", run_id, "video", key="request_id")
    assert client.task_instance("generate", run_id, "video")["state"] == "deferred"
    assert client.wait_for_run("generate", run_id, timeout=60) == "success"

    result = client.xcom("generate", run_id, "video")
    landed = videos / f"{request_id}.mp4"
    assert result["request_id"] == request_id
    assert result["path"] == f"file://{landed}"
    assert landed.stat().st_size == result["size_bytes"]
    assert len(sandbox.requests()) == before + 1
