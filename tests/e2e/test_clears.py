"""Whose clear it was: this task's own, another task's, the whole run's, and a run that was deleted and created again.

On a real Airflow of whichever version: what a clear changes in the database is what the ledger goes by.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess
from tests.e2e.video_runs import VideoRun

pytestmark = pytest.mark.timeout(1800)
PATIENCE = 600
"""Seconds. On SQLite, Airflow 2 runs one task at a time."""
LOST = {"on": "submit", "fault": "close_after_accept"}


@pytest.fixture(scope="module")
def week(
    airflow: AirflowStack, sandbox: SandboxProcess, patient_sandbox: SandboxProcess, dags_folder: Path
) -> dict[str, VideoRun]:
    """Return the runs that the tests go on with, started together."""
    shutil.copy(Path(__file__).parent / "dags" / "clears.py", dags_folder)

    def run(name: str, dag_id: str, api: SandboxProcess = sandbox, **conf: str) -> VideoRun:
        return VideoRun(airflow, api, f"week-{name}", dag_id, conf=conf)

    runs = {
        "lost": run("lost", "week").start(LOST),
        "no-wait": run("no-wait", "week_no_wait").start(),
        "mapped": run("mapped", "week_mapped").start(),
        "again": run("again", "week").start(),
        "changing": run("changing", "week_changing", patient_sandbox, connection="grokvideo_patient").start(),
        "beside": run("beside", "week_beside").start(LOST),
    }
    for name in ("lost", "no-wait", "mapped", "again"):
        airflow.client.wait_for_run(runs[name].dag_id, runs[name].name, timeout=PATIENCE)
    return runs


def test_clear_of_another_task_submits_nothing(week: dict[str, VideoRun]) -> None:
    run = week["lost"]
    assert (run.task()["state"], len(run.submissions())) == ("failed", 1)

    run.airflow.client.clear(run.dag_id, run.name, ["another"])
    run.wait(PATIENCE)
    assert (run.task()["state"], len(run.submissions())) == ("failed", 1)

    run.clear()
    assert run.wait(PATIENCE)["state"] == "success"
    assert len(run.submissions()) == 2
    assert "the task was cleared to go on" in run.log(run.task()["try_number"])

    run.airflow.client.clear(run.dag_id, run.name, ["another"])
    run.wait(PATIENCE)
    assert len(run.submissions()) == 2


@pytest.mark.parametrize("name", ["no-wait", "mapped"])
def test_clear_of_a_success_submits_again(name: str, week: dict[str, VideoRun]) -> None:
    run = week[name]
    each = 2 if name == "mapped" else 1
    assert len(run.submissions()) == each
    for times in (2, 3):
        # Once the task, once the whole run.
        run.airflow.client.clear(run.dag_id, run.name, [run.task_id] if times == 2 else [])
        run.airflow.client.wait_for_run(run.dag_id, run.name, timeout=PATIENCE)
        assert run.airflow.client.run_state(run.dag_id, run.name) == "success"
        assert len(run.submissions()) == each * times


def test_clear_is_noticed_during_the_run(week: dict[str, VideoRun], patient_sandbox: SandboxProcess) -> None:
    run = week["beside"]
    client = run.airflow.client
    client.wait_for_task(run.dag_id, run.name, "video", "failed", timeout=PATIENCE)
    client.wait_for_task(run.dag_id, run.name, "beside", "deferred", timeout=PATIENCE)
    for submissions in (2, 3):
        before = run.task()["try_number"]
        run.clear()
        run.airflow.client.wait_until(
            lambda before=before: run.task()["try_number"] > before and run.task()["state"] == "success",
            timeout=PATIENCE,
            what="the cleared task to succeed",
        )
        assert client.run_state(run.dag_id, run.name) == "running"
        assert len(run.submissions()) == submissions
    [beside] = [entry for entry in patient_sandbox.requests() if run.mark in entry["body"]["prompt"]]
    patient_sandbox.finish(beside["request_id"])
    assert client.wait_for_run(run.dag_id, run.name, timeout=PATIENCE) == "success"


def test_retry_ignores_a_changed_rendering(week: dict[str, VideoRun], videos: Path) -> None:
    run = week["changing"]
    run.airflow.client.wait_until(lambda: run.task()["try_number"] > 1, timeout=PATIENCE, what="the second attempt")
    run.finish()
    task = run.wait(PATIENCE)

    assert task["state"] == "success"
    [request_id] = run.ids()
    assert run.xcom()["path"] == f"file://{videos}/try={task['try_number']}/{request_id}.mp4"
    assert "The request of this attempt differs" in run.log(task["try_number"])


def test_run_created_again_submits(week: dict[str, VideoRun]) -> None:
    run = week["again"]
    assert len(run.submissions()) == 1
    run.airflow.client.call("DELETE", f"/dags/{run.dag_id}/dagRuns/{run.name}")
    run.start()
    assert run.wait(PATIENCE)["state"] == "success"
    assert len(run.ids()) == 2
    assert run.xcom()["request_id"] == run.ids()[-1]
