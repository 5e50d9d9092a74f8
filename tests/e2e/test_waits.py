"""Waits in the triggerer, on a worker, of mapped tasks and of a sensor, and their logs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess, wait_until
from tests.e2e.video_runs import VideoRun

PATIENT = {"connection": "grokvideo_patient"}


@pytest.fixture(scope="module", params=["video", "video_on_worker"])
def dag_id(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def long_waits(airflow: AirflowStack, patient_sandbox: SandboxProcess, tasks_file: None) -> dict[str, VideoRun]:
    """Return waits that have begun."""
    runs = {
        dag_id: VideoRun(airflow, patient_sandbox, f"long-{dag_id}", dag_id, conf=PATIENT).start()
        for dag_id in ("video", "video_on_worker")
    }
    for run in runs.values():
        # The first poll finds a generation queued, and the log says nothing; the next is the first change.
        wait_until(lambda run=run: len(polls(run)) > 2, timeout=240, what=f"the first polls of {run.name}")
    return runs


def polls(run: VideoRun) -> list[dict[str, object]]:
    return [poll for poll in run.sandbox.entries("polls") if poll["request_id"] in run.ids()]


def test_sensor_waits_without_a_process_and_saves(
    airflow: AirflowStack, patient_sandbox: SandboxProcess, videos: Path, long_waits: dict[str, VideoRun]
) -> None:
    run = VideoRun(airflow, patient_sandbox, "sensed", "video_sensed", conf=PATIENT, task_id="sense").start()
    run.wait_for("deferred")
    airflow.wait_until_no_process("video_sensed", run.name, "sense", timeout=30)
    [request_id] = run.ids()
    assert run.xcom("request_id", task_id="video") == request_id
    assert run.xcom(task_id="video")["status"] == "pending"

    run.finish()

    assert run.wait()["state"] == "success"
    result = run.xcom()
    assert (result["request_id"], result["path"]) == (request_id, f"file://{videos}/{request_id}.mp4")
    assert len(run.submissions()) == 1


def test_each_mapped_task_resumes_its_own_generation(
    airflow: AirflowStack, patient_sandbox: SandboxProcess, videos: Path, long_waits: dict[str, VideoRun]
) -> None:
    client = airflow.client
    run_id = client.trigger("video_mapped", conf=PATIENT)

    def submissions() -> list[dict[str, str]]:
        return [entry for entry in patient_sandbox.requests() if "of the mapped" in entry["body"]["prompt"]]

    def all_retried() -> bool:
        tasks = client.task_instances("video_mapped", run_id)
        return len(tasks) == 3 and all(task["try_number"] > 1 for task in tasks)

    wait_until(all_retried, timeout=400, what="each mapped task to time out and to be retried")
    for entry in submissions():
        patient_sandbox.finish(entry["request_id"])
    assert client.wait_for_run("video_mapped", run_id, timeout=300) == "success"

    by_prompt = {entry["body"]["prompt"].split()[0]: entry["request_id"] for entry in submissions()}
    assert len(submissions()) == 3
    for index, word in enumerate(("One", "Two", "Three")):
        assert client.xcom("video_mapped", run_id, "video", "request_id", map_index=index) == by_prompt[word]
        result = client.xcom("video_mapped", run_id, "video", map_index=index)
        assert result["request_id"] == by_prompt[word]
        assert (videos / f"{by_prompt[word]}.mp4").exists()


def test_changes_are_logged_once_and_silence_every_minute(long_waits: dict[str, VideoRun], dag_id: str) -> None:
    run = long_waits[dag_id]
    [request_id] = run.ids()
    run.sandbox.set_progress(request_id, 42)
    asked = len(polls(run))
    wait_until(lambda: len(polls(run)) > asked + 1, timeout=120, what="the next polls")
    first = polls(run)[0]["at"]
    wait_until(lambda: polls(run)[-1]["at"] - first > 100, timeout=240, what="a minute of polls to pass")

    run.finish()

    assert run.wait()["state"] == "success"
    count = len(polls(run))
    told = re.findall(rf"Generation {request_id}: (.*)", run.log())
    assert any("42 %" in line for line in told)
    assert count >= 20
    # The change and a minute without one; perhaps the first status, and Airflow's own repetition of the end.
    assert 2 <= len(told) <= 8 < count
