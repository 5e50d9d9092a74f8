"""Stores of ledger entries, and their faults."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.summary import RequestSummary, fingerprint_request
from airflow_provider_grokvideo.exceptions import InvalidRequestError, LedgerEntryError, LedgerError
from airflow_provider_grokvideo.ledger import Attempt
from airflow_provider_grokvideo.ledger_stores import (
    FileStore,
    Ledger,
    LedgerStore,
    TaskStateStore,
    file_name,
    open_ledger,
)

ID = "a3d1008e-4544-40d4-d075-11527e794e4a"
RESULT = {"request_id": ID, "status": "done", "path": "file:///v.mp4"}
SUMMARY = RequestSummary("grok-imagine-video")
FIRST = Attempt(try_number=1, max_tries=1)
RETRY = Attempt(try_number=2, max_tries=1)


class Store:
    """What Airflow's task state store offers a task: values by key, as JSON."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def get(self, key: str) -> Any:
        """Return the value, None where there is none."""
        return json.loads(self.held[key]) if key in self.held else None

    def set(self, key: str, value: Any) -> None:
        """Replace the value."""
        self.held[key] = json.dumps(value)

    def delete(self, key: str) -> None:
        """Remove the value."""
        self.held.pop(key, None)


Attached = Callable[[MemoryFileSystem], str]


def file_store(where: str, folder: Path, attached: Attached) -> FileStore:
    """Return a store in a directory that is not there yet."""
    bases = {"local": f"file://{folder}/", "memory": f"{attached(MemoryFileSystem())}{uuid.uuid4().hex}/"}
    return FileStore(ObjectStoragePath(f"{bases[where]}ledger/entry.json"))


@pytest.fixture(params=["local", "memory"])
def file(request: pytest.FixtureRequest, tmp_path: Path, attached: Attached) -> FileStore:
    """Return a file."""
    return file_store(request.param, tmp_path, attached)


@pytest.fixture(params=["local", "memory", "state-store"])
def store(request: pytest.FixtureRequest, tmp_path: Path, attached: Attached) -> LedgerStore:
    """Return a store of either kind."""
    if request.param == "state-store":
        return TaskStateStore(Store())
    return file_store(request.param, tmp_path, attached)


def submitted(store: LedgerStore | None, attempt: Attempt = FIRST, request_id: str = ID) -> Ledger:
    """Return the ledger of an attempt that has submitted."""
    ledger = Ledger(store, attempt)
    ledger.read()
    ledger.record_intent("f1", "here", SUMMARY)
    ledger.record_submitted("f1", "here", SUMMARY, request_id)
    return ledger


def test_life_of_an_entry(store: LedgerStore) -> None:
    ledger = Ledger(store, FIRST)
    assert ledger.read() is None

    before = time.time()
    ledger.record_intent("f1", "here", SUMMARY)
    entry = ledger.read()
    assert entry is not None
    assert (entry.state, entry.fingerprint, entry.address, entry.request) == ("intent", "f1", "here", SUMMARY)
    assert (entry.attempt, entry.request_id) == (FIRST, None)
    assert before <= entry.submitted_at <= time.time()

    ledger.record_submitted("f1", "here", SUMMARY, ID)
    entry = Ledger(store, RETRY).read()
    assert entry is not None
    assert (entry.state, entry.attempt, entry.request_id, entry.result) == ("submitted", FIRST, ID, None)

    ledger.record_result(ID, {**RESULT, "video_url": "https://v/x.mp4?sig=1"})
    entry = ledger.read()
    assert entry is not None
    assert (entry.state, entry.request_id, entry.request) == ("finished", ID, SUMMARY)
    assert entry.result == {**RESULT, "video_url": None}

    entry = ledger.renew(entry, "f2", "there")
    assert (entry.attempt, entry.fingerprint, entry.address) == (FIRST, "f1", "here")


def test_restoring_an_empty_ledger_leaves_nothing(store: LedgerStore) -> None:
    ledger = Ledger(store, FIRST)
    assert ledger.read() is None
    ledger.record_intent("f1", "here", SUMMARY)
    ledger.restore()
    assert ledger.read() is None
    ledger.restore()
    assert ledger.read() is None


def test_restoring_returns_the_replaced_entry(store: LedgerStore) -> None:
    submitted(store)
    held = store.read()
    ledger = Ledger(store, RETRY)
    ledger.read()
    for _ in range(2):
        ledger.record_intent("f2", "here", SUMMARY)
        assert store.read() != held
        ledger.restore()
        assert store.read() == held


def test_slower_process_does_not_submit(store: LedgerStore) -> None:
    fast, slow = Ledger(store, FIRST), Ledger(store, RETRY)
    assert (fast.read(), slow.read()) == (None, None)
    fast.record_intent("f1", "here", SUMMARY)
    with pytest.raises(LedgerError, match="Another process of this task instance is submitting"):
        slow.record_intent("f1", "here", SUMMARY)
    entry = Ledger(store, RETRY).read()
    assert entry is not None
    assert entry.attempt == FIRST


def test_slower_process_keeps_the_earlier_entry(store: LedgerStore) -> None:
    submitted(store)
    fast, slow = Ledger(store, RETRY), Ledger(store, RETRY)
    assert fast.read() == slow.read()
    fast.record_intent("f2", "here", SUMMARY)
    with pytest.raises(LedgerError, match="Another process"):
        slow.record_intent("f2", "here", SUMMARY)


def test_result_of_another_generation_changes_nothing(store: LedgerStore) -> None:
    ledger = submitted(store)
    ledger.record_result("another", RESULT)
    entry = ledger.read()
    assert entry is not None
    assert entry.state == "submitted"


def test_entry_holds_no_key_no_signature_and_no_image(store: LedgerStore) -> None:
    ledger = Ledger(store, FIRST)
    request = VideoRequest(
        prompt="a private matter",
        image="data:image/png;base64,iVBORw0KGgo=",
        upload_url="https://b.example.com/v.mp4?X-Amz-Signature=c2lnbmVk",
    )
    summary = RequestSummary.of(request, "grok-imagine-video")
    ledger.record_intent(fingerprint_request(request), "here", summary)
    ledger.record_submitted(fingerprint_request(request), "here", summary, ID)
    ledger.record_result(ID, {**RESULT, "video_url": "https://v.example.com/x.mp4?signature=c2lnbmVk"})
    stored = json.dumps(store.read())
    assert [word for word in ("iVBORw", "c2lnbmVk", "private", "sk-") if word in stored] == []
    assert len(stored) < 1500


@pytest.mark.parametrize("content", [[], "submitted", 5], ids=["list", "text", "number"])
def test_non_object_entry_is_an_error(store: LedgerStore, content: Any) -> None:
    store.write(content)
    with pytest.raises(LedgerEntryError, match="not an object"):
        Ledger(store, FIRST).read()


def test_entry_of_a_newer_release_submits_nothing(store: LedgerStore) -> None:
    submitted(store)
    newer = {**(store.read() or {}), "priority": 1}
    store.write(newer)
    words = "newer release .* unknown fields priority. Nothing was submitted. Install that release on this worker"
    with pytest.raises(LedgerEntryError, match=words):
        Ledger(store, RETRY).read()
    assert store.read() == newer


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"state": "intent"', b"\xff\xfe", b"<html>", b"[" * 10_000],
    ids=["empty", "cut", "cut-later", "binary", "html", "deep"],
)
def test_invalid_json_is_an_error(file: FileStore, content: bytes) -> None:
    file.write({})
    file._path.fs.pipe_file(file._path.path, content)
    with pytest.raises(LedgerError, match=r"it is not JSON|cannot be read"):
        Ledger(file, FIRST).read()


class Broken(MemoryFileSystem):
    """A store that fails in one chosen way."""

    cachable = False

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def fail(self, *_: Any, **__: Any) -> Any:
        """Fail."""
        raise self.error

    cat_file = rm = rm_file = mv = mv_file = pipe_file = cp_file = open = fail


STORE_ERRORS = [
    pytest.param(PermissionError(13, "Permission denied"), id="permission"),
    pytest.param(TimeoutError("timed out"), id="timeout"),
    pytest.param(RuntimeError("a client's own error"), id="not-an-os-error"),
]


@pytest.mark.parametrize("error", STORE_ERRORS)
def test_failing_store_is_a_ledger_error(error: Exception, attached: Attached) -> None:
    ledger = Ledger(FileStore(ObjectStoragePath(f"{attached(Broken(error))}bucket/entry.json")), FIRST)
    for act in (ledger.read, lambda: ledger.record_intent("f1", "here", SUMMARY), ledger.restore):
        with pytest.raises(LedgerError, match=r"cannot be (read|written)") as caught:
            act()
        assert caught.value.retryable


@pytest.mark.parametrize("error", STORE_ERRORS)
def test_unstored_id_is_logged_and_the_task_continues(
    error: Exception, attached: Attached, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(FileStore(ObjectStoragePath(f"{attached(Broken(error))}bucket/entry.json")), FIRST)
    with caplog.at_level(logging.ERROR):
        ledger.record_submitted("f1", "here", SUMMARY, ID)
        ledger.record_result(ID, RESULT)
    assert [record for record in caplog.records if ID not in record.getMessage()] == []
    assert len(caplog.records) == 2


# --- which ledger -------------------------------------------------------------------------------------


def context(store: Store | None = None, **ti: Any) -> Any:
    """Return what of a task's context the ledger reads."""
    names = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1, **ti}
    given_context: dict[str, Any] = {"dag_run": SimpleNamespace(), "ti": SimpleNamespace(**names)}
    return given_context | ({"task_state_store": store} if store else {})


def test_name_is_the_same_in_every_release() -> None:
    """A changed name would not find what is paid for, and pay again."""
    assert file_name(context()) == "grokvideo-ba99fc46b3f8f5ca66a2048934dba7c074256f75.json"


def test_name_is_the_same_at_every_try() -> None:
    assert file_name(context(try_number=1)) == file_name(context(try_number=7))


def test_each_task_instance_has_its_own_name() -> None:
    others = [
        {},
        {"dag_id": "d2"},
        {"run_id": "r2"},
        {"task_id": "t2"},
        {"map_index": 0},
        {"map_index": 1},
        {"dag_id": "d\0r", "run_id": "t"},
    ]
    names = [file_name(context(**other)) for other in others]
    assert len(set(names)) == len(others)
    assert all(name.startswith("grokvideo-") and name.endswith(".json") for name in names)


def test_name_is_safe_on_every_store() -> None:
    name = file_name(context(run_id="scheduled__2026-11-24T00:00:00+00:00/../x", task_id="group.täsk"))
    assert name.isascii()
    assert "/" not in name
    assert ":" not in name


def test_state_store_is_preferred(tmp_path: Path) -> None:
    store = Store()
    open_ledger(context(store), [f"file://{tmp_path}"]).record_intent("f1", "here", SUMMARY)
    assert list(tmp_path.iterdir()) == []
    assert json.loads(store.held["grokvideo"])["fingerprint"] == "f1"


@pytest.mark.parametrize("slash", ["", "/"])
def test_directory_is_used_without_a_state_store(slash: str, tmp_path: Path) -> None:
    open_ledger(context(max_tries=3), [f"file://{tmp_path}{slash}"]).record_intent("f1", "here", SUMMARY)
    entry = open_ledger(context(try_number=2, max_tries=3), [f"file://{tmp_path}"]).read()
    assert entry is not None
    assert entry.attempt is not None
    assert (entry.fingerprint, entry.attempt.max_tries) == ("f1", 3)
    assert [path.name for path in tmp_path.iterdir()] == [file_name(context())]


@pytest.mark.parametrize("upgraded", [True, False], ids=["to-the-state-store", "to-another-directory"])
def test_entry_of_an_earlier_attempt_is_found(upgraded: bool, tmp_path: Path) -> None:
    """After an upgrade of Airflow, or with a ledger_path that was set since."""
    before, now = f"file://{tmp_path}/before", f"file://{tmp_path}/now"
    submitted(open_ledger(context(), [before]).store)
    directories = [before] if upgraded else [now, before]

    ledger = open_ledger(context(Store() if upgraded else None, try_number=2), directories)
    entry = ledger.read()
    assert entry is not None
    assert entry.request_id == ID

    ledger.record_intent("f2", "here", SUMMARY)
    ledger.restore()
    entry = ledger.read()
    assert entry is not None
    assert entry.request_id == ID


def test_first_attempt_reads_one_store(tmp_path: Path) -> None:
    before = f"file://{tmp_path}/before"
    submitted(open_ledger(context(), [before]).store)
    assert open_ledger(context(Store()), [before]).read() is None


def test_task_without_a_store_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ledger = open_ledger(context(), [])
    assert "a retry of this task could pay again" in caplog.text
    ledger.record_intent("f1", "here", SUMMARY)
    ledger.record_submitted("f1", "here", SUMMARY, ID)
    ledger.record_result(ID, RESULT)
    ledger.restore()
    assert ledger.read() is None


def test_unknown_scheme_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match="nonsense://"):
        open_ledger(context(), ["nonsense://bucket/ledger"]).read()
