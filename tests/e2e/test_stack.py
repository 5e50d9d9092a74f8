"""The local stack does to a toy DAG what the tests of the provider rely on."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.airflow_stack import AirflowApiError, AirflowStack, StackError

TOY = """
import time
from datetime import datetime, timedelta

from airflow.triggers.temporal import TimeDeltaTrigger
from airflow.providers.common.compat.sdk import DAG, BaseOperator


class Wait(BaseOperator):
    def __init__(self, *, seconds, **kwargs):
        super().__init__(**kwargs)
        self.seconds = seconds

    def execute(self, context):
        trigger = TimeDeltaTrigger(timedelta(seconds=self.seconds))
        self.log.info("toy defers for %s s", self.seconds)
        self.defer(trigger=trigger, method_name="resume")

    def resume(self, context, event=None):
        return {"waited": self.seconds}


class Busy(BaseOperator):
    def execute(self, context):
        print("toy is busy")
        time.sleep(600)


with DAG("toy_wait", schedule=None, start_date=datetime(2026, 1, 1)):
    Wait(task_id="wait", seconds=6)
with DAG("toy_busy", schedule=None, start_date=datetime(2026, 1, 1)):
    Busy(task_id="busy")
"""


@pytest.fixture(scope="module", autouse=True)
def toys(dags_folder: Path) -> None:
    (dags_folder / "toys.py").write_text(TOY)


def test_a_deferred_task_holds_no_process(airflow: AirflowStack) -> None:
    client = airflow.client
    run_id = client.trigger("toy_wait")

    client.wait_for_task("toy_wait", run_id, "wait", "deferred", timeout=60)
    airflow.wait_until_no_process("toy_wait", run_id, "wait", timeout=3)

    assert client.task_instance("toy_wait", run_id, "wait")["state"] == "deferred"
    assert client.wait_for_run("toy_wait", run_id, timeout=60) == "success"
    assert client.xcom("toy_wait", run_id, "wait") == {"waited": 6}
    assert "toy defers for 6 s" in client.logs("toy_wait", run_id, "wait", 1)


def test_a_running_task_can_be_killed(airflow: AirflowStack) -> None:
    run_id = airflow.client.trigger("toy_busy")
    airflow.client.wait_for_task("toy_busy", run_id, "busy", "running")
    airflow.client.wait_until(
        lambda: airflow.task_processes("toy_busy", run_id, "busy")["runner"], 30, "the runner to name itself"
    )

    airflow.kill_task("toy_busy", run_id, "busy", only="runner")

    assert airflow.client.wait_for_run("toy_busy", run_id, timeout=60) == "failed"
    with pytest.raises(StackError, match="no process runs"):
        airflow.kill_task("toy_busy", run_id, "busy")


def test_a_wait_survives_the_death_of_its_triggerer(airflow: AirflowStack) -> None:
    run_id = airflow.client.trigger("toy_wait")
    airflow.client.wait_for_task("toy_wait", run_id, "wait", "deferred")

    airflow.kill("triggerer")
    airflow.start("triggerer", name="triggerer-2")

    assert airflow.client.wait_for_run("toy_wait", run_id, timeout=90) == "success"
    airflow.stop("triggerer-2")
    airflow.start("triggerer")


def test_errors_say_what_is_wrong(airflow: AirflowStack) -> None:
    with pytest.raises(AirflowApiError) as error:
        airflow.client.run_state("toy_wait", "no-such-run")

    assert error.value.status == 404
