"""The stored form of the ledger's entries: what is read, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.exceptions import LedgerEntryError
from airflow_provider_grokvideo.ledger import LedgerEntry, next_step
from tests.support.ledger_entries import FINISHED, FIRST, HERE, INTENT, RETRY, SUBMITTED


@pytest.mark.parametrize("entry", [INTENT, SUBMITTED, FINISHED], ids=lambda entry: entry.state)
def test_stored_entry_is_read_back_unchanged(entry: LedgerEntry) -> None:
    assert LedgerEntry.from_json(json.loads(json.dumps(entry.to_json()))) == entry


FIXTURES = Path(__file__).parents[1] / "fixtures" / "ledger_entries"


@pytest.mark.parametrize("state", ["intent", "submitted", "finished"])
def test_release_writes_what_its_fixture_contains(state: str) -> None:
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
    ("unknown-state", _stored(state="stored"), "stored"),
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
    ("0.1.0-unknown-state", _stored_by_0_1_0(state="stored"), "stored"),
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


@pytest.mark.parametrize("version", [0, -1, True, "2", None, 1.0])
def test_invalid_version_is_refused(version: object) -> None:
    with pytest.raises(LedgerEntryError, match="version"):
        LedgerEntry.from_json(_stored(version=version))


def test_entry_without_an_attempt_is_read() -> None:
    stored = _stored()
    del stored["attempt"]
    assert LedgerEntry.from_json(stored).attempt is None


def test_entry_of_0_1_0_keeps_its_clear_number() -> None:
    assert LedgerEntry.from_json(_stored_by_0_1_0(clear_number=4)).clear_number == 4


@pytest.mark.parametrize(("submitted_at", "valid"), [(0, True), (0.5, True), (99_999_999_999, True), (1e11, False)])
def test_time_of_submission_is_within_the_calendar(submitted_at: float, valid: bool) -> None:
    entry = replace(SUBMITTED, submitted_at=submitted_at)
    if valid:
        entry.check()
    else:
        with pytest.raises(LedgerEntryError, match="time of submission"):
            entry.check()
