"""Decisions on what a task instance has paid for and what an attempt may do. No I/O.

The ledger prevents that a retry pays again: an intent is recorded before the paid POST, the ``request_id``
after it, the result at the end. There is one entry for a task instance, whatever its try number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

from airflow_provider_grokvideo.api.generation import NO_VIDEO_URL
from airflow_provider_grokvideo.api.summary import RequestSummary
from airflow_provider_grokvideo.exceptions import LedgerEntryError, is_final_failure

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.api.generation import Generation

OnUnknownSubmission = Literal["fail", "resubmit"]
State = Literal["intent", "submitted", "finished"]

NOT_FOUND_GRACE = 3600.0
"""Seconds after the submission in which the API may not know the id yet."""
VERSION = 2
"""Version of the stored form. Entries of release 0.1.0 have none."""


@dataclass(frozen=True)
class Attempt:
    """Identity of an attempt: it distinguishes attempts and clears of a task instance, and DAG runs with the same id.

    A clear sets ``max_tries`` to the try number plus the task's retries, in every version of Airflow, which no
    earlier clear has set. Nothing else changes it. The DAG run's ``clear_number`` cannot be used: from
    3.2 on it also counts clears of other tasks, before that it counts no clear in a running run.

    :param try_number: of this attempt.
    :param max_tries: of the task instance.
    :param run_number: the DAG run's number in the database, on Airflow 2.
    :param run_after: the DAG run's, ISO 8601, on Airflow 3.
    :param run_started: when the DAG run started, ISO 8601. It does not change during an attempt.
    :param retries: the task's.
    :param clear_number: the DAG run's; needed for entries of release 0.1.0.
    """

    try_number: int = 1
    max_tries: int = 0
    run_number: int | None = None
    run_after: str | None = None
    run_started: str | None = None
    retries: int = 0
    clear_number: int = 0

    @classmethod
    def of(cls, context: Context) -> Self:
        """Return the attempt of a running task."""
        ti, dag_run = context["ti"], context["dag_run"]
        task = getattr(ti, "task", None) or context.get("task")
        number = getattr(dag_run, "id", None)
        return cls(
            try_number=getattr(ti, "try_number", None) or 1,
            max_tries=getattr(ti, "max_tries", None) or 0,
            run_number=number if isinstance(number, int) else None,
            run_after=_iso(getattr(dag_run, "run_after", None)),
            run_started=_iso(getattr(dag_run, "start_date", None)),
            retries=getattr(task, "retries", None) or 0,
            clear_number=getattr(dag_run, "clear_number", None) or 0,
        )

    def is_of_another_run(self, earlier: Attempt) -> bool:
        """Return whether the DAG run of an earlier attempt was deleted, and this one has the same id.

        A lower try number alone is not enough: the attempt may be a process of the same run that Airflow has declared
        dead, and it must not submit in addition to its successor.
        """
        for name in ("run_number", "run_after"):
            before, now = getattr(earlier, name), getattr(self, name)
            if before is not None and now is not None and before != now:
                return True
        started_anew = None not in {self.run_started, earlier.run_started} and self.run_started != earlier.run_started
        return started_anew and self.try_number <= earlier.try_number


@dataclass(frozen=True)
class LedgerEntry:
    """Entry about the generation of a task instance.

    :param state: ``intent`` before the POST, ``submitted`` with the id, ``finished`` with the result.
    :param submitted_at: when the POST was sent, in seconds since the epoch.
    :param attempt: the attempt that wrote the entry; ``None`` in entries of release 0.1.0.
    :param fingerprint: of the request; ``None`` in entries of release 0.1.0.
    :param address: fingerprint of the API's address; ``None`` in entries of release 0.1.0.
    :param request: the request's summary.
    :param request_id: the generation, once it is known.
    :param result: the finished task's result, without the video's temporary URL.
    :param owner: identifies the process that wrote an intent.
    :param clear_number: the DAG run's, in entries of release 0.1.0.
    """

    state: State
    submitted_at: float
    attempt: Attempt | None = None
    fingerprint: str | None = None
    address: str | None = None
    request: RequestSummary | None = None
    request_id: str | None = None
    result: Mapping[str, Any] | None = None
    owner: str | None = None
    clear_number: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        stored = {
            "version": VERSION,
            "state": self.state,
            "submitted_at": self.submitted_at,
            "attempt": self.attempt and asdict(self.attempt),
            "fingerprint": self.fingerprint,
            "address": self.address,
            "request": self.request and self.request.to_json(),
            "request_id": self.request_id,
            "result": None if self.result is None else dict(self.result),
            "owner": self.owner,
        }
        return {name: value for name, value in stored.items() if value is not None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Parse the stored form of this release or of an earlier one.

        :raises LedgerEntryError: the entry is damaged, or of a newer release.
        """
        version = stored.get("version", 1)
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise LedgerEntryError(f"its version is {version!r}")
        known = _FIELDS_OF_0_1_0 if version == 1 else _FIELDS
        newer = sorted(str(name) for name in set(stored) - known)
        if version > VERSION or newer:
            fields = f" with the unknown fields {', '.join(newer)}" if newer else ""
            raise LedgerEntryError(f"a newer release of airflow-provider-grokvideo wrote it{fields}")
        entry = cls._read_0_1_0(stored) if version == 1 else cls._read(stored)
        entry.check()
        return entry

    @classmethod
    def _read(cls, stored: Mapping[str, Any]) -> Self:
        attempt = stored.get("attempt")
        try:
            made_by = Attempt(**attempt) if attempt is not None else None
        except TypeError as error:
            raise LedgerEntryError(f"its attempt is {attempt!r}") from error
        fields = {name: stored.get(name) for name in _FIELDS - {"version", "attempt", "request"}}
        return cls(**fields, attempt=made_by, request=RequestSummary.from_json(stored.get("request")))  # type: ignore[arg-type]

    @classmethod
    def _read_0_1_0(cls, stored: Mapping[str, Any]) -> Self:
        if not isinstance(stored.get("fingerprint"), str):
            raise LedgerEntryError("it has no fingerprint")
        clear_number = stored.get("clear_number")
        if not isinstance(clear_number, int):
            raise LedgerEntryError(f"its clear_number is {clear_number!r}")
        # The fingerprint of that release includes the connection, so it cannot be compared.
        return cls(
            state=stored.get("state"),  # type: ignore[arg-type]
            submitted_at=stored.get("at"),  # type: ignore[arg-type]
            request_id=stored.get("request_id"),
            result=stored.get("result"),
            clear_number=clear_number,
        )

    def check(self) -> None:
        """Check that the entry has the fields of its state: decisions on it cost money.

        :raises LedgerEntryError: a field is missing or wrong.
        """
        has_id = isinstance(self.request_id, str) and bool(self.request_id.strip())
        if self.state not in ("intent", "submitted", "finished"):
            raise LedgerEntryError(f"its state is {self.state!r}")
        if (self.request_id is not None) if self.state == "intent" else not has_id:
            raise LedgerEntryError(f"its state is {self.state!r} and its request_id is {self.request_id!r}")
        if not _is_number(self.submitted_at):
            raise LedgerEntryError(f"its time of submission is {self.submitted_at!r}")
        for name in ("fingerprint", "address", "owner"):
            if not isinstance(getattr(self, name), str | None):
                raise LedgerEntryError(f"its {name} is {getattr(self, name)!r}")
        if self.attempt is not None:
            _check_attempt(self.attempt)
        if self.result is None:
            return
        if not isinstance(self.result, Mapping) or self.result.get("request_id") != self.request_id:
            raise LedgerEntryError("its result is not of its generation")

    def was_cleared(self, now: Attempt) -> bool:
        """Return whether a person has cleared this task instance since the entry was written."""
        if self.attempt is not None:
            # A clear starts a new attempt; an attempt older than the entry was not started by a clear.
            return self.attempt.max_tries != now.max_tries and now.try_number > self.attempt.try_number
        # Release 0.1.0: only if both counters changed, because a wrong answer would pay again.
        return now.clear_number > (self.clear_number or 0) and now.max_tries > now.retries

    def is_of_another_run(self, now: Attempt) -> bool:
        """Return whether the entry was written by an earlier DAG run with the same id."""
        return self.attempt is not None and now.is_of_another_run(self.attempt)


@dataclass(frozen=True)
class Submit:
    """Decision to submit a new generation.

    :param warning: the reason, if the task instance has paid, or may have paid, for an earlier one.
    """

    warning: str | None = None


@dataclass(frozen=True)
class Resume:
    """Decision to resume a generation that is paid for.

    :param cleared: whether a person has cleared the task since.
    :param changed: whether the current request differs from the submitted one.
    """

    entry: LedgerEntry
    cleared: bool = False
    changed: bool = False

    @property
    def request_id(self) -> str:
        """The generation."""
        return str(self.entry.request_id)


@dataclass(frozen=True)
class ReturnResult:
    """Decision to return the recorded result: only the success of the task was not recorded."""

    entry: LedgerEntry
    changed: bool = False


@dataclass(frozen=True)
class FailUnknown:
    """Decision to stop: an earlier submission may have been accepted."""

    submitted_at: float


Step = Submit | Resume | ReturnResult | FailUnknown


def next_step(
    entry: LedgerEntry | None,
    *,
    now: Attempt,
    fingerprint: str | None,
    address: str,
    on_unknown: OnUnknownSubmission,
) -> Step:
    """Return what an attempt does next.

    :param entry: the entry in the ledger, ``None`` if there is none.
    :param now: the attempt.
    :param fingerprint: of the current request; ``None`` if there is no valid request.
    :param address: fingerprint of the API's address.
    """
    if entry is None:
        return Submit()
    if entry.is_of_another_run(now):
        return Submit("the ledger's entry is of an earlier DAG run with the same id, which was deleted")
    cleared = entry.was_cleared(now)
    changed = None not in {fingerprint, entry.fingerprint} and fingerprint != entry.fingerprint
    earlier = f"the earlier generation {entry.request_id}"
    if entry.state == "intent":
        lost = "an earlier submission of this task may have been accepted and billed"
        if cleared:
            return Submit(f"{lost}; the task was cleared to go on")
        return (
            Submit(f"{lost}; on_unknown_submission=resubmit")
            if on_unknown == "resubmit"
            else FailUnknown(entry.submitted_at)
        )
    if entry.state == "finished":
        if cleared:
            path = (entry.result or {}).get("path")
            saved = f", saved at {path}, stays" if path else " stays"
            return Submit(f"the task was cleared after it had succeeded; {earlier}{saved}")
        if entry.result is not None:
            return ReturnResult(entry, changed)
    if None not in {entry.address, address} and entry.address != address:
        return Submit(f"{earlier} was submitted to another API address and is left alone")
    if cleared and changed:
        return Submit(f"the task was cleared and its request has changed; {earlier} is left alone, and is billed")
    return Resume(entry, cleared, changed)


def next_step_after_poll(step: Resume, found: Generation | None, now: float) -> Submit | Resume:
    """Return what an attempt does with a resumed generation after one poll.

    A failure that a retry cannot change stays a :class:`Resume`, which then fails.

    :param found: the polled generation; ``None`` if the API does not know the id.
    :param now: seconds since the epoch.
    """
    earlier = f"the earlier generation {step.request_id}"
    if found is None:
        forgotten = step.cleared and now - step.entry.submitted_at > NOT_FOUND_GRACE
        return Submit(f"{earlier} is not known to the API any more") if forgotten else step
    if found.state == "moderated":
        return Submit(f"{earlier} was rejected by content moderation") if step.cleared else step
    if found.state == "failed" and (found.error_code == NO_VIDEO_URL or is_final_failure(found.error_code)):
        what = "is done but has no video" if found.error_code == NO_VIDEO_URL else f"has failed: {_reason(found)}"
        return Submit(f"{earlier} {what}") if step.cleared else step
    if found.state in {"failed", "expired"}:
        # Paid for and recorded as finished: only a clear submits again.
        if step.entry.state == "finished" and not step.cleared:
            return step
        return Submit(f"{earlier} has {found.state}: {_reason(found)}")
    return step


def renewed(entry: LedgerEntry, now: Attempt, fingerprint: str | None, address: str) -> LedgerEntry:
    """Return the entry with this attempt as its writer, so that the next clear is recognised."""
    same_request = entry.fingerprint or fingerprint
    return replace(entry, attempt=now, fingerprint=same_request, address=entry.address or address)


def _reason(generation: Generation) -> str:
    return (generation.error_message or "no reason given").rstrip(".")


def _check_attempt(attempt: Attempt) -> None:
    for name in ("try_number", "max_tries", "retries", "clear_number"):
        value = getattr(attempt, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise LedgerEntryError(f"its attempt.{name} is {value!r}")
    if not isinstance(attempt.run_number, int | None):
        raise LedgerEntryError(f"its attempt.run_number is {attempt.run_number!r}")
    for name in ("run_after", "run_started"):
        if not isinstance(getattr(attempt, name), str | None):
            raise LedgerEntryError(f"its attempt.{name} is {getattr(attempt, name)!r}")


def _is_number(value: object) -> bool:
    # A time outside the calendar cannot be formatted.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value < 1e11


def _iso(moment: object) -> str | None:
    return moment.astimezone(UTC).isoformat() if isinstance(moment, datetime) else None


_FIELDS_OF_0_1_0 = frozenset({"state", "fingerprint", "clear_number", "at", "request_id", "result"})
_FIELDS = frozenset({"version", *LedgerEntry.__dataclass_fields__}) - {"clear_number"}
