"""Rows of the design's tables that no kill reaches: retries after a rejection or a failure, and clears."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess
from tests.e2e.video_runs import VideoRun, VideoRuns

LOST = {"on": "submit", "fault": "close_after_accept"}


@pytest.fixture(scope="module")
def runs(
    airflow: AirflowStack, sandbox: SandboxProcess, patient_sandbox: SandboxProcess, tasks_file: None
) -> VideoRuns:
    """Return the runs after their automatic retries; they go on at the same time."""

    def run(name: str, dag_id: str = "video", api: SandboxProcess = sandbox, **conf: str) -> VideoRun:
        return VideoRun(airflow, api, name, dag_id, conf=conf)

    patient = {"api": patient_sandbox, "connection": "grokvideo_patient"}
    return VideoRuns(
        [
            (run("lost"), [LOST]),
            (run("lost-resubmitted", "video_resubmitted"), [LOST]),
            (run("failed-once"), [{"on": "outcome", "fault": "failed"}]),
            (run("expired-once"), [{"on": "outcome", "fault": "expired"}]),
            (run("download-fails"), [{"on": "video", "fault": "not_found", "times": 5}]),
            (run("busy-once", "video_on_worker"), [{"on": "submit", "fault": "rate_limited", "retry_after": 2}]),
            (run("changed", "video_of_each_try", **patient), []),
        ]
    )


@pytest.fixture(scope="module")
def cleared(runs: VideoRuns) -> Callable[[str], VideoRun]:
    """Return what clears a run that has ended, as a person does, once, and waits for its new end."""
    done: dict[str, VideoRun] = {}

    def clear(name: str) -> VideoRun:
        if name not in done:
            run = runs[name]
            run.clear()
            run.wait()
            done[name] = run
        return done[name]

    return clear


@pytest.mark.parametrize(
    ("name", "state", "tries", "submissions"),
    [
        ("lost", "failed", 1, 1),
        ("lost-resubmitted", "success", 2, 2),
        ("failed-once", "success", 2, 2),
        ("expired-once", "success", 2, 2),
        ("download-fails", "success", 2, 1),
        ("busy-once", "success", 1, 1),
        ("changed", "failed", 2, 1),
    ],
)
def test_automatic_retry_resumes(name: str, state: str, tries: int, submissions: int, runs: VideoRuns) -> None:
    assert runs.first_end(name) == (state, tries, submissions)


def test_resubmission_logs_a_warning(runs: VideoRuns) -> None:
    assert "may have been accepted and billed; on_unknown_submission=resubmit" in runs["lost-resubmitted"].log(2)


def test_resubmission_names_the_failed_generation(runs: VideoRuns) -> None:
    for name in ("failed-once", "expired-once"):
        assert f"the earlier generation {runs[name].ids()[0]} has {name.split('-')[0]}" in runs[name].log(2)


def test_retry_after_a_failed_download_only_downloads(runs: VideoRuns, videos: Path) -> None:
    run = runs["download-fails"]
    [request_id] = run.ids()
    assert f"Resuming generation {request_id}. Nothing is submitted" in run.log(2)
    assert (videos / f"{request_id}.mp4").exists()


def test_changed_request_resumes_and_warns(runs: VideoRuns) -> None:
    run = runs["changed"]
    assert f"differs from the one that was submitted as generation {run.ids()[0]}" in run.log(2)
    assert "clear this task" in run.log(2)


def test_clear_after_an_unknown_outcome_submits_and_warns(cleared: Callable[[str], VideoRun]) -> None:
    run = cleared("lost")
    assert run.task()["state"] == "success"
    assert len(run.submissions()) == 2
    assert "may have been accepted and billed; the task was cleared to go on" in run.log(run.task()["try_number"])


def test_clear_of_a_finished_task_submits(cleared: Callable[[str], VideoRun]) -> None:
    run = cleared("failed-once")
    assert run.task()["state"] == "success"
    assert len(run.submissions()) == 3
    assert run.xcom()["request_id"] == run.ids()[-1]
