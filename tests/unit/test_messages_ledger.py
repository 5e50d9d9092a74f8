"""Messages about the ledger: an entry that is none, a store that fails, a place that changes, another process."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_grokvideo.api.summary import RequestSummary
from airflow_provider_grokvideo.exceptions import InvalidRequestError, LedgerEntryError, LedgerError
from airflow_provider_grokvideo.ledger import Attempt, LedgerEntry
from airflow_provider_grokvideo.ledger_path import ledger_directories
from airflow_provider_grokvideo.ledger_stores import STORE_KEY, FileStore, Ledger, TaskStateStore

SUMMARY = RequestSummary("grok-imagine-video", "generation")
REMOVE = "Nothing was submitted. Remove it only if no earlier attempt has submitted."
UPGRADE = "Nothing was submitted. Install that release on this worker."
NEWER = "a newer release of airflow-provider-grokvideo wrote it"
ATTEMPT = {**asdict(Attempt()), "try_number": 1}


def stored(**changes: Any) -> dict[str, Any]:
    """Return a stored entry, changed."""
    entry = LedgerEntry("submitted", 1.0, Attempt(), "f", "here", SUMMARY, "4b2c")
    return {**entry.to_json(), **changes}


def stored_by_0_1_0(**changes: Any) -> dict[str, Any]:
    """Return an entry of release 0.1.0, changed."""
    return {"state": "submitted", "fingerprint": "f", "clear_number": 0, "at": 1.0, "request_id": "4b2c", **changes}


NOT_ENTRIES: list[tuple[Any, str]] = [
    ([], f"it holds a list, not an object. {REMOVE}"),
    ("submitted", f"it holds a str, not an object. {REMOVE}"),
    ({}, f"it has no fingerprint. {REMOVE}"),
    (stored(version="2"), f"its version is '2'. {REMOVE}"),
    (stored(version=3), f"{NEWER}. {UPGRADE}"),
    (stored(priority=1), f"{NEWER} with the unknown fields priority. {UPGRADE}"),
    (stored_by_0_1_0(new=1), f"{NEWER} with the unknown fields new. {UPGRADE}"),
    (stored(state="stored"), f"its state is 'stored'. {REMOVE}"),
    (stored(request_id=None), f"its state is 'submitted' and its request_id is None. {REMOVE}"),
    (stored(state="intent"), f"its state is 'intent' and its request_id is '4b2c'. {REMOVE}"),
    (stored(submitted_at="soon"), f"its time of submission is 'soon'. {REMOVE}"),
    (stored(fingerprint=5), f"its fingerprint is 5. {REMOVE}"),
    (stored(attempt="first"), f"its attempt is 'first'. {REMOVE}"),
    (stored(attempt={**ATTEMPT, "max_tries": "2"}), f"its attempt.max_tries is '2'. {REMOVE}"),
    (stored(attempt={**ATTEMPT, "run_number": "2"}), f"its attempt.run_number is '2'. {REMOVE}"),
    (stored(attempt={**ATTEMPT, "run_after": 3}), f"its attempt.run_after is 3. {REMOVE}"),
    (stored(state="finished", result={}), f"its result is not of its generation. {REMOVE}"),
    (stored_by_0_1_0(clear_number="0"), f"its clear_number is '0'. {REMOVE}"),
]


class Store:
    """A task state store that holds one value."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def get(self, key: str) -> Any:
        """Return the value."""
        assert key == STORE_KEY
        return self.value

    def set(self, key: str, value: Any) -> None:
        """Keep another value."""
        self.value = value


@pytest.mark.parametrize(("value", "reason"), NOT_ENTRIES, ids=[reason[:40] for _, reason in NOT_ENTRIES])
def test_content_that_is_no_entry_gets_its_message(value: Any, reason: str) -> None:
    with pytest.raises(LedgerEntryError) as caught:
        Ledger(TaskStateStore(Store(value)), Attempt()).read()
    assert str(caught.value) == f"The ledger in the task state store (key 'grokvideo') cannot be used: {reason}"


class Failing(MemoryFileSystem):
    """A store that fails in one chosen way."""

    cachable = False

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def fail(self, *_: Any, **__: Any) -> Any:
        """Fail."""
        raise self.error

    cat_file = rm_file = pipe_file = open = fail


class Path:
    """A path on a filesystem."""

    path = "/ledger/entry.json"

    def __init__(self, filesystem: Any) -> None:
        self.fs = filesystem

    def __str__(self) -> str:
        return "memory://ledger/entry.json"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied."),
        (TimeoutError("timed out"), "TimeoutError: timed out."),
        (RuntimeError("a client's own error."), "RuntimeError: a client's own error."),
    ],
    ids=["permission", "timeout", "own-error"],
)
def test_store_that_fails_gets_its_message(error: Exception, words: str) -> None:
    ledger = Ledger(FileStore(Path(Failing(error))), Attempt())  # type: ignore[arg-type]
    for act, what in ((ledger.read, "read"), (ledger.restore, "written")):
        with pytest.raises(LedgerError) as caught:
            act()
        assert str(caught.value) == (
            f"The ledger memory://ledger/entry.json cannot be {what}: {words} Nothing was submitted."
        )
        assert caught.value.retryable


def test_file_that_is_no_json_gets_its_message(tmp_path: Any) -> None:
    (tmp_path / "entry.json").write_text("<html>")
    with pytest.raises(LedgerEntryError) as caught:
        Ledger(FileStore(ObjectStoragePath(f"file://{tmp_path}/entry.json")), Attempt()).read()
    assert str(caught.value) == (
        f"The ledger file://{tmp_path}/entry.json cannot be used: it is not JSON (Expecting value: line 1 column 1 "
        f"(char 0)). {REMOVE}"
    )


def test_second_process_gets_its_message() -> None:
    store = TaskStateStore(Store(None))
    first, second = Ledger(store, Attempt()), Ledger(store, Attempt())
    first.read()
    second.read()
    first.record_intent("f", "here", SUMMARY)
    with pytest.raises(LedgerError) as caught:
        second.record_intent("f", "here", SUMMARY)
    assert str(caught.value) == (
        "Another process of this task instance is submitting: the ledger in the task state store (key 'grokvideo') has "
        "changed. This process submitted nothing. A retry resumes what the other one has submitted."
    )


def test_id_that_cannot_be_stored_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(FileStore(Path(Failing(OSError("x")))), Attempt())  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        ledger.record_submitted("f", "here", SUMMARY, "4b2c")
    assert [record.getMessage() for record in caplog.records] == [
        "The ledger could not be written. If this task dies, wait for generation 4b2c with a GrokVideoSensor"
    ]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (
            {"output_template": "{{ ti.try_number }}/"},
            "Not sent: output_path='{{ ti.try_number }}/' may differ between the attempts of a task, so that a retry "
            "would pay again. Set ledger_path to a directory that stays the same.",
        ),
        (
            {"configured": "file:///ledger/1/", "configured_template": "file:///ledger/{{ ti.try_number }}/"},
            "Not sent: ledger_path='file:///ledger/{{ ti.try_number }}/' may differ between the attempts of a task, so "
            "that a retry would pay again. Use a path without try numbers and times.",
        ),
    ],
    ids=["output_path", "ledger_path"],
)
def test_place_that_changes_gets_its_message(places: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "output_template": None,
        "output_conn_id": None,
        "configured": None,
        "configured_template": None,
        "required": True,
    }
    with pytest.raises(InvalidRequestError) as caught:
        ledger_directories("file:///videos/1/", **{**given, **places})
    assert str(caught.value) == message
