"""Decisions of the ledger, row by row."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.api.generation import NO_VIDEO_URL, Generation, State
from airflow_provider_grokvideo.api.summary import RequestSummary
from airflow_provider_grokvideo.exceptions import LedgerEntryError
from airflow_provider_grokvideo.ledger import (
    NOT_FOUND_GRACE,
    Attempt,
    FailUnknown,
    LedgerEntry,
    OnUnknownSubmission,
    Resume,
    ReturnResult,
    Step,
    Submit,
    next_step,
    next_step_after_poll,
    renewed,
)

ID = "a3d1008e-4544-40d4-d075-11527e794e4a"
AT = 1_790_000_000.0
HERE, ELSEWHERE = "here", "elsewhere"
RESULT = {"request_id": ID, "status": "done", "path": "file:///v.mp4"}
SUMMARY = RequestSummary("grok-imagine-video", inputs=("https://host/a.png",))
FIRST = Attempt(try_number=1, max_tries=2, run_after="2026-11-24T00:00:00+00:00", run_started="s1", retries=2)
RETRY = replace(FIRST, try_number=2)
OTHER_TASK_CLEARED = replace(RETRY, clear_number=1)
CLEARED = replace(FIRST, try_number=2, max_tries=3)
CREATED_AGAIN = replace(FIRST, run_started="s2")

INTENT = LedgerEntry("intent", AT, FIRST, "f1", HERE, SUMMARY, owner="o")
SUBMITTED = LedgerEntry("submitted", AT, FIRST, "f1", HERE, SUMMARY, ID)
FINISHED = LedgerEntry("finished", AT, FIRST, "f1", HERE, SUMMARY, ID, RESULT)
OF_0_1_0 = LedgerEntry("submitted", AT, request_id=ID, clear_number=0)
INTENT_OF_0_1_0 = LedgerEntry("intent", AT, clear_number=0)

# (id, entry, attempt, fingerprint now, on_unknown, step; of a Submit, words of its warning)
STEPS: list[tuple[str, LedgerEntry | None, Attempt, str | None, OnUnknownSubmission, Step | str | None]] = [
    ("nothing-retry", None, RETRY, "f1", "fail", None),
    ("nothing-cleared", None, CLEARED, "f1", "fail", None),
    ("intent-retry", INTENT, RETRY, "f1", "fail", FailUnknown(AT)),
    ("intent-retry-changed", INTENT, RETRY, "f2", "fail", FailUnknown(AT)),
    ("intent-retry-another-task-cleared", INTENT, OTHER_TASK_CLEARED, "f1", "fail", FailUnknown(AT)),
    ("intent-retry-resubmit", INTENT, RETRY, "f1", "resubmit", "may have been accepted"),
    ("intent-cleared", INTENT, CLEARED, "f1", "fail", "may have been accepted"),
    ("intent-of-an-earlier-run", INTENT, CREATED_AGAIN, "f1", "fail", "earlier DAG run"),
    ("id-retry", SUBMITTED, RETRY, "f1", "fail", Resume(SUBMITTED)),
    ("id-retry-changed", SUBMITTED, RETRY, "f2", "fail", Resume(SUBMITTED, changed=True)),
    ("id-retry-request-cannot-be-made", SUBMITTED, RETRY, None, "fail", Resume(SUBMITTED)),
    ("id-retry-another-task-cleared", SUBMITTED, OTHER_TASK_CLEARED, "f2", "fail", Resume(SUBMITTED, changed=True)),
    ("id-retry-resubmit-is-for-unknown-only", SUBMITTED, RETRY, "f1", "resubmit", Resume(SUBMITTED)),
    ("id-cleared", SUBMITTED, CLEARED, "f1", "fail", Resume(SUBMITTED, cleared=True)),
    ("id-cleared-changed", SUBMITTED, CLEARED, "f2", "fail", ID),
    ("id-of-an-earlier-run", SUBMITTED, CREATED_AGAIN, "f1", "fail", "earlier DAG run"),
    ("finished-retry", FINISHED, RETRY, "f1", "fail", ReturnResult(FINISHED)),
    ("finished-retry-changed", FINISHED, RETRY, "f2", "fail", ReturnResult(FINISHED, changed=True)),
    ("finished-retry-another-task-cleared", FINISHED, OTHER_TASK_CLEARED, "f1", "fail", ReturnResult(FINISHED)),
    ("finished-cleared", FINISHED, CLEARED, "f1", "fail", "cleared after it had succeeded"),
    ("intent-of-a-successor", replace(INTENT, attempt=CLEARED), FIRST, "f1", "fail", FailUnknown(AT)),
    (
        "id-of-a-successor",
        replace(SUBMITTED, attempt=CLEARED),
        FIRST,
        "f2",
        "fail",
        Resume(replace(SUBMITTED, attempt=CLEARED), changed=True),
    ),
    ("finished-of-an-earlier-run", FINISHED, CREATED_AGAIN, "f1", "fail", "earlier DAG run"),
    ("0.1.0-retry", OF_0_1_0, RETRY, "f1", "fail", Resume(OF_0_1_0)),
    ("0.1.0-another-task-cleared", OF_0_1_0, OTHER_TASK_CLEARED, "f1", "fail", Resume(OF_0_1_0)),
    ("0.1.0-cleared", OF_0_1_0, replace(CLEARED, clear_number=1), "f1", "fail", Resume(OF_0_1_0, cleared=True)),
    ("0.1.0-intent-retry", INTENT_OF_0_1_0, RETRY, "f1", "fail", FailUnknown(AT)),
    ("0.1.0-intent-cleared", INTENT_OF_0_1_0, replace(CLEARED, clear_number=1), "f1", "fail", "may have been accepted"),
]


@pytest.mark.parametrize(
    ("entry", "now", "fingerprint", "on_unknown", "step"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS]
)
def test_next_step(
    entry: LedgerEntry | None,
    now: Attempt,
    fingerprint: str | None,
    on_unknown: OnUnknownSubmission,
    step: Step | str | None,
) -> None:
    decided = next_step(entry, now=now, fingerprint=fingerprint, address=HERE, on_unknown=on_unknown)
    if isinstance(step, str):
        assert isinstance(decided, Submit)
        assert step in (decided.warning or "")
    else:
        assert decided == (step or Submit())


@pytest.mark.parametrize("now", [RETRY, CLEARED])
def test_an_id_of_another_api_is_left_alone(now: Attempt) -> None:
    decided = next_step(SUBMITTED, now=now, fingerprint="f1", address=ELSEWHERE, on_unknown="fail")
    assert decided == Submit(f"the earlier generation {ID} was submitted to another API address and is left alone")


def test_a_result_does_not_depend_on_the_address() -> None:
    decided = next_step(FINISHED, now=RETRY, fingerprint="f1", address=ELSEWHERE, on_unknown="fail")
    assert decided == ReturnResult(FINISHED)


@given(
    entry=st.sampled_from([INTENT, SUBMITTED, FINISHED, OF_0_1_0, INTENT_OF_0_1_0]),
    fingerprint=st.sampled_from(["f1", "f2", None]),
    clear_number=st.integers(0, 3),
    try_number=st.integers(2, 9),
    run_started=st.sampled_from(["s1", "s2"]),
)
def test_automatic_retry_never_pays_twice(
    entry: LedgerEntry, fingerprint: str | None, clear_number: int, try_number: int, run_started: str
) -> None:
    now = replace(FIRST, try_number=try_number, clear_number=clear_number, run_started=run_started)
    decided = next_step(entry, now=now, fingerprint=fingerprint, address=HERE, on_unknown="fail")
    assert not isinstance(decided, Submit)


# --- after a poll -------------------------------------------------------------------------------------


def said(state: State, code: str = "", message: str = "") -> Generation:
    """Return what the API says of the generation now."""
    url = "https://v/x.mp4" if state == "done" else None
    return Generation(ID, state, video_url=url, error_code=code, error_message=message)


OLD, FRESH = AT + NOT_FOUND_GRACE + 1, AT + 10

# (id, cleared, what the API says, now, words of the warning where a new one is submitted)
POLLS: list[tuple[str, bool, Generation | None, float, str | None]] = [
    ("running-retry", False, said("pending"), FRESH, None),
    ("running-cleared", True, said("pending"), FRESH, None),
    ("done-retry", False, said("done"), FRESH, None),
    ("done-cleared", True, said("done"), FRESH, None),
    ("failed-retry", False, said("failed", message="oh."), FRESH, "has failed: oh"),
    ("failed-passing-code-retry", False, said("failed", "internal_error"), FRESH, "has failed: no reason given"),
    ("failed-unavailable-retry", False, said("failed", "service_unavailable"), FRESH, "has failed"),
    ("failed-final-code-retry", False, said("failed", "invalid_argument"), FRESH, None),
    ("failed-precondition-retry", False, said("failed", "FAILED_PRECONDITION"), FRESH, None),
    ("failed-permission-retry", False, said("failed", "permission-denied"), FRESH, None),
    ("failed-final-code-cleared", True, said("failed", "invalid_argument", "bad"), FRESH, "has failed: bad"),
    ("failed-cleared", True, said("failed"), FRESH, "has failed: no reason given"),
    ("expired-retry", False, said("expired"), FRESH, "has expired"),
    ("expired-cleared", True, said("expired"), FRESH, "has expired"),
    ("moderated-retry", False, said("moderated"), FRESH, None),
    ("moderated-cleared", True, said("moderated"), FRESH, "content moderation"),
    ("done-without-video-retry", False, said("failed", NO_VIDEO_URL), FRESH, None),
    ("done-without-video-cleared", True, said("failed", NO_VIDEO_URL), FRESH, "has no video"),
    ("not-known-yet-retry", False, None, FRESH, None),
    ("not-known-yet-cleared", True, None, FRESH, None),
    ("not-found-retry", False, None, OLD, None),
    ("not-found-cleared", True, None, OLD, "not known to the API any more"),
]


@pytest.mark.parametrize(
    ("cleared", "found", "now", "warning"), [case[1:] for case in POLLS], ids=[case[0] for case in POLLS]
)
def test_next_step_after_poll(cleared: bool, found: Generation | None, now: float, warning: str | None) -> None:
    resume = Resume(SUBMITTED, cleared)
    decided = next_step_after_poll(resume, found, now)
    if warning is None:
        assert decided == resume
    else:
        assert isinstance(decided, Submit)
        assert warning in (decided.warning or "")
        assert ID in (decided.warning or "")
        assert ".." not in (decided.warning or "")


@pytest.mark.parametrize("found", [None, *(said(state) for state in ("pending", "done", "failed", "expired"))])
def test_a_finished_generation_is_not_submitted_again_by_a_retry(found: Generation | None) -> None:
    resume = Resume(FINISHED)
    assert next_step_after_poll(resume, found, OLD) == resume


# --- clears and runs ----------------------------------------------------------------------------------


def test_a_clear_counts_once() -> None:
    """A clear that was obeyed is no reason for the next automatic retry to submit."""
    mine = renewed(SUBMITTED, CLEARED, "f1", HERE)
    retry = replace(CLEARED, try_number=3)
    assert next_step(mine, now=retry, fingerprint="f2", address=HERE, on_unknown="fail") == Resume(mine, changed=True)
    assert mine.was_cleared(replace(CLEARED, try_number=4, max_tries=5))


def test_entry_of_0_1_0_is_completed() -> None:
    mine = renewed(OF_0_1_0, RETRY, "f1", HERE)
    assert (mine.attempt, mine.fingerprint, mine.address) == (RETRY, "f1", HERE)
    assert renewed(SUBMITTED, RETRY, "f2", ELSEWHERE) == replace(SUBMITTED, attempt=RETRY)


RUNS: list[tuple[str, Attempt, Attempt, bool]] = [
    ("the-same-attempt", FIRST, FIRST, False),
    ("a-retry", FIRST, RETRY, False),
    ("a-retry-after-the-run-was-set-running-again", FIRST, replace(RETRY, run_started="s2"), False),
    ("created-again", FIRST, CREATED_AGAIN, True),
    ("created-again-at-another-time", FIRST, replace(RETRY, run_after="2026-11-25T00:00:00+00:00"), True),
    ("created-again-with-fewer-tries", RETRY, replace(FIRST, run_started="s2"), True),
    ("a-process-that-was-taken-for-dead", RETRY, FIRST, False),
    ("another-number-in-the-database", replace(FIRST, run_number=1), replace(RETRY, run_number=2), True),
    ("the-same-number-in-the-database", replace(FIRST, run_number=1), replace(RETRY, run_number=1), False),
    ("upgraded-from-airflow-2", replace(FIRST, run_number=1, run_after=None), RETRY, False),
    ("nothing-known", Attempt(), Attempt(), False),
]


@pytest.mark.parametrize(("earlier", "now", "another"), [case[1:] for case in RUNS], ids=[case[0] for case in RUNS])
def test_an_earlier_run_with_the_same_id(earlier: Attempt, now: Attempt, another: bool) -> None:
    assert now.is_of_another_run(earlier) is another


def test_an_attempt_is_read_from_the_context() -> None:
    moment = datetime(2026, 11, 24, 1, tzinfo=UTC)
    context: Any = {
        "ti": SimpleNamespace(try_number=3, max_tries=4, task=SimpleNamespace(retries=2)),
        "dag_run": SimpleNamespace(id=7, run_after=moment, start_date=moment + timedelta(hours=1), clear_number=2),
    }
    expected = Attempt(3, 4, 7, "2026-11-24T01:00:00+00:00", "2026-11-24T02:00:00+00:00", 2, 2)
    assert Attempt.of(context) == expected
    assert Attempt.of({"ti": SimpleNamespace(), "dag_run": SimpleNamespace()}) == Attempt()  # type: ignore[typeddict-item]


# --- the stored form ----------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [INTENT, SUBMITTED, FINISHED], ids=lambda entry: entry.state)
def test_an_entry_survives_being_stored(entry: LedgerEntry) -> None:
    assert LedgerEntry.from_json(json.loads(json.dumps(entry.to_json()))) == entry


FIXTURES = Path(__file__).parents[1] / "fixtures" / "ledger_entries"


@pytest.mark.parametrize("state", ["intent", "submitted", "finished"])
def test_this_release_writes_what_its_fixture_holds(state: str) -> None:
    """A changed form would not be read by the other release on the workers. Make a new fixture with a new release."""
    stored = json.loads((FIXTURES / f"{__version__}.json").read_text())[state]
    assert LedgerEntry.from_json(stored).to_json() == stored


def _stored(**changes: Any) -> dict[str, Any]:
    return {**SUBMITTED.to_json(), **changes}


def _stored_by_0_1_0(**changes: Any) -> dict[str, Any]:
    return {"state": "submitted", "fingerprint": "f", "clear_number": 0, "at": 1.0, "request_id": "x", **changes}


NOT_ENTRIES: list[tuple[str, dict[str, Any], str]] = [
    ("empty-object", {}, "no fingerprint"),
    ("foreign-object", {"batch_id": "b1"}, "newer release.*batch_id"),
    ("newer-version", _stored(version=3), "newer release"),
    ("newer-field", _stored(priority=1), "newer release.*unknown fields priority"),
    ("newer-field-of-the-attempt", _stored(attempt={**asdict(FIRST), "new": 1}), "attempt"),
    ("newer-field-without-version", _stored_by_0_1_0(new=1), "newer release.*new"),
    ("version-a-text", _stored(version="2"), "version"),
    ("unknown-state", _stored(state="landed"), "landed"),
    ("state-a-list", _stored(state=[]), "state"),
    ("submitted-without-id", _stored(request_id=None), "request_id"),
    ("submitted-with-number", _stored(request_id=5), "request_id"),
    ("submitted-with-blank", _stored(request_id=" "), "request_id"),
    ("intent-with-id", _stored(state="intent"), "request_id"),
    ("time-missing", _stored(submitted_at=None), "time"),
    ("time-nan", _stored(submitted_at=float("nan")), "time"),
    ("time-infinite", _stored(submitted_at=float("inf")), "time"),
    ("time-of-no-calendar", _stored(submitted_at=1e300), "time"),
    ("time-negative", _stored(submitted_at=-1.0), "time"),
    ("fingerprint-a-number", _stored(fingerprint=5), "fingerprint"),
    ("attempt-a-text", _stored(attempt="first"), "attempt"),
    ("attempt-with-text", _stored(attempt={**asdict(FIRST), "max_tries": "2"}), "max_tries"),
    ("attempt-with-number", _stored(attempt={**asdict(FIRST), "run_after": 3}), "run_after"),
    ("result-a-text", _stored(state="finished", result="y"), "result"),
    ("result-empty", _stored(state="finished", result={}), "result"),
    ("result-of-another", _stored(state="finished", result={"request_id": "other"}), "result"),
    ("0.1.0-unknown-state", _stored_by_0_1_0(state="landed"), "landed"),
    ("0.1.0-clear-number-a-text", _stored_by_0_1_0(clear_number="0"), "clear_number"),
    ("0.1.0-time-missing", _stored_by_0_1_0(at=None), "time"),
    ("0.1.0-time-nan", _stored_by_0_1_0(at=float("nan")), "time"),
    ("0.1.0-fingerprint-a-number", _stored_by_0_1_0(fingerprint=5), "fingerprint"),
    ("0.1.0-result-empty", _stored_by_0_1_0(state="finished", result={}), "result"),
]


@pytest.mark.parametrize(("stored", "words"), [case[1:] for case in NOT_ENTRIES], ids=[case[0] for case in NOT_ENTRIES])
def test_invalid_entry_is_refused(stored: dict[str, Any], words: str) -> None:
    with pytest.raises(LedgerEntryError, match=words):
        LedgerEntry.from_json(stored)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(
    base=st.sampled_from([INTENT.to_json(), FINISHED.to_json(), _stored_by_0_1_0()]),
    changes=st.dictionaries(
        st.sampled_from([*FINISHED.to_json(), *_stored_by_0_1_0(), "other"]), json_values, max_size=3
    ),
)
def test_damaged_entry_is_a_ledger_error(base: dict[str, Any], changes: dict[str, Any]) -> None:
    try:
        entry = LedgerEntry.from_json({**base, **changes})
    except LedgerEntryError:
        return
    assert next_step(entry, now=RETRY, fingerprint="f1", address=HERE, on_unknown="fail") is not None
