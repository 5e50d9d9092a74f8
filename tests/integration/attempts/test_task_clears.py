"""Clears of a task, and runs created again: what submits, and what resumes."""

from __future__ import annotations

import pytest

from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.task_run import MemoryStore
from tests.support.video_tasks import counted, never_done, video_task


@pytest.mark.parametrize("waits", [True, False])
def test_clear_of_a_success_submits_again(
    waits: bool, sandbox: Sandbox, store: MemoryStore | None, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = video_task(store=store, output_path=folder, wait_for_completion=waits).run()
    ids = [run.result["request_id"]]
    for _ in range(3):
        run.clear().run()
        assert run.state == "success"
        ids.append(run.result["request_id"])

    assert len(set(ids)) == 4
    assert [one["request_id"] for one in sandbox.submissions] == ids
    log = caplog.text
    assert f"which is billed: the task was cleared after it had succeeded; the earlier generation {ids[0]}" in log
    assert "This request costs up to 0.05 USD" in log


def test_clear_of_another_task_submits_nothing(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    sandbox.fault("submit", "close_after_accept")
    run = video_task(store=store, output_path=folder, retries=0).run()
    run.clear_another_task().attempt()

    assert run.state == "failed"
    assert "is unknown, and it may be billed" in str(run.error)
    assert len(sandbox.submissions) == 1


def test_clear_after_an_unknown_outcome_submits(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    sandbox.fault("submit", "close_after_accept")
    run = video_task(store=store, output_path=folder, retries=0).run()
    run.clear().run()

    assert run.state == "success"
    assert len(sandbox.submissions) == 2


def test_stored_result_survives_clear_of_another_task(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    run = video_task(store=store, output_path=folder).run()
    first = run.result
    run.clear_another_task().attempt()

    assert run.state == "success"
    assert {**run.result, "video_url": None} == {**first, "video_url": None}
    assert len(sandbox.submissions) == 1


def test_clear_resumes_a_pending_generation(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    never_done(sandbox)
    run = video_task(store=store, output_path=folder, timeout=0.2, retries=0).run()
    sandbox.clear_faults()
    run.clear().run()

    assert run.state == "success"
    assert len(sandbox.submissions) == 1


def test_clear_submits_a_changed_request(
    sandbox: Sandbox, store: MemoryStore | None, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    never_done(sandbox, "Take 1")
    run = video_task(store=store, output_path=folder, prompt=counted("Take {}"), timeout=0.2, retries=0).run()
    old = run.xcoms["request_id"]
    run.clear().run()

    assert run.state == "success"
    assert run.result["request_id"] != old
    assert f"the earlier generation {old} is left alone, and is billed" in caplog.text


def test_retry_after_a_resuming_clear_resumes(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    never_done(sandbox)
    prompts = {1: "same", 2: "same", 3: "changed"}
    run = video_task(store=store, output_path=folder, prompt=lambda: prompts[run.try_number], timeout=0.2, retries=0)
    run.run().clear().attempt()
    sandbox.clear_faults()
    run.attempt()

    assert run.state == "success"
    assert [one["body"]["prompt"] for one in sandbox.submissions] == ["same"]


def test_run_created_again_submits(sandbox: Sandbox, folder: str) -> None:
    run = video_task(store=None, output_path=folder).run()
    first = run.result["request_id"]
    run.create_again().run()

    assert run.state == "success"
    assert run.result["request_id"] != first
    assert len(sandbox.submissions) == 2
