"""Retries of a task: one payment, even if the rendered fields change."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.task_run import MemoryStore
from tests.support.video_tasks import counted, never_done, video_task


@pytest.mark.parametrize(
    "changing",
    [
        {"prompt": counted("Take {}")},
        {"duration": counted("{}")},
        {"image": counted("https://host/a.png?v={}")},
        {"user": counted("user-{}")},
    ],
    ids=["prompt", "duration", "image", "user"],
)
def test_retry_ignores_a_changed_rendering(
    changing: dict[str, Any],
    sandbox: Sandbox,
    store: MemoryStore | None,
    folder: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    never_done(sandbox)
    run = video_task(store=store, output_path=folder, timeout=0.2, retries=1, **changing).run()
    sandbox.clear_faults()
    run.attempt()

    assert run.state == "success", run.error
    assert len(sandbox.submissions) == 1
    log = caplog.text
    assert "The request of this attempt differs" in log
    assert "To submit and pay for the new request, clear this task" in log


def test_renewed_signature_is_the_same_request(
    sandbox: Sandbox, store: MemoryStore | None, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    never_done(sandbox)
    signed = counted("https://bucket.s3.amazonaws.com/a.png?X-Amz-Date=2026112{0}&X-Amz-Signature=s{0}")
    run = video_task(store=store, output_path=folder, image=signed, timeout=0.2, retries=0).run()
    sandbox.clear_faults()
    run.clear().run()

    assert run.state == "success"
    assert len(sandbox.submissions) == 1
    assert "differs" not in caplog.text


def test_rejected_changed_request_keeps_the_running_generation(
    sandbox: Sandbox, store: MemoryStore | None, folder: str
) -> None:
    never_done(sandbox, "first")
    prompts = {1: "first", 2: "second", 3: "first"}
    run = video_task(store=store, output_path=folder, prompt=lambda: prompts[run.try_number], timeout=0.2, retries=0)
    run.run()
    old = run.xcoms["request_id"]
    sandbox.fault("submit", "invalid_request")
    run.clear().run()
    assert run.state == "failed"
    sandbox.clear_faults()

    run.clear().run()

    assert run.state == "success"
    assert run.result["request_id"] == old
    assert len(sandbox.submissions) == 1


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(
    ("code", "submissions"),
    [("invalid_argument", 1), ("failed_precondition", 1), ("permission_denied", 1), ("internal_error", 2)],
)
def test_only_a_temporary_failure_is_paid_again(
    code: str, submissions: int, deferrable: bool, sandbox: Sandbox, store: MemoryStore | None, folder: str
) -> None:
    sandbox.fault("outcome", "failed", code=code)
    run = video_task(store=store, output_path=folder, deferrable=deferrable, retries=3).run()

    assert run.state == ("success" if submissions == 2 else "failed")
    assert len(sandbox.submissions) == submissions


def test_video_done_at_the_end_of_the_wait_is_saved(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    """The triggerer was down past the deadline, or its event says error."""
    for event in ({"status": "timeout"}, {"status": "error", "error_type": "TransportError", "error_message": "x"}):
        run = video_task(store=store, output_path=folder, retries=0)
        never_done(sandbox)
        run.make().timeout = 0.1
        operator = run.make()
        request_id = video_task(store=store, wait_for_completion=False, prompt=str(event)).run().result["request_id"]
        sandbox.clear_faults()
        run.try_number = 1
        result = operator.execute_complete(
            run.context(operator), {"request_id": request_id, "polls": 1, **event}, try_number=1
        )
        assert result["status"] == "done"
        assert ObjectStoragePath(result["path"]).exists()


def test_event_of_an_earlier_attempt_is_ignored(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    """Airflow 3.0 hands a retry the last attempt's event (apache/airflow#56704)."""
    run = video_task(store=store, output_path=folder, retries=0, deferrable=False)
    run.try_number = 2
    operator = run.make()
    stale = {"status": "timeout", "request_id": "of-the-first-attempt", "polls": 1}

    result = operator.execute_complete(run.context(operator), stale, try_number=1)

    assert result["status"] == "done"
    assert result["request_id"] == sandbox.submissions[0]["request_id"]


def test_released_deferral_arguments_are_accepted(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    run = video_task(store=store, output_path=folder, wait_for_completion=False).run()
    operator = video_task(store=store, output_path=folder).make()
    done = {"status": "done", "request_id": run.result["request_id"], "polls": 1}

    result = operator.execute_complete(run.context(operator), done, asked_at=1.0)

    assert (result["status"], result["model"]) == ("done", "grok-imagine-video")
    assert operator.execute_postponed(run.context(operator), None, give_up_at=4e9, attempt=1)["status"] == "done"
    assert len(sandbox.submissions) == 1


def test_wait_survives_a_failed_connection_lookup(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The API rejects the key once, and the database does not answer: the wait on the worker continues."""
    request_id = video_task(store=None, wait_for_completion=False).run().result["request_id"]
    hook = GrokVideoHook()
    assert hook.settings.base_url == sandbox.base_url

    def unavailable(conn_id: str) -> Any:
        raise RuntimeError(f"no database for {sandbox.api_key}")

    monkeypatch.setattr(hook, "get_connection", unavailable)
    sandbox.fault("poll", "bad_key")

    assert hook.wait(request_id, poll_interval=0.05, timeout=20).state == "done"
    assert sandbox.api_key not in caplog.text
