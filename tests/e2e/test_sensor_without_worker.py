"""A sensor that starts, and if asked ends, in the triggerer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_3_PLUS
from dev.airflow_stack import AirflowStack, SandboxProcess
from tests.e2e.video_runs import VideoRun, add_dag_file

pytestmark = [
    pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="this Airflow begins no templated wait in the triggerer"),
]


@pytest.fixture(scope="module", autouse=True)
def sense_file(dags_folder: Path) -> None:
    add_dag_file(Path(__file__).parent / "dags" / "sense.py", dags_folder)


def submitted(sandbox: SandboxProcess, prompt: str) -> str:
    settings = Settings(base_url=sandbox.base_url, api_key=sandbox.api_key)
    with GrokVideoClient(settings) as client:
        return client.submit(VideoRequest(prompt=prompt, duration=1, model="grok-imagine-video"))


def sensed(airflow: AirflowStack, sandbox: SandboxProcess, name: str, dag_id: str, prompt: str) -> VideoRun:
    conf = {"request_id": submitted(sandbox, prompt)}
    run = VideoRun(airflow, sandbox, name, dag_id, conf=conf).start()
    run.wait()
    return run


def was_on_a_worker(task: dict[str, Any]) -> bool:
    return bool(task["pid"] or task["hostname"])


def test_sensor_needs_no_worker(airflow, sandbox):
    run = sensed(airflow, sandbox, "no-worker", "sense_without_worker", "A wait without a worker")

    task = run.task()
    assert (task["state"], was_on_a_worker(task)) == ("success", False)
    # Airflow 3 stores the XComs of a trigger as JSON text.
    result = json.loads(run.xcom())
    assert (result["request_id"], result["status"], result["duration"]) == (run.conf["request_id"], "done", 1)
    assert result["video_url"] is None
    assert 0 < result["elapsed_seconds"] < 120


def test_failed_sensor_needs_no_worker_and_says_why(airflow, sandbox):
    run = sensed(airflow, sandbox, "no-worker-moderated", "sense_without_worker", "A wait in vain #moderated")

    task = run.task()
    assert (task["state"], was_on_a_worker(task)) == ("failed", False)
    assert json.loads(run.xcom("outcome"))["status"] == "moderated"
    assert "was rejected by content moderation" in run.log()


def test_sensor_that_saves_ends_on_a_worker(airflow, sandbox):
    run = sensed(airflow, sandbox, "ends-on-worker", "sense_ended_by_worker", "A wait that ends on a worker")

    task = run.task()
    assert (task["state"], was_on_a_worker(task)) == ("success", True)
    result = run.xcom()
    assert result["request_id"] == run.conf["request_id"]
    assert result["video_url"].startswith("http")
