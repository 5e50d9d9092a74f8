"""What a task instance has asked for and paid for, across its attempts.

The ledger stands between a retry and a second bill: the intent is written before the paid POST, the id after it,
the result at the end. Its key is the task instance without the try number.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_grokvideo.exceptions import GrokVideoError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from airflow_provider_grokvideo.api.generation import Generation

log = logging.getLogger(__name__)

OnUnknownSubmission = Literal["fail", "resubmit"]
FORGOTTEN_AFTER = 3600.0
"""Seconds after which an id that the API does not know is no fresh id that it does not know yet."""
_STORE_KEY = "grokvideo"


class LedgerError(GrokVideoError):
    """The ledger cannot be read or written. Nothing is submitted on a guess."""


@dataclass(frozen=True)
class Entry:
    """What is known of this task instance's generation.

    :param state: ``intent`` before the POST, ``submitted`` with the id, ``finished`` with the result.
    :param fingerprint: of request and connection.
    :param clear_number: of the DAG run when the entry was written; a person's clear raises it.
    :param request_id: the generation, once it is known.
    :param at: when the generation was asked for, in seconds since the epoch.
    :param result: the finished task's result, without the video's temporary URL.
    """

    state: Literal["intent", "submitted", "finished"]
    fingerprint: str
    clear_number: int
    at: float
    request_id: str | None = None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Submit:
    """Ask for a new generation."""

    warning: str | None = None


@dataclass(frozen=True)
class Resume:
    """Go on with a generation that is paid for."""

    request_id: str
    at: float
    cleared: bool


@dataclass(frozen=True)
class Return:
    """The work is done; only its success was not recorded."""

    result: Mapping[str, Any]


@dataclass(frozen=True)
class Unknown:
    """An earlier submission may have been accepted, and nobody can tell."""

    at: float


def decide(
    entry: Entry | None, *, fingerprint: str, clear_number: int, on_unknown: OnUnknownSubmission
) -> Submit | Resume | Return | Unknown:
    """What to do with what the ledger holds.

    :param entry: ``None`` where it holds nothing.
    :param fingerprint: of the request at hand.
    :param clear_number: of the DAG run now.
    """
    if entry is None:
        return Submit()
    cleared = clear_number > entry.clear_number
    if entry.request_id is None:
        if cleared:
            return Submit("an earlier submission may have been accepted and billed; the task was cleared to go on")
        if on_unknown == "resubmit":
            return Submit("an earlier submission may have been accepted and billed; on_unknown_submission=resubmit")
        return Unknown(entry.at)
    if entry.fingerprint != fingerprint:
        return Submit(f"the request has changed; the earlier generation {entry.request_id} is left alone")
    if entry.state == "finished":
        if cleared:
            return Submit()
        if entry.result is not None:
            return Return(entry.result)
    return Resume(entry.request_id, entry.at, cleared)


def decide_resumed(resume: Resume, found: Generation | None, now: float) -> Submit | Resume:
    """What to do with a generation that is to be resumed, after asking the API about it once.

    :param found: what the API said, ``None`` where it does not know the id.
    """
    from airflow_provider_grokvideo.api.generation import NO_VIDEO_URL

    name = f"the earlier generation {resume.request_id}"
    if found is None:
        forgotten = resume.cleared and now - resume.at > FORGOTTEN_AFTER
        return Submit(f"{name} is not known to the API any more") if forgotten else resume
    if found.state == "failed" and found.error_code == NO_VIDEO_URL:
        return Submit(f"{name} is done but has no video") if resume.cleared else resume
    if found.state in {"failed", "expired"}:
        return Submit(f"{name} has {found.state}: {found.error_message or 'no reason given'}")
    if found.state == "moderated" and resume.cleared:
        return Submit(f"{name} was refused by content moderation")
    return resume


class Home(Protocol):
    """Where an entry is kept."""

    def read(self) -> dict[str, Any] | None:
        """The stored object, ``None`` where there is none."""

    def write(self, stored: dict[str, Any]) -> None:
        """Replace the stored object at once."""

    def delete(self) -> None:
        """Remove the stored object."""


class Ledger:
    """Reads and writes the entry of one task instance.

    :param home: where it is kept, ``None`` for nowhere.
    :param clear_number: of the DAG run now.
    """

    def __init__(self, home: Home | None, clear_number: int) -> None:
        self.home = home
        self.clear_number = clear_number

    def read(self) -> Entry | None:
        """The entry.

        :raises LedgerError: it cannot be read. That is not the same as empty.
        """
        if self.home is None:
            return None
        stored = self.home.read()
        if stored is None:
            return None
        try:
            entry = Entry(**stored)
        except TypeError as error:
            raise LedgerError(f"the ledger holds something that is no entry: {error}") from error
        if not _is_sound(entry):
            raise LedgerError(f"the ledger holds something that is no entry: state={entry.state!r}")
        return entry

    def intend(self, fingerprint: str) -> None:
        """Note that a generation is about to be asked for."""
        self._write(Entry("intent", fingerprint, self.clear_number, time.time()))

    def withdraw(self) -> None:
        """Note that the request did not reach the API, or was refused."""
        if self.home is not None:
            self.home.delete()

    def submitted(self, fingerprint: str, request_id: str) -> None:
        """Note the id of an accepted generation. Where that fails, the wait for what is paid for goes on."""
        try:
            self._write(Entry("submitted", fingerprint, self.clear_number, time.time(), request_id))
        except Exception:  # each store raises errors of its own
            log.exception("The ledger could not be written. If this task dies, adopt %s with a sensor", request_id)

    def finished(self, request_id: str, result: Mapping[str, Any]) -> None:
        """Note the result. The video's URL is left out: it is a key to the video, and expires."""
        try:
            entry = self.read()
            if entry is not None and entry.request_id == request_id:
                self._write(replace(entry, state="finished", result={**result, "video_url": None}))
        except Exception:  # each store raises errors of its own
            log.exception("The ledger could not be written; generation %s is finished all the same", request_id)

    def _write(self, entry: Entry) -> None:
        if self.home is not None:
            self.home.write(asdict(entry))


def _is_sound(entry: Entry) -> bool:
    """Whether a stored entry says what its state promises: what is decided on it costs money."""
    has_id = isinstance(entry.request_id, str) and bool(entry.request_id)
    promised = {
        "intent": entry.request_id is None,
        "submitted": has_id,
        "finished": has_id and isinstance(entry.result, Mapping | None),
    }
    return (
        isinstance(entry.state, str)
        and promised.get(entry.state, False)
        and isinstance(entry.fingerprint, str)
        and isinstance(entry.clear_number, int)
        and isinstance(entry.at, int | float)
    )


class StateStoreHome:
    """In Airflow's task state store, 3.3 and later.

    :param store: ``context["task_state_store"]``.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def read(self) -> dict[str, Any] | None:
        """The stored object, ``None`` where there is none."""
        stored = self._store.get(_STORE_KEY)
        if stored is None or isinstance(stored, dict):
            return stored
        raise LedgerError(f"the task state store holds a {type(stored).__name__} under {_STORE_KEY!r}, not an object")

    def write(self, stored: dict[str, Any]) -> None:
        """Replace the stored object at once."""
        self._store.set(_STORE_KEY, stored)

    def delete(self) -> None:
        """Remove the stored object."""
        self._store.delete(_STORE_KEY)


class FileHome:
    """In a small JSON object on an ObjectStoragePath.

    :param path: the object.
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self._path = path

    def read(self) -> dict[str, Any] | None:
        """The stored object, ``None`` where there is none."""
        try:
            filesystem = self._path.fs
            # A store's own listing cache may be older than the last attempt.
            filesystem.invalidate_cache()
            stored = json.loads(filesystem.cat_file(self._path.path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # each filesystem raises errors of its own
            raise LedgerError(f"the ledger {self._path} cannot be read: {error}") from error
        if not isinstance(stored, dict):
            raise LedgerError(f"the ledger {self._path} does not hold an object")
        return stored

    def write(self, stored: dict[str, Any]) -> None:
        """Replace the stored object at once."""
        from airflow_provider_grokvideo.storage import replace_file

        try:
            replace_file(self._path, json.dumps(stored).encode())
        except Exception as error:  # each filesystem raises errors of its own
            raise LedgerError(f"the ledger {self._path} cannot be written: {error}") from error

    def delete(self) -> None:
        """Remove the stored object."""
        try:
            self._path.fs.rm(self._path.path)
        except FileNotFoundError:
            return
        except Exception as error:  # each filesystem raises errors of its own
            raise LedgerError(f"the ledger {self._path} cannot be written: {error}") from error


def open_ledger(context: Context, directory: str | ObjectStoragePath | None) -> Ledger:
    """The ledger of the running task instance.

    :param directory: where to keep it on Airflow before 3.3; ``None`` for nowhere.
    :raises LedgerError: the directory names no store.
    """
    clear_number = getattr(context["dag_run"], "clear_number", None) or 0
    store = context.get("task_state_store")
    if store is not None:
        return Ledger(StateStoreHome(store), clear_number)
    if directory is None:
        log.warning(
            "No ledger: a retry of this task could pay again. Set output_path, or ledger_path in the "
            "operator, the connection's extra or the [grokvideo] section of the configuration."
        )
        return Ledger(None, clear_number)
    from airflow_provider_grokvideo.storage import open_path

    return Ledger(FileHome(open_path(directory, name="ledger_path") / file_name(context)), clear_number)


def file_name(context: Context) -> str:
    """The name of a task instance's ledger; the same at every try."""
    ti = context["ti"]
    key = "\0".join((ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)))
    return f"grokvideo-{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"
