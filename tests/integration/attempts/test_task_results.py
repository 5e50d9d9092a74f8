"""The result of a task: a fresh URL, a file saved again, the request as submitted."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.decorators.grokvideo import GrokVideoDecoratedOperator
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.connections import connection
from tests.support.task_run import MemoryStore, TaskRun
from tests.support.video_tasks import never_done, video_task


@pytest.mark.parametrize("deferrable", [True, False])
def test_upload_by_the_api_is_a_success(deferrable: bool, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fault("outcome", "done_without_url")
    upload_url = "https://bucket.example.com/v.mp4?X-Amz-Signature=s"
    run = video_task(
        store=None, upload_url=upload_url, deferrable=deferrable, ledger_path=f"file://{tmp_path}/ledger/", retries=0
    ).run()

    assert run.state == "success", run.error
    assert (run.result["status"], run.result["video_url"], run.result["path"]) == ("done", None, None)
    run.attempt()
    assert (run.state, run.result["status"], len(sandbox.submissions)) == ("success", "done", 1)


@pytest.mark.parametrize("deferrable", [True, False])
def test_returned_request_decides_model_and_upload(
    deferrable: bool, sandbox: Sandbox, store: MemoryStore | None, tmp_path: Path
) -> None:
    """The decorator's arguments say nothing of model and upload: the function does, in the first process only."""
    returned = {
        "prompt": "A lake",
        "duration": 1,
        "model": "grok-imagine-video-1.5",
        "upload_url": "https://bucket.example.com/v.mp4?X-Amz-Signature=s",
    }
    sandbox.fault("outcome", "done_without_url")
    run = TaskRun(
        lambda: GrokVideoDecoratedOperator(
            task_id="task",
            python_callable=lambda: returned,
            ledger_path=f"file://{tmp_path}/ledger/",
            deferrable=deferrable,
            poll_interval=0.05,
            timeout=20,
        ),
        store=store,
    ).run()

    assert run.state == "success", run.error
    assert (run.result["status"], run.result["model"]) == ("done", "grok-imagine-video-1.5")


@pytest.mark.parametrize("saves", [True, False])
def test_returned_result_has_a_fresh_url(
    saves: bool, sandbox: Sandbox, tmp_path: Path, store: MemoryStore | None, folder: str
) -> None:
    arguments = {"output_path": folder} if saves else {"ledger_path": f"file://{tmp_path}/ledger/"}
    run = video_task(store=store, **arguments).run()
    first = run.result
    run.attempt()

    assert run.state == "success"
    assert set(run.result) == set(first)
    assert run.result["video_url"].startswith("http")
    assert {**run.result, "video_url": 0, "elapsed_seconds": 0} == {**first, "video_url": 0, "elapsed_seconds": 0}
    assert len(sandbox.submissions) == 1


def test_missing_saved_video_is_saved_again(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    run = video_task(store=store, output_path=folder).run()
    video = ObjectStoragePath(run.result["path"])
    video.unlink()
    run.attempt()

    assert run.state == "success"
    assert video.exists()
    assert len(sandbox.submissions) == 1


def test_changed_destination_gets_the_video(sandbox: Sandbox, store: MemoryStore | None, tmp_path: Path) -> None:
    ledger = f"file://{tmp_path}/ledger/"
    run = video_task(store=store, output_path=lambda: f"file://{tmp_path}/{run.try_number}.mp4", ledger_path=ledger)
    run.run().attempt()

    assert run.state == "success"
    assert run.result["path"] == f"file://{tmp_path}/2.mp4"
    assert (tmp_path / "2.mp4").exists()
    assert len(sandbox.submissions) == 1


def test_another_address_submits_and_names_the_old_id(
    sandbox: Sandbox,
    store: MemoryStore | None,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    never_done(sandbox)
    run = video_task(store=store, output_path=folder, timeout=0.2, retries=0).run()
    old = run.xcoms["request_id"]
    with Sandbox(render_seconds=0) as other:
        monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", connection(other.base_url, other.api_key))
        run.attempt()
        assert len(other.submissions) == 1
    assert run.state == "success"
    assert f"the earlier generation {old} was submitted to another API address" in caplog.text


def test_renamed_connection_resumes(
    sandbox: Sandbox, store: MemoryStore | None, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_RENAMED", connection(sandbox.base_url, sandbox.api_key))
    names = {1: "grokvideo_default", 2: "renamed"}
    never_done(sandbox)
    run = video_task(
        store=store, output_path=folder, grokvideo_conn_id=lambda: names[run.try_number], timeout=0.2, retries=0
    )
    run.run()
    sandbox.clear_faults()
    run.attempt()

    assert run.state == "success"
    assert len(sandbox.submissions) == 1
