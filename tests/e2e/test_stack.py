"""The local stack works as the other tests expect."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.airflow_stack import AirflowApiError, AirflowStack, SandboxProcess, StackError
from tests.e2e.video_runs import VideoRun, add_dag_file

BUSY = """
import time
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, BaseOperator


class Busy(BaseOperator):
    def execute(self, context):
        print("toy is busy")
        time.sleep(600)


with DAG("toy_busy", schedule=None, start_date=datetime(2026, 1, 1)):
    Busy(task_id="busy")
"""


def test_running_task_can_be_killed(airflow: AirflowStack, dags_folder: Path) -> None:
    add_dag_file(BUSY, dags_folder, "busy.py")
    run_id = airflow.client.trigger("toy_busy")
    airflow.client.wait_for_task("toy_busy", run_id, "busy", "running", timeout=120)
    airflow.client.wait_until(
        lambda: airflow.task_processes("toy_busy", run_id, "busy")["runner"], 60, "the runner to name itself"
    )

    airflow.kill_task("toy_busy", run_id, "busy", only="runner")

    assert airflow.client.wait_for_run("toy_busy", run_id, timeout=120) == "failed"
    airflow.wait_until_no_process("toy_busy", run_id, "busy", timeout=30)
    with pytest.raises(StackError, match="no process runs"):
        airflow.kill_task("toy_busy", run_id, "busy")


def test_wait_survives_a_killed_triggerer(
    airflow: AirflowStack, patient_sandbox: SandboxProcess, tasks_file: None
) -> None:
    run = VideoRun(airflow, patient_sandbox, "outlives-triggerer", conf={"connection": "grokvideo_patient"}).start()
    run.wait_for("deferred")

    airflow.kill("triggerer")
    airflow.start("triggerer", name="triggerer-2")
    run.finish()

    assert run.wait()["state"] == "success"
    assert len(run.submissions()) == 1
    airflow.stop("triggerer-2")
    airflow.start("triggerer")


def test_errors_name_the_cause(airflow: AirflowStack, tasks_file: None) -> None:
    airflow.client.wait_for_dag("video")
    with pytest.raises(AirflowApiError) as error:
        airflow.client.run_state("video", "no-such-run")

    assert error.value.status == 404
