"""What a task does with what its ledger holds, row by row, and where the ledger is kept."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.generation import NO_VIDEO_URL, Generation, State
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.ledger import (
    FORGOTTEN_AFTER,
    Entry,
    FileHome,
    Home,
    Ledger,
    LedgerError,
    OnUnknownSubmission,
    Resume,
    Return,
    StateStoreHome,
    Submit,
    Unknown,
    decide,
    decide_resumed,
    file_name,
    open_ledger,
)

ID = "a3d1008e-4544-40d4-d075-11527e794e4a"
AT = 1_790_000_000.0
RESULT = {"request_id": ID, "status": "done", "path": "file:///v.mp4"}
INTENT = Entry("intent", "f1", 0, AT)
SUBMITTED = Entry("submitted", "f1", 0, AT, ID)
FINISHED = Entry("finished", "f1", 0, AT, ID, RESULT)


# --- the tables of the design -------------------------------------------------------------------------

Verdict = Submit | Resume | Return | Unknown

# (id, entry, fingerprint now, cleared, on_unknown, verdict; of a Submit, a word of its warning)
DECISIONS: list[tuple[str, Entry | None, str, bool, OnUnknownSubmission, Verdict | str | None]] = [
    ("nothing-retry", None, "f1", False, "fail", None),
    ("nothing-cleared", None, "f1", True, "fail", None),
    ("nothing-resubmit", None, "f1", False, "resubmit", None),
    ("intent-retry-fail", INTENT, "f1", False, "fail", Unknown(AT)),
    ("intent-retry-resubmit", INTENT, "f1", False, "resubmit", "may have been accepted"),
    ("intent-cleared-fail", INTENT, "f1", True, "fail", "may have been accepted"),
    ("intent-cleared-resubmit", INTENT, "f1", True, "resubmit", "may have been accepted"),
    ("intent-of-another-request-retry", INTENT, "f2", False, "fail", Unknown(AT)),
    ("id-retry", SUBMITTED, "f1", False, "fail", Resume(ID, AT, cleared=False)),
    ("id-cleared", SUBMITTED, "f1", True, "fail", Resume(ID, AT, cleared=True)),
    ("id-retry-resubmit-is-for-unknown-ones-only", SUBMITTED, "f1", False, "resubmit", Resume(ID, AT, cleared=False)),
    ("finished-retry", FINISHED, "f1", False, "fail", Return(RESULT)),
    ("finished-cleared", FINISHED, "f1", True, "fail", None),
    ("another-request-retry", SUBMITTED, "f2", False, "fail", ID),
    ("another-request-cleared", SUBMITTED, "f2", True, "fail", ID),
    ("another-request-finished", FINISHED, "f2", False, "fail", ID),
    (
        "finished-without-result",
        Entry("finished", "f1", 0, AT, ID),
        "f1",
        False,
        "fail",
        Resume(ID, AT, cleared=False),
    ),
]


@pytest.mark.parametrize(
    ("entry", "fingerprint", "cleared", "on_unknown", "verdict"),
    [case[1:] for case in DECISIONS],
    ids=[case[0] for case in DECISIONS],
)
def test_decision(
    entry: Entry | None,
    fingerprint: str,
    cleared: bool,
    on_unknown: OnUnknownSubmission,
    verdict: Verdict | str | None,
) -> None:
    decided = decide(entry, fingerprint=fingerprint, clear_number=1 if cleared else 0, on_unknown=on_unknown)
    if isinstance(verdict, str):
        assert isinstance(decided, Submit)
        assert verdict in (decided.warning or "")
    else:
        assert decided == (verdict or Submit())


def said(state: State, code: str = "", message: str = "") -> Generation:
    """Return what the API says of the generation now."""
    url = "https://v/x.mp4" if state == "done" else None
    return Generation(ID, state, video_url=url, error_code=code, error_message=message)


OLD, FRESH = AT + FORGOTTEN_AFTER + 1, AT + 10

# (id, cleared, what the API says, now, a word of the warning where a new one is submitted)
RESUMES: list[tuple[str, bool, Generation | None, float, str | None]] = [
    ("running-retry", False, said("pending"), FRESH, None),
    ("running-cleared", True, said("pending"), FRESH, None),
    ("done-retry", False, said("done"), FRESH, None),
    ("done-cleared", True, said("done"), FRESH, None),
    ("failed-retry", False, said("failed", message="oh"), FRESH, "has failed: oh"),
    ("failed-cleared", True, said("failed"), FRESH, "has failed: no reason given"),
    ("expired-retry", False, said("expired"), FRESH, "has expired"),
    ("expired-cleared", True, said("expired"), FRESH, "has expired"),
    ("moderated-retry", False, said("moderated"), FRESH, None),
    ("moderated-cleared", True, said("moderated"), FRESH, "content moderation"),
    ("done-without-video-retry", False, said("failed", NO_VIDEO_URL), FRESH, None),
    ("done-without-video-cleared", True, said("failed", NO_VIDEO_URL), FRESH, "has no video"),
    ("not-known-yet-retry", False, None, FRESH, None),
    ("not-known-yet-cleared", True, None, FRESH, None),
    ("forgotten-retry", False, None, OLD, None),
    ("forgotten-cleared", True, None, OLD, "not known to the API any more"),
]


@pytest.mark.parametrize(
    ("cleared", "found", "now", "warning"), [case[1:] for case in RESUMES], ids=[case[0] for case in RESUMES]
)
def test_resumed_generation(cleared: bool, found: Generation | None, now: float, warning: str | None) -> None:
    resume = Resume(ID, AT, cleared)
    decided = decide_resumed(resume, found, now)
    if warning is None:
        assert decided == resume
    else:
        assert isinstance(decided, Submit)
        assert warning in (decided.warning or "")
        assert ID in (decided.warning or "")


@given(
    state=st.sampled_from(["intent", "submitted", "finished"]),
    same=st.booleans(),
    clear_number=st.integers(0, 3),
    on_unknown=st.sampled_from(["fail", "resubmit"]),
)
def test_nothing_is_submitted_beside_a_generation_of_the_same_request_unless_cleared_or_told_to(
    state: Any, same: bool, clear_number: int, on_unknown: Any
) -> None:
    entry = Entry(state, "f1", 1, AT, None if state == "intent" else ID, RESULT if state == "finished" else None)
    decided = decide(entry, fingerprint="f1" if same else "f2", clear_number=clear_number, on_unknown=on_unknown)
    if isinstance(decided, Submit):
        cleared = clear_number > 1
        told_to = state == "intent" and (cleared or on_unknown == "resubmit")
        assert told_to or (state != "intent" and not same) or (state == "finished" and cleared)


# --- homes --------------------------------------------------------------------------------------------


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


def file_home(where: str, folder: Path, attached: Attached) -> FileHome:
    """Return a home in a directory that is not there yet."""
    bases = {"local": f"file://{folder}/", "memory": f"{attached(MemoryFileSystem())}{uuid.uuid4().hex}/"}
    return FileHome(ObjectStoragePath(f"{bases[where]}ledger/entry.json"))


@pytest.fixture(params=["local", "memory"])
def file(request: pytest.FixtureRequest, tmp_path: Path, attached: Attached) -> FileHome:
    """Return a home in a file."""
    return file_home(request.param, tmp_path, attached)


@pytest.fixture(params=["local", "memory", "state-store"])
def home(request: pytest.FixtureRequest, tmp_path: Path, attached: Attached) -> Home:
    """Return a home of either kind."""
    if request.param == "state-store":
        return StateStoreHome(Store())
    return file_home(request.param, tmp_path, attached)


def test_life_of_an_entry(home: Home) -> None:
    ledger = Ledger(home, clear_number=2)
    assert ledger.read() is None

    before = time.time()
    ledger.intend("f1")
    entry = ledger.read()
    assert entry is not None
    assert (entry.state, entry.fingerprint, entry.clear_number, entry.request_id) == ("intent", "f1", 2, None)
    assert before <= entry.at <= time.time()

    ledger.submitted("f1", ID)
    entry = Ledger(home, clear_number=5).read()
    assert entry is not None
    assert (entry.state, entry.clear_number, entry.request_id, entry.result) == ("submitted", 2, ID, None)

    ledger.finished(ID, {**RESULT, "video_url": "https://v/x.mp4?sig=1"})
    entry = ledger.read()
    assert entry is not None
    assert (entry.state, entry.request_id) == ("finished", ID)
    assert entry.result == {**RESULT, "video_url": None}


def test_withdrawn_intent_leaves_nothing(home: Home) -> None:
    ledger = Ledger(home, clear_number=0)
    ledger.intend("f1")
    ledger.withdraw()
    assert ledger.read() is None
    ledger.withdraw()
    assert ledger.read() is None


def test_result_of_another_generation_changes_nothing(home: Home) -> None:
    ledger = Ledger(home, clear_number=0)
    ledger.submitted("f1", ID)
    ledger.finished("another", RESULT)
    entry = ledger.read()
    assert entry is not None
    assert entry.state == "submitted"


def test_entry_holds_no_key_no_signature_and_no_image(home: Home) -> None:
    ledger = Ledger(home, clear_number=0)
    request = VideoRequest(
        prompt="a private matter",
        image="data:image/png;base64,c2VjcmV0",
        upload_url="https://b.example.com/v.mp4?X-Amz-Signature=c2lnbmVk",
    )
    ledger.intend(request.fingerprint("conn", "https://api.example.com"))
    ledger.submitted(request.fingerprint("conn", "https://api.example.com"), ID)
    ledger.finished(ID, {**RESULT, "video_url": "https://v.example.com/x.mp4?signature=c2lnbmVk"})
    stored = json.dumps(home.read())
    assert [word for word in ("c2VjcmV0", "c2lnbmVk", "private", "sk-") if word in stored] == []
    assert len(stored) < 1000


NOT_ENTRIES: list[tuple[str, Any]] = [
    ("list", []),
    ("text", "submitted"),
    ("number", 5),
    ("empty-object", {}),
    ("foreign-object", {"batch_id": "b1"}),
    ("more-than-an-entry", {"state": "intent", "fingerprint": "f", "clear_number": 0, "at": 1.0, "new": 1}),
    ("unknown-state", {"state": "landed", "fingerprint": "f", "clear_number": 0, "at": 1.0}),
    ("state-a-list", {"state": [], "fingerprint": "f", "clear_number": 0, "at": 1.0}),
    ("submitted-without-id", {"state": "submitted", "fingerprint": "f", "clear_number": 0, "at": 1.0}),
    (
        "submitted-with-number",
        {"state": "submitted", "fingerprint": "f", "clear_number": 0, "at": 1.0, "request_id": 5},
    ),
    ("intent-with-id", {"state": "intent", "fingerprint": "f", "clear_number": 0, "at": 1.0, "request_id": "x"}),
    ("clear-number-a-text", {"state": "intent", "fingerprint": "f", "clear_number": "0", "at": 1.0}),
    ("time-missing", {"state": "intent", "fingerprint": "f", "clear_number": 0, "at": None}),
    ("fingerprint-a-number", {"state": "intent", "fingerprint": 5, "clear_number": 0, "at": 1.0}),
    (
        "result-a-text",
        {"state": "finished", "fingerprint": "f", "clear_number": 0, "at": 1.0, "request_id": "x", "result": "y"},
    ),
]


@pytest.mark.parametrize("content", [case[1] for case in NOT_ENTRIES], ids=[case[0] for case in NOT_ENTRIES])
def test_what_is_no_entry_is_an_error_not_an_empty_ledger(home: Home, content: Any) -> None:
    home.write(content)
    with pytest.raises(LedgerError, match=r"not an object|does not hold an object|no entry"):
        Ledger(home, clear_number=0).read()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"state": "intent"', b"\xff\xfe", b"<html>", b"[" * 10_000],
    ids=["empty", "cut", "cut-later", "binary", "html", "deep"],
)
def test_file_that_is_no_json_is_an_error_not_an_empty_ledger(file: FileHome, content: bytes) -> None:
    file.write({})
    file._path.fs.pipe_file(file._path.path, content)
    with pytest.raises(LedgerError, match="cannot be read"):
        Ledger(file, clear_number=0).read()


class Broken(MemoryFileSystem):
    """A store that fails in one chosen way."""

    cachable = False

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def cat_file(self, *_: Any, **__: Any) -> bytes:
        """Fail."""
        raise self.error

    def rm(self, *_: Any, **__: Any) -> None:
        """Fail."""
        raise self.error

    def mv(self, *_: Any, **__: Any) -> None:
        """Fail."""
        raise self.error


STORE_ERRORS = [
    pytest.param(PermissionError(13, "Permission denied"), id="permission"),
    pytest.param(TimeoutError("timed out"), id="timeout"),
    pytest.param(RuntimeError("a client's own error"), id="not-an-os-error"),
]


@pytest.mark.parametrize("error", STORE_ERRORS)
def test_store_that_fails_is_an_error_of_the_ledger(error: Exception, attached: Attached) -> None:
    ledger = Ledger(FileHome(ObjectStoragePath(f"{attached(Broken(error))}bucket/entry.json")), clear_number=0)
    for act in (ledger.read, lambda: ledger.intend("f1"), ledger.withdraw):
        with pytest.raises(LedgerError, match=r"cannot be (read|written)"):
            act()


@pytest.mark.parametrize("error", STORE_ERRORS)
def test_id_that_cannot_be_stored_is_in_the_log_and_the_task_goes_on(
    error: Exception, attached: Attached, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(FileHome(ObjectStoragePath(f"{attached(Broken(error))}bucket/entry.json")), clear_number=0)
    with caplog.at_level(logging.ERROR):
        ledger.submitted("f1", ID)
        ledger.finished(ID, RESULT)
    assert [record for record in caplog.records if ID not in record.getMessage()] == []
    assert len(caplog.records) == 2


class Interrupted(MemoryFileSystem):
    """A store whose client dies between writing and renaming."""

    cachable = False

    def mv(self, *_: Any, **__: Any) -> None:
        """Die."""
        raise KeyboardInterrupt


def test_entry_is_replaced_at_once_or_not_at_all(attached: Attached) -> None:
    folder = f"ledger-{uuid.uuid4().hex}"
    home = FileHome(ObjectStoragePath(f"{attached(MemoryFileSystem())}{folder}/entry.json"))
    home.write({"old": 1})
    with pytest.raises(KeyboardInterrupt):
        FileHome(ObjectStoragePath(f"{attached(Interrupted())}{folder}/entry.json")).write({"new": 2})
    assert home.read() == {"old": 1}
    home.write({"new": 3})
    assert home.read() == {"new": 3}
    assert [Path(name).name for name in MemoryFileSystem().ls(folder, detail=False)] == ["entry.json"]


# --- which ledger -------------------------------------------------------------------------------------


def context(store: Store | None = None, **ti: Any) -> Any:
    """Return what of a task's context the ledger reads."""
    names = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1, **ti}
    given_context: dict[str, Any] = {
        "dag_run": SimpleNamespace(clear_number=ti.get("clear_number")),
        "ti": SimpleNamespace(**names),
    }
    return given_context | ({"task_state_store": store} if store else {})


def test_name_is_the_same_at_every_try() -> None:
    assert file_name(context(try_number=1)) == file_name(context(try_number=7))


def test_name_is_another_for_every_other_task_instance() -> None:
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
    ledger = open_ledger(context(store), f"file://{tmp_path}")
    ledger.intend("f1")
    assert list(tmp_path.iterdir()) == []
    assert json.loads(store.held["grokvideo"])["fingerprint"] == "f1"


@pytest.mark.parametrize("slash", ["", "/"])
def test_directory_is_used_without_a_state_store(slash: str, tmp_path: Path) -> None:
    open_ledger(context(clear_number=3), f"file://{tmp_path}{slash}").intend("f1")
    entry = open_ledger(context(try_number=2, clear_number=4), f"file://{tmp_path}").read()
    assert entry is not None
    assert (entry.fingerprint, entry.clear_number) == ("f1", 3)
    assert [path.name for path in tmp_path.iterdir()] == [file_name(context())]


def test_with_neither_the_task_runs_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ledger = open_ledger(context(), None)
    assert "a retry of this task could pay again" in caplog.text
    ledger.intend("f1")
    ledger.submitted("f1", ID)
    ledger.finished(ID, RESULT)
    ledger.withdraw()
    assert ledger.read() is None


def test_directory_with_unknown_scheme_is_a_mistake_that_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="ledger_path='nonsense://bucket/ledger'"):
        open_ledger(context(), "nonsense://bucket/ledger").read()


def test_entry_of_an_airflow_without_clear_number_counts_as_zero(tmp_path: Path) -> None:
    given_context = context()
    given_context["dag_run"] = SimpleNamespace()
    assert open_ledger(cast("Any", given_context), f"file://{tmp_path}").clear_number == 0
