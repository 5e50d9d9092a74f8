"""The operators against the sandbox, attempt by attempt."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.exceptions import GenerationTimeoutError
from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
)
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from tests.integration.conftest import KEY
from tests.support.task_run import MemoryStore, TaskRun
from tests.support.video_tasks import submissions_of, video_task

RESULT_KEYS = {
    "request_id",
    "status",
    "model",
    "video_url",
    "duration",
    "cost_usd",
    "path",
    "size_bytes",
    "sha256",
    "content_type",
    "elapsed_seconds",
}


@pytest.mark.parametrize("deferrable", [True, False])
def test_operator_saves_the_video(deferrable: bool, sandbox, tmp_path: Path):
    task = video_task(
        prompt=f"A lake {deferrable}", duration=2, deferrable=deferrable, output_path=f"file://{tmp_path}/out/"
    ).run()

    assert task.state == "success", task.error
    assert set(task.result) == RESULT_KEYS
    request_id = task.result["request_id"]
    assert task.xcoms["request_id"] == request_id
    assert (task.result["status"], task.result["duration"], task.result["cost_usd"]) == ("done", 2, "0.1")
    saved = ObjectStoragePath(task.result["path"])
    assert saved.name == f"{request_id}.mp4"
    assert saved.stat().st_size == task.result["size_bytes"]
    assert len(task.deferrals) == (1 if deferrable else 0)
    assert len(submissions_of(sandbox, f"A lake {deferrable}")) == 1
    assert not any(download["authorization"] for download in sandbox.downloads)


def test_deferral_has_a_deadline_and_no_secret(sandbox):
    task = video_task(prompt="deferral").run()

    deferred = task.deferrals[0]
    path, arguments = deferred.trigger.serialize()
    assert path == "airflow_provider_grokvideo.triggers.grokvideo.GrokVideoTrigger"
    assert set(arguments) == {"grokvideo_conn_id", "request_id", "poll_interval", "deadline"}
    assert arguments["deadline"] > 1_700_000_000
    assert deferred.timeout is None
    assert KEY not in json.dumps([arguments, deferred.kwargs, task.events, task.result, task.xcoms])
    assert json.loads(json.dumps(task.events)) == task.events


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("bad_key", "key"),
        ("no_quota", "quota"),
        ("payment_required", ""),
        ("out_of_credit_429", "credit"),
        ("invalid_request", ""),
        ("model_not_found", "model"),
        ("redirect", "host"),
    ],
)
def test_rejection_is_final_and_free(fault: str, word: str, sandbox):
    sandbox.fault("submit", fault)

    task = video_task(retries=3, prompt=f"refused {fault}").run()

    assert (task.state, task.attempts) == ("failed", 1)
    assert word in str(task.error).lower()
    assert submissions_of(sandbox, f"refused {fault}") == []


@pytest.mark.parametrize("fault", ["close_after_accept", "half_answer", "server_error", "bad_gateway", "no_id", "html"])
def test_unknown_outcome_stops_and_explains(fault: str, sandbox):
    sandbox.fault("submit", fault)
    task = video_task(retries=3, prompt=f"unknown {fault}").run()

    assert (task.state, task.attempts) == ("failed", 1)
    for words in (
        "is unknown, and it may be billed",
        "GrokVideoSensor",
        "clear this task",
        'on_unknown_submission="resubmit"',
    ):
        assert words in str(task.error)

    # A worker that dies cannot forbid the retry: the ledger does.
    submitted = len(submissions_of(sandbox, f"unknown {fault}"))
    task.run()
    assert task.state == "failed"
    assert "ended while it submitted" in str(task.error)
    assert len(submissions_of(sandbox, f"unknown {fault}")) == submitted

    task.clear().run()
    assert task.state == "success"
    assert len(submissions_of(sandbox, f"unknown {fault}")) == submitted + 1


def test_unknown_outcome_is_resubmitted_on_request(sandbox):
    sandbox.fault("submit", "close_after_accept")

    task = video_task(retries=1, prompt="resubmit", on_unknown_submission="resubmit").run()

    assert (task.state, task.attempts) == ("success", 2)
    assert len(submissions_of(sandbox, "resubmit")) == 2


def test_short_rate_limit_sleeps_on_the_worker(sandbox):
    sandbox.fault("submit", "rate_limited", retry_after=0.1)

    task = video_task(prompt="short limit").run()

    assert task.state == "success", task.error
    assert [deferred.method_name for deferred in task.deferrals] == ["execute_complete"]


def test_long_rate_limit_defers(sandbox, monkeypatch):
    monkeypatch.setattr("airflow_provider_grokvideo.execution.MAX_WORKER_SLEEP", 0.5)
    monkeypatch.setattr("airflow_provider_grokvideo.execution.min_deferral", lambda: 3.0)
    sandbox.fault("submit", "rate_limited", retry_after=1)
    began = datetime.now(UTC)

    task = video_task(prompt="long limit").run()

    assert task.state == "success", task.error
    assert [deferred.method_name for deferred in task.deferrals] == ["execute_resubmit", "execute_complete"]
    assert task.deferrals[0].trigger.moment - began >= timedelta(seconds=3)
    assert len(submissions_of(sandbox, "long limit")) == 1


def test_rate_limit_beyond_the_timeout_allows_a_retry(sandbox):
    store = MemoryStore()
    sandbox.fault("submit", "rate_limited", retry_after=3600)

    task = video_task(prompt="endless limit", store=store, retries=1).run()

    assert (task.state, task.attempts) == ("success", 2)
    assert store.values["grokvideo"]["state"] == "finished"


@pytest.mark.parametrize(
    ("outcome", "words", "attempts", "submitted"),
    [
        ("moderated_failed", "moderat", 1, 1),
        ("moderated_done", "moderat", 1, 1),
        ("moderated_400", "moderat", 1, 1),
        ("failed", "failed", 2, 2),
        ("expired", "expired", 2, 2),
    ],
)
def test_failed_generation_decides_about_the_retry(outcome, words, attempts, submitted, sandbox):
    sandbox.fault("outcome", outcome)

    task = video_task(prompt=f"ends {outcome}", retries=1).run()

    assert task.attempts == attempts
    assert len(submissions_of(sandbox, f"ends {outcome}")) == submitted
    first = submissions_of(sandbox, f"ends {outcome}")[0]["request_id"]
    if submitted == 1:
        assert task.state == "failed"
        assert words in str(task.error)
        assert first in str(task.error)
    else:
        assert task.state == "success"
        assert task.xcoms["request_id"] != first


@pytest.mark.parametrize("deferrable", [True, False])
def test_retry_resumes_after_a_timeout(deferrable: bool, sandbox):
    prompt = f"timeout {deferrable}"
    sandbox.fault("poll", "bare_id", times=None, prompt_contains=prompt)
    task = video_task(prompt=prompt, timeout=0.3, deferrable=deferrable).run()

    assert isinstance(task.error, GenerationTimeoutError)
    request_id = submissions_of(sandbox, prompt)[0]["request_id"]
    assert request_id in str(task.error)
    assert "continues and is billed" in str(task.error)

    sandbox.clear_faults()
    task.run()
    assert task.state == "success", task.error
    assert task.result["request_id"] == request_id
    assert len(submissions_of(sandbox, prompt)) == 1


def test_sensor_saves_a_submitted_video(sandbox, tmp_path: Path):
    submitted = video_task(prompt="later", wait_for_completion=False).run()
    assert submitted.state == "success"
    assert submitted.deferrals == []
    assert submitted.result["status"] == "pending"

    sensed = TaskRun(
        lambda: GrokVideoSensor(
            task_id="sense",
            request_id=submitted.result["request_id"],
            output_path=f"file://{tmp_path}/v.mp4",
            poll_interval=0.05,
        )
    ).run()
    assert sensed.state == "success", sensed.error
    assert set(sensed.result) == RESULT_KEYS
    assert (tmp_path / "v.mp4").exists()
    assert len(submissions_of(sandbox, "later")) == 1


def test_edit_and_extend_submit_their_kind(sandbox, tmp_path: Path):
    source = video_task(prompt="source", duration=3).run().result["video_url"]

    edited = video_task(
        GrokVideoEditOperator, prompt="Add snow", video=source, output_path=f"file://{tmp_path}/e.mp4"
    ).run()
    extended = video_task(GrokVideoExtendOperator, prompt="Rise", video=source, duration="2").run()

    assert (edited.state, extended.state) == ("success", "success")
    kinds = {one["body"]["prompt"]: one["kind"] for one in sandbox.submissions[-2:]}
    assert kinds == {"Add snow": "edit", "Rise": "extension"}
    assert "duration" not in submissions_of(sandbox, "Add snow")[0]["body"]
    assert submissions_of(sandbox, "Rise")[0]["body"]["duration"] == 2


def test_resume_does_not_need_the_image(sandbox, tmp_path: Path):
    image = tmp_path / "lake.png"
    image.write_bytes(Path("example_dags/images/lake.png").read_bytes())
    store = MemoryStore()
    submitted = video_task(prompt="image gone", image=str(image), store=store, wait_for_completion=False).run()
    image.unlink()

    task = video_task(prompt="image gone", image=str(image), store=store).run()

    assert task.state == "success", task.error
    assert task.result["request_id"] == submitted.result["request_id"]
    assert len(submissions_of(sandbox, "image gone")) == 1


def test_unreadable_ledger_stops_before_submission(sandbox, tmp_path: Path):
    task = video_task(store=None, prompt="unreadable", ledger_path=f"file://{tmp_path}").run()
    assert task.state == "success"
    ledger = next(tmp_path.glob("grokvideo-*.json"))
    ledger.write_text('{"state": "intent"')

    task.run()
    assert task.state == "failed"
    assert str(ledger) in str(task.error)
    assert len(submissions_of(sandbox, "unreadable")) == 1


def test_missing_connection_is_an_error_event(sandbox, monkeypatch):
    sandbox.fault("poll", "bare_id", times=None, prompt_contains="connection gone")
    monkeypatch.setattr("airflow_provider_grokvideo.hooks.async_connection._lookups", {})
    run = video_task(prompt="connection gone", grokvideo_conn_id="grokvideo_default")
    monkeypatch.setattr(
        "airflow_provider_grokvideo.triggers.grokvideo.GrokVideoTrigger.serialize",
        lambda trigger: (
            "airflow_provider_grokvideo.triggers.grokvideo.GrokVideoTrigger",
            {
                "grokvideo_conn_id": "nowhere",
                "request_id": trigger.request_id,
                "poll_interval": trigger.poll_interval,
                "deadline": trigger.deadline,
            },
        ),
    )

    run.attempt()

    assert run.events[0]["status"] == "error"
    assert "nowhere" in run.events[0]["error_message"]
    assert run.state == "up_for_retry"
