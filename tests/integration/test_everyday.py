"""An ordinary week of one task, on both kinds of ledger: retries, clears, changed renderings, runs created again.

Each test counts what the API bills. The same paths go through a real Airflow in tests/e2e/test_clears.py.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.api.summary import fingerprint_address
from airflow_provider_grokvideo.decorators.grokvideo import GrokVideoDecoratedOperator
from airflow_provider_grokvideo.exceptions import LedgerEntryError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.task_run import MemoryStore, TaskRun

CONNECTION = "grokvideo_everyday"


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """Let the log hold what a task's log would."""
    caplog.set_level(logging.INFO, logger="airflow_provider_grokvideo")


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Return an API of one's own, and its connection."""
    with Sandbox(render_seconds=0) as running:
        made = {"conn_type": "grokvideo", "host": running.base_url, "password": running.api_key}
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(made))
        yield running


@pytest.fixture(params=["state-store", "file"])
def store(request: pytest.FixtureRequest) -> MemoryStore | None:
    """Return the task state store, or none: then the ledger is a file beside the video."""
    return MemoryStore() if request.param == "state-store" else None


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return the directory for videos."""
    return f"file://{tmp_path}/videos/"


def task(store: MemoryStore | None, retries: int = 2, **kwargs: Any) -> TaskRun:
    """Return a task instance; a callable argument is rendered at every attempt."""
    defaults = {
        "task_id": "task",
        "prompt": "A lake",
        "duration": 1,
        "grokvideo_conn_id": CONNECTION,
        "poll_interval": 0.05,
        "timeout": 20,
    }

    def make() -> GrokVideoGenerateOperator:
        given = {**defaults, **kwargs}
        return GrokVideoGenerateOperator(
            **{name: value() if callable(value) else value for name, value in given.items()}
        )

    return TaskRun(make, retries=retries, store=store)


def counted(text: str) -> Any:
    """Return what renders differently at every attempt."""
    number = itertools.count(1)
    return lambda: text.format(next(number))


def never_done(sandbox: Sandbox, prompt: str = "") -> None:
    """Let the next generations go on until the test ends them."""
    sandbox.fault("poll", "bare_id", times=None, **({"prompt_contains": prompt} if prompt else {}))


# --- clears -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [True, False])
def test_clearing_a_success_submits_anew_every_time(
    waits: bool, sandbox: Sandbox, store: MemoryStore | None, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = task(store, output_path=folder, wait_for_completion=waits).run()
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


def test_clearing_another_task_after_a_lost_answer_submits_nothing(
    sandbox: Sandbox, store: MemoryStore | None, folder: str
) -> None:
    sandbox.fault("submit", "close_after_accept")
    run = task(store, output_path=folder, retries=0).run()
    run.clear_another_task().attempt()

    assert run.state == "failed"
    assert "is unknown, and it may be billed" in str(run.error)
    assert len(sandbox.submissions) == 1


def test_clearing_after_a_lost_answer_submits(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    sandbox.fault("submit", "close_after_accept")
    run = task(store, output_path=folder, retries=0).run()
    run.clear().run()

    assert run.state == "success"
    assert len(sandbox.submissions) == 2


def test_a_result_whose_success_was_not_recorded_is_returned_though_another_task_is_cleared(
    sandbox: Sandbox, store: MemoryStore | None, folder: str
) -> None:
    run = task(store, output_path=folder).run()
    first = run.result
    run.clear_another_task().attempt()

    assert run.state == "success"
    assert {**run.result, "video_url": None} == {**first, "video_url": None}
    assert len(sandbox.submissions) == 1


def test_clearing_a_pending_generation_resumes_it(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    never_done(sandbox)
    run = task(store, output_path=folder, timeout=0.2, retries=0).run()
    sandbox.clear_faults()
    run.clear().run()

    assert run.state == "success"
    assert len(sandbox.submissions) == 1


def test_clearing_a_pending_generation_with_a_changed_request_submits(
    sandbox: Sandbox, store: MemoryStore | None, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    never_done(sandbox, "Take 1")
    run = task(store, output_path=folder, prompt=counted("Take {}"), timeout=0.2, retries=0).run()
    old = run.xcoms["request_id"]
    run.clear().run()

    assert run.state == "success"
    assert run.result["request_id"] != old
    assert f"the earlier generation {old} is left alone, and is billed" in caplog.text


def test_a_clear_that_resumed_is_no_reason_for_a_retry_to_submit(
    sandbox: Sandbox, store: MemoryStore | None, folder: str
) -> None:
    never_done(sandbox)
    prompts = {1: "same", 2: "same", 3: "changed"}
    run = task(store, output_path=folder, prompt=lambda: prompts[run.try_number], timeout=0.2, retries=0)
    run.run().clear().attempt()
    sandbox.clear_faults()
    run.attempt()

    assert run.state == "success"
    assert [one["body"]["prompt"] for one in sandbox.submissions] == ["same"]


def test_a_run_created_again_generates_again(sandbox: Sandbox, folder: str) -> None:
    run = task(None, output_path=folder).run()
    first = run.result["request_id"]
    run.create_again().run()

    assert run.state == "success"
    assert run.result["request_id"] != first
    assert len(sandbox.submissions) == 2


# --- retries ------------------------------------------------------------------------------------------


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
def test_a_retry_never_pays_for_a_changed_rendering(
    changing: dict[str, Any],
    sandbox: Sandbox,
    store: MemoryStore | None,
    folder: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    never_done(sandbox)
    run = task(store, output_path=folder, timeout=0.2, retries=1, **changing).run()
    sandbox.clear_faults()
    run.attempt()

    assert run.state == "success", run.error
    assert len(sandbox.submissions) == 1
    log = caplog.text
    assert "The request of this attempt differs" in log
    assert "To submit and pay for the new request, clear this task" in log


def test_a_signature_that_is_renewed_changes_nothing(
    sandbox: Sandbox, store: MemoryStore | None, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    never_done(sandbox)
    signed = counted("https://bucket.s3.amazonaws.com/a.png?X-Amz-Date=2026112{0}&X-Amz-Signature=s{0}")
    run = task(store, output_path=folder, image=signed, timeout=0.2, retries=0).run()
    sandbox.clear_faults()
    run.clear().run()

    assert run.state == "success"
    assert len(sandbox.submissions) == 1
    assert "differs" not in caplog.text


def test_a_rejected_changed_request_keeps_the_running_generation(
    sandbox: Sandbox, store: MemoryStore | None, folder: str
) -> None:
    never_done(sandbox, "first")
    prompts = {1: "first", 2: "second", 3: "first"}
    run = task(store, output_path=folder, prompt=lambda: prompts[run.try_number], timeout=0.2, retries=0)
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
def test_only_a_passing_failure_is_paid_again(
    code: str, submissions: int, deferrable: bool, sandbox: Sandbox, store: MemoryStore | None, folder: str
) -> None:
    sandbox.fault("outcome", "failed", code=code)
    run = task(store, output_path=folder, deferrable=deferrable, retries=3).run()

    assert run.state == ("success" if submissions == 2 else "failed")
    assert len(sandbox.submissions) == submissions


def test_a_video_that_was_done_when_the_wait_ended_is_saved(
    sandbox: Sandbox, store: MemoryStore | None, folder: str
) -> None:
    """The triggerer was down past the deadline, or its event says error."""
    for event in ({"status": "timeout"}, {"status": "error", "error_type": "TransportError", "error_message": "x"}):
        run = task(store, output_path=folder, retries=0)
        never_done(sandbox)
        run.make().timeout = 0.1
        operator = run.make()
        request_id = task(store, wait_for_completion=False, prompt=str(event)).run().result["request_id"]
        sandbox.clear_faults()
        run.try_number = 1
        result = operator.execute_complete(
            run.context(operator), {"request_id": request_id, "polls": 1, **event}, try_number=1
        )
        assert result["status"] == "done"
        assert ObjectStoragePath(result["path"]).exists()


def test_an_event_of_an_earlier_attempt_is_ignored(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    """Airflow 3.0 hands a retry the last attempt's event (apache/airflow#56704)."""
    run = task(store, output_path=folder, retries=0, deferrable=False)
    run.try_number = 2
    operator = run.make()
    stale = {"status": "timeout", "request_id": "of-the-first-attempt", "polls": 1}

    result = operator.execute_complete(run.context(operator), stale, try_number=1)

    assert result["status"] == "done"
    assert result["request_id"] == sandbox.submissions[0]["request_id"]


def test_the_arguments_of_a_released_deferral_are_accepted(
    sandbox: Sandbox, store: MemoryStore | None, folder: str
) -> None:
    run = task(store, output_path=folder, wait_for_completion=False).run()
    operator = task(store, output_path=folder).make()
    done = {"status": "done", "request_id": run.result["request_id"], "polls": 1}

    result = operator.execute_complete(run.context(operator), done, asked_at=1.0)

    assert (result["status"], result["model"]) == ("done", "grok-imagine-video")
    assert operator.execute_postponed(run.context(operator), None, give_up_at=4e9, attempt=1)["status"] == "done"
    assert len(sandbox.submissions) == 1


def test_a_connection_that_cannot_be_looked_up_now_stays_in_use(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is refused once, and the database does not answer: the wait on the worker goes on."""
    request_id = task(None, wait_for_completion=False).run().result["request_id"]
    hook = GrokVideoHook(CONNECTION)
    assert hook.settings.base_url == sandbox.base_url

    def unavailable(conn_id: str) -> Any:
        raise RuntimeError(f"no database for {sandbox.api_key}")

    monkeypatch.setattr(hook, "get_connection", unavailable)
    sandbox.fault("poll", "bad_key")

    assert hook.wait(request_id, poll_interval=0.05, timeout=20).state == "done"
    assert sandbox.api_key not in caplog.text


# --- the request as submitted -------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [True, False])
def test_an_upload_by_the_api_is_done(deferrable: bool, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fault("outcome", "done_without_url")
    upload_url = "https://bucket.example.com/v.mp4?X-Amz-Signature=s"
    run = task(
        None, upload_url=upload_url, deferrable=deferrable, ledger_path=f"file://{tmp_path}/ledger/", retries=0
    ).run()

    assert run.state == "success", run.error
    assert (run.result["status"], run.result["video_url"], run.result["path"]) == ("done", None, None)
    run.attempt()
    assert (run.state, run.result["status"], len(sandbox.submissions)) == ("success", "done", 1)


@pytest.mark.parametrize("deferrable", [True, False])
def test_what_a_function_returned_is_what_was_submitted(
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
            grokvideo_conn_id=CONNECTION,
            ledger_path=f"file://{tmp_path}/ledger/",
            deferrable=deferrable,
            poll_interval=0.05,
            timeout=20,
        ),
        store=store,
    ).run()

    assert run.state == "success", run.error
    assert (run.result["status"], run.result["model"]) == ("done", "grok-imagine-video-1.5")


# --- results ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("saves", [True, False])
def test_a_returned_result_has_a_fresh_url(
    saves: bool, sandbox: Sandbox, tmp_path: Path, store: MemoryStore | None, folder: str
) -> None:
    arguments = {"output_path": folder} if saves else {"ledger_path": f"file://{tmp_path}/ledger/"}
    run = task(store, **arguments).run()
    first = run.result
    run.attempt()

    assert run.state == "success"
    assert set(run.result) == set(first)
    assert run.result["video_url"].startswith("http")
    assert {**run.result, "video_url": 0, "elapsed_seconds": 0} == {**first, "video_url": 0, "elapsed_seconds": 0}
    assert len(sandbox.submissions) == 1


def test_a_saved_video_that_is_gone_is_saved_again(sandbox: Sandbox, store: MemoryStore | None, folder: str) -> None:
    run = task(store, output_path=folder).run()
    video = ObjectStoragePath(run.result["path"])
    video.unlink()
    run.attempt()

    assert run.state == "success"
    assert video.exists()
    assert len(sandbox.submissions) == 1


def test_another_destination_gets_the_video_too(sandbox: Sandbox, store: MemoryStore | None, tmp_path: Path) -> None:
    ledger = f"file://{tmp_path}/ledger/"
    run = task(store, output_path=lambda: f"file://{tmp_path}/{run.try_number}.mp4", ledger_path=ledger)
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
    run = task(store, output_path=folder, timeout=0.2, retries=0).run()
    old = run.xcoms["request_id"]
    with Sandbox(render_seconds=0) as other:
        made = {"conn_type": "grokvideo", "host": other.base_url, "password": other.api_key}
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(made))
        run.attempt()
        assert len(other.submissions) == 1
    assert run.state == "success"
    assert f"the earlier generation {old} was submitted to another API address" in caplog.text


def test_a_renamed_connection_resumes(
    sandbox: Sandbox, store: MemoryStore | None, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"conn_type": "grokvideo", "host": sandbox.base_url, "password": sandbox.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_RENAMED", json.dumps(made))
    names = {1: CONNECTION, 2: "renamed"}
    never_done(sandbox)
    run = task(store, output_path=folder, grokvideo_conn_id=lambda: names[run.try_number], timeout=0.2, retries=0)
    run.run()
    sandbox.clear_faults()
    run.attempt()

    assert run.state == "success"
    assert len(sandbox.submissions) == 1


# --- upgrades -----------------------------------------------------------------------------------------

FIXTURES = Path(__file__).parents[1] / "fixtures" / "ledger_entries"


def _stored(release: Path, state: str, request_id: str, path: str, address: str) -> dict[str, Any]:
    """Return an entry as a release has written it, of this generation."""
    text = json.dumps(json.loads(release.read_text())[state])
    return json.loads(text.replace("REQUEST_ID", request_id).replace("PATH", path).replace("ADDRESS", address))


@pytest.mark.parametrize("release", sorted(FIXTURES.glob("*.json")), ids=lambda file: file.stem)
@pytest.mark.parametrize(("state", "ends"), [("intent", "failed"), ("submitted", "success"), ("finished", "success")])
def test_an_entry_of_a_release_is_never_paid_again(
    release: Path, state: str, ends: str, sandbox: Sandbox, store: MemoryStore | None, tmp_path: Path
) -> None:
    made = task(None, wait_for_completion=False, ledger_path=f"file://{tmp_path}/elsewhere/").run()
    request_id = made.result["request_id"]
    video = tmp_path / f"{request_id}.mp4"
    video.write_bytes(b"saved before the upgrade")
    address = fingerprint_address(sandbox.base_url)
    entry = _stored(release, state, request_id, f"file://{tmp_path}/{request_id}.mp4", address)
    run = task(store, retries=0, output_path=f"file://{tmp_path}/")
    run.try_number, run.max_tries = 1, entry.get("attempt", {}).get("max_tries", 0)
    _place(run, store, tmp_path, entry)

    run.attempt()

    assert run.state == ends, run.error
    assert len(sandbox.submissions) == 1
    if state == "finished":
        assert video.read_bytes() == b"saved before the upgrade"
    # The first clear after the upgrade is recognised.
    run.clear().attempt()
    assert run.state == "success"
    assert len(sandbox.submissions) == 2


def test_an_entry_of_a_newer_release_submits_nothing(
    sandbox: Sandbox, store: MemoryStore | None, tmp_path: Path
) -> None:
    entry = _stored(max(FIXTURES.glob("*.json")), "submitted", "some-id", "", "")
    run = task(store, retries=2, output_path=f"file://{tmp_path}/")
    _place(run, store, tmp_path, {**entry, "priority": "high"})

    run.run()

    assert run.state == "failed"
    assert isinstance(run.error.__cause__, LedgerEntryError)
    assert "newer release" in str(run.error)
    assert sandbox.submissions == []


def _place(run: TaskRun, store: MemoryStore | None, tmp_path: Path, entry: dict[str, Any]) -> None:
    """Put an entry where each release of this package looks for it."""
    if store is not None:
        store.values["grokvideo"] = entry
        return
    # sha256 of "dag\0manual__1\0task\0-1"
    name = "grokvideo-61f4f09ea03cd9ac371f1fb7843806cd1320791e.json"
    (tmp_path / ".grokvideo").mkdir()
    (tmp_path / ".grokvideo" / name).write_text(json.dumps(entry))
