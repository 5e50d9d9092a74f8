"""Decisions of the ledger, row by row."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.generation import NO_VIDEO_URL, Generation, State
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
from tests.support.ledger_entries import (
    AT,
    CLEARED,
    CREATED_AGAIN,
    ELSEWHERE,
    FINISHED,
    FIRST,
    HERE,
    ID,
    INTENT,
    INTENT_OF_0_1_0,
    OF_0_1_0,
    OTHER_TASK_CLEARED,
    RESULT,
    RETRY,
    SUBMITTED,
)

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
def test_id_of_another_api_is_left_alone(now: Attempt) -> None:
    decided = next_step(SUBMITTED, now=now, fingerprint="f1", address=ELSEWHERE, on_unknown="fail")
    assert decided == Submit(f"the earlier generation {ID} was submitted to another API address and is left alone")


def test_result_does_not_depend_on_the_address() -> None:
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
def test_retry_does_not_submit_a_finished_generation_again(found: Generation | None) -> None:
    resume = Resume(FINISHED)
    assert next_step_after_poll(resume, found, OLD) == resume


@pytest.mark.parametrize(
    ("result", "kept"),
    [(RESULT, "saved at file:///v.mp4, stays"), ({**RESULT, "path": None}, f"{ID} stays"), (None, f"{ID} stays")],
    ids=["saved", "not-saved", "no-result"],
)
def test_clear_of_a_success_says_what_stays(result: dict[str, Any] | None, kept: str) -> None:
    entry = replace(FINISHED, result=result)
    decided = next_step(entry, now=CLEARED, fingerprint="f1", address=HERE, on_unknown="fail")
    assert isinstance(decided, Submit)
    assert (decided.warning or "").endswith(kept)


@pytest.mark.parametrize(("seconds", "submits"), [(NOT_FOUND_GRACE, False), (NOT_FOUND_GRACE + 0.001, True)])
def test_unknown_id_is_forgotten_after_the_grace(seconds: float, submits: bool) -> None:
    decided = next_step_after_poll(Resume(SUBMITTED, cleared=True), None, AT + seconds)
    assert isinstance(decided, Submit) == submits


# --- clears and runs ----------------------------------------------------------------------------------


def test_clear_counts_once() -> None:
    """A clear that was obeyed is no reason for the next automatic retry to submit."""
    mine = renewed(SUBMITTED, CLEARED, "f1", HERE)
    retry = replace(CLEARED, try_number=3)
    assert next_step(mine, now=retry, fingerprint="f2", address=HERE, on_unknown="fail") == Resume(mine, changed=True)
    assert mine.was_cleared(replace(CLEARED, try_number=4, max_tries=5))


@pytest.mark.parametrize(
    ("entry", "now", "cleared"),
    [
        (SUBMITTED, CLEARED, True),
        (SUBMITTED, RETRY, False),
        (SUBMITTED, replace(CLEARED, try_number=1), False),
        (OF_0_1_0, replace(CLEARED, clear_number=1), True),
        (OF_0_1_0, CLEARED, False),
        (replace(OF_0_1_0, clear_number=1), replace(CLEARED, clear_number=1), False),
        (replace(OF_0_1_0, clear_number=1), replace(CLEARED, clear_number=2), True),
    ],
    ids=["clear", "retry", "same-attempt", "old", "old-only-tries", "old-same-count", "old-next-count"],
)
def test_clear_is_recognised(entry: LedgerEntry, now: Attempt, cleared: bool) -> None:
    assert entry.was_cleared(now) == cleared


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
def test_earlier_run_with_the_same_id_is_recognised(earlier: Attempt, now: Attempt, another: bool) -> None:
    assert now.is_of_another_run(earlier) is another


def test_attempt_is_read_from_the_context() -> None:
    moment = datetime(2026, 11, 24, 1, tzinfo=UTC)
    context: Any = {
        "ti": SimpleNamespace(try_number=3, max_tries=4, task=SimpleNamespace(retries=2)),
        "dag_run": SimpleNamespace(id=7, run_after=moment, start_date=moment + timedelta(hours=1), clear_number=2),
    }
    expected = Attempt(3, 4, 7, "2026-11-24T01:00:00+00:00", "2026-11-24T02:00:00+00:00", 2, 2)
    assert Attempt.of(context) == expected
    assert Attempt.of({"ti": SimpleNamespace(), "dag_run": SimpleNamespace()}) == Attempt()  # type: ignore[typeddict-item]


def test_attempt_reads_retries_from_the_task_of_the_context() -> None:
    context: Any = {
        "ti": SimpleNamespace(try_number=1),
        "task": SimpleNamespace(retries=5),
        "dag_run": SimpleNamespace(),
    }
    assert Attempt.of(context).retries == 5


def test_attempt_ignores_a_run_number_that_is_no_number() -> None:
    context: Any = {"ti": SimpleNamespace(), "dag_run": SimpleNamespace(id="seven")}
    assert Attempt.of(context).run_number is None


def test_attempt_stores_times_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        moment = datetime(2026, 11, 24, 9, tzinfo=timezone(timedelta(hours=9)))
        context: Any = {"ti": SimpleNamespace(), "dag_run": SimpleNamespace(run_after=moment)}
        assert Attempt.of(context).run_after == "2026-11-24T00:00:00+00:00"
    finally:
        monkeypatch.undo()
        time.tzset()
