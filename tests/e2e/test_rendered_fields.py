"""The page "Rendered Template" of a decorated task: while it waits, and after it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess, wait_until
from tests.e2e.video_runs import VideoRun, add_dag_file

pytestmark = pytest.mark.timeout(400)
MASKED = "https://store.example.com/lake.png?***"
HOSTILE = "50 {% off {{ conn.grokvideo_patient.password }}"


@pytest.fixture(scope="module", autouse=True)
def fields_file(dags_folder: Path) -> None:
    """Give the session's Airflow the DAGs of ``dags/fields.py``."""
    add_dag_file(Path(__file__).parent / "dags" / "fields.py", dags_folder)


@pytest.fixture(scope="module", params=["fields_deferred", "fields_on_worker"])
def run(
    request: pytest.FixtureRequest, airflow: AirflowStack, patient_sandbox: SandboxProcess, fields_file: None
) -> Iterator[VideoRun]:
    """Return a run whose generation has been submitted and is pending."""
    name = f"run-of-{request.param.replace('_', '-')}"
    started = VideoRun(airflow, patient_sandbox, name, request.param, asked=HOSTILE).start()
    wait_until(started.ids, timeout=240, what="the submission")
    return started


def shown(run: VideoRun) -> dict[str, Any]:
    """Return the rendered fields."""
    path = f"/dags/{run.dag_id}/dagRuns/{run.name}/taskInstances/{run.task_id}"
    return run.airflow.client.call("GET", path)["rendered_fields"] or {}


def assert_shown(run: VideoRun) -> None:
    fields = shown(run)
    assert fields["prompt"] == f"{run.mark} {HOSTILE} {MASKED}"
    assert (fields["image"], fields["extra"]) == (MASKED, {"callbacks": [MASKED]})
    assert "deadbeef" not in json.dumps(fields)


def test_prompt_is_shown_while_the_task_waits(run: VideoRun) -> None:
    if run.dag_id == "fields_deferred":
        run.wait_for("deferred")
    wait_until(lambda: run.mark in shown(run).get("prompt", ""), timeout=60, what="the prompt")

    assert_shown(run)
    assert run.task()["state"] == ("deferred" if run.dag_id == "fields_deferred" else "running")


def test_prompt_is_shown_after_success_and_sent_unchanged(run: VideoRun) -> None:
    run.finish()

    assert run.wait()["state"] == "success"
    assert_shown(run)
    (submission,) = run.submissions()
    assert submission["body"]["prompt"].startswith(f"{run.mark} {HOSTILE} https://")
    assert submission["body"]["image"]["url"].endswith("deadbeef0123456789")
