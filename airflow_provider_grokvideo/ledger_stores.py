"""Stores of ledger entries: Airflow's task state store from 3.3 on, before that small files on any store."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_grokvideo.exceptions import LedgerEntryError, LedgerError, sentence
from airflow_provider_grokvideo.ledger import Attempt, LedgerEntry, renewed
from airflow_provider_grokvideo.storage import open_path, replace_file
from airflow_provider_grokvideo.store_errors import describe

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from airflow_provider_grokvideo.api.summary import RequestSummary

log = logging.getLogger(__name__)

STORE_KEY = "grokvideo"
"""Key of the entry in the task state store. It must not change: another key would not find paid generations."""
SETTLE_SECONDS = 0.25
"""Seconds after which an intent is read again in a store without conditional writes.

Two processes can both submit only if one of them stalls for longer than this between its check and its write.
"""
DIRECTORY = ".grokvideo"
"""Directory of ledger files beside ``output_path``."""


class LedgerStore(Protocol):
    """Store of the stored form of one entry."""

    def read(self) -> dict[str, Any] | None:
        """Return the stored object, ``None`` where there is none."""

    def write(self, stored: dict[str, Any]) -> None:
        """Replace the stored object at once."""

    def replace(self, expected: dict[str, Any] | None, stored: dict[str, Any]) -> bool:
        """Replace the stored object unless it is another than expected; return whether it was replaced."""

    def delete(self) -> None:
        """Remove the stored object."""


class Ledger:
    """Ledger of one task instance.

    :param store: the store of the entry, ``None`` for none.
    :param attempt: the running attempt.
    :param earlier: other stores that an earlier attempt may have used, e.g. before an upgrade of Airflow.
    """

    def __init__(self, store: LedgerStore | None, attempt: Attempt, earlier: Sequence[LedgerStore] = ()) -> None:
        self.store = store
        self.attempt = attempt
        self._earlier = earlier
        self._owner = uuid.uuid4().hex
        self._stored: dict[str, Any] | None = None
        """What the store held when it was last read or written here."""
        self._entry: dict[str, Any] | None = None
        """The entry in force: that of the store, or one that an earlier attempt has kept elsewhere."""
        self._previous: dict[str, Any] | None = None

    def read(self) -> LedgerEntry | None:
        """Return the entry.

        :raises LedgerError: it cannot be read, which differs from an empty ledger.
        """
        if self.store is None:
            return None
        self._stored = stored = self.store.read()
        # Only an earlier attempt can have used another store.
        if stored is None and self.attempt.try_number > 1:
            stored = next((found for store in self._earlier if (found := _read_earlier(store)) is not None), None)
        self._entry = stored
        if stored is None:
            return None
        try:
            return LedgerEntry.from_json(stored)
        except LedgerEntryError as error:
            raise _unusable(self.store, str(error)) from error

    def record_intent(self, fingerprint: str, address: str, request: RequestSummary) -> None:
        """Record that a generation is about to be submitted.

        :raises LedgerError: it cannot be written, or another process of this task instance has recorded one.
        """
        self._previous = self._entry
        intent = LedgerEntry(
            "intent", time.time(), self.attempt, fingerprint, address, request, owner=self._owner
        ).to_json()
        if self.store is None:
            return
        if not self.store.replace(self._stored, intent):
            raise LedgerError(
                f"Another process of this task instance is submitting: the ledger {self.store} has changed. "
                "This process submitted nothing. A retry resumes what the other one has submitted."
            )
        self._stored = self._entry = intent

    def restore(self) -> None:
        """Restore the entry that the intent replaced: the request did not reach the API, or was rejected."""
        if self.store is None:
            return
        if self._previous is None:
            self.store.delete()
        else:
            self.store.write(self._previous)
        self._stored = self._entry = self._previous

    def record_submitted(self, fingerprint: str, address: str, request: RequestSummary, request_id: str) -> None:
        """Record the id of an accepted generation. If that fails, the task still waits for the generation."""
        try:
            self._write(LedgerEntry("submitted", time.time(), self.attempt, fingerprint, address, request, request_id))
        except Exception:  # each store raises its own errors
            log.exception(
                "The ledger could not be written. If this task dies, wait for generation %s with a GrokVideoSensor",
                request_id,
            )

    def record_result(self, request_id: str, result: Mapping[str, Any]) -> None:
        """Record the result, without the video's URL, which gives access to the video and expires."""
        try:
            entry = self.read()
            if entry is not None and entry.request_id == request_id:
                self._write(replace(entry, state="finished", result={**result, "video_url": None}))
        except Exception:  # each store raises its own errors
            log.exception("The ledger could not be written. Generation %s is finished all the same", request_id)

    def renew(self, entry: LedgerEntry, fingerprint: str | None, address: str) -> LedgerEntry:
        """Record this attempt as the writer of the entry. If that fails, only the next clear may not be recognised."""
        entry = renewed(entry, self.attempt, fingerprint, address)
        try:
            self._write(entry)
        except Exception:  # each store raises its own errors
            log.warning("The ledger could not be written", exc_info=True)
        return entry

    def _write(self, entry: LedgerEntry) -> None:
        if self.store is not None:
            stored = entry.to_json()
            self.store.write(stored)
            self._stored = self._entry = stored


class TaskStateStore:
    """Airflow's task state store, 3.3 and later.

    :param store: ``context["task_state_store"]``.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def __str__(self) -> str:
        return f"in the task state store (key {STORE_KEY!r})"

    def read(self) -> dict[str, Any] | None:
        """Return the stored object, ``None`` where there is none."""
        stored = self._store.get(STORE_KEY)
        if stored is None or isinstance(stored, dict):
            return stored
        raise _unusable(self, f"it holds a {type(stored).__name__}, not an object")

    def write(self, stored: dict[str, Any]) -> None:
        """Replace the stored object at once."""
        self._store.set(STORE_KEY, stored)

    def replace(self, expected: dict[str, Any] | None, stored: dict[str, Any]) -> bool:
        """Replace the stored object unless it is another than expected; return whether it was replaced."""
        return _replace_and_confirm(self, expected, stored)

    def delete(self) -> None:
        """Remove the stored object."""
        self._store.delete(STORE_KEY)


class FileStore:
    """Store of one entry as a small JSON file on an ObjectStoragePath.

    :param path: the object.
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def read(self) -> dict[str, Any] | None:
        """Return the stored object, ``None`` where there is none."""
        return self._read()[0]

    def write(self, stored: dict[str, Any]) -> None:
        """Replace the stored object at once."""
        with self._errors("written"):
            self._replace_file(stored)

    def replace(self, expected: dict[str, Any] | None, stored: dict[str, Any]) -> bool:
        """Replace the stored object unless it is another than expected; return whether it was replaced.

        Exclusive on local disks (a lock) and on S3 (conditional writes). Elsewhere the object is read again after
        ``SETTLE_SECONDS``.
        """
        if not (_is_local(self._path.fs) or _is_s3(self._path.fs)):
            return _replace_and_confirm(self, expected, stored)
        with self._locked():
            found, version = self._read()
            if found != expected:
                return False
            with self._errors("written"):
                return self._write_unless_changed(stored, version)

    def delete(self) -> None:
        """Remove the stored object."""
        with self._errors("written"), suppress(FileNotFoundError):
            self._path.fs.rm_file(self._path.path)

    def _read(self) -> tuple[dict[str, Any] | None, str | None]:
        """Return the stored object, and its version for conditional writes to an object store."""
        try:
            filesystem = self._path.fs
            # The listing cache of a store can be older than the last attempt.
            filesystem.invalidate_cache()
            version = filesystem.info(self._path.path).get("ETag") if _is_s3(filesystem) else None
            stored = json.loads(filesystem.cat_file(self._path.path))
        except (FileNotFoundError, NotADirectoryError):
            return None, None
        except ValueError as error:
            raise _unusable(self, f"it is not JSON ({error})") from error
        except Exception as error:  # each filesystem raises its own errors
            raise LedgerError(
                f"The ledger {self} cannot be read: {sentence(describe(error))} Nothing was submitted."
            ) from error
        if not isinstance(stored, dict):
            raise _unusable(self, f"it holds a {type(stored).__name__}, not an object")
        return stored, version

    def _write_unless_changed(self, stored: dict[str, Any], version: str | None) -> bool:
        filesystem = self._path.fs
        if not _is_s3(filesystem):
            self._replace_file(stored)
            return True
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            filesystem.pipe_file(self._path.path, json.dumps(stored).encode(), **condition)
        except Exception as error:
            if _is_precondition_failure(error):
                return False
            raise
        return True

    def _replace_file(self, stored: dict[str, Any]) -> None:
        replace_file(self._path, json.dumps(stored).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude other processes of this machine; the lock ends with the process."""
        if _is_s3(self._path.fs):
            yield
            return
        folder = Path(self._path.path).parent
        with self._errors("locked"):
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        try:
            # A filesystem without locks does not prevent the submission.
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except LedgerError:
            raise
        except Exception as error:  # each filesystem raises its own errors
            raise LedgerError(
                f"The ledger {self} cannot be {what}: {sentence(describe(error))} Nothing was submitted."
            ) from error


def open_ledger(context: Context, directories: Sequence[str | ObjectStoragePath]) -> Ledger:
    """Return the ledger of the running task instance.

    :param directories: of ledger files before Airflow 3.3: the one to use, then those that an earlier release, or an
        attempt on an earlier version of Airflow, may have used.
    :raises InvalidRequestError: a directory names no store.
    """
    attempt = Attempt.of(context)
    store = context.get("task_state_store")
    files = [FileStore(open_path(directory, name="ledger_path") / file_name(context)) for directory in directories]
    if store is not None:
        # Airflow deletes its entries with their DAG run: an entry is never of an earlier run with the same id.
        attempt = replace(attempt, run_number=None, run_after=None, run_started=None)
        return Ledger(TaskStateStore(store), attempt, files)
    if not files:
        log.warning(
            "No ledger: a retry of this task could pay again. Set output_path, or ledger_path in the "
            "operator, the connection's extra or the [grokvideo] section of the configuration."
        )
        return Ledger(None, attempt)
    return Ledger(files[0], attempt, files[1:])


def file_name(context: Context) -> str:
    """Return the name of a task instance's ledger file. It is the same in every attempt and every release."""
    ti = context["ti"]
    key = "\0".join((ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)))
    return f"grokvideo-{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"


def _replace_and_confirm(store: LedgerStore, expected: dict[str, Any] | None, stored: dict[str, Any]) -> bool:
    """Replace the stored object; return whether it is unchanged after ``SETTLE_SECONDS``. The last writer wins."""
    if store.read() != expected:
        return False
    store.write(stored)
    time.sleep(SETTLE_SECONDS)
    return store.read() == stored


def _unusable(store: LedgerStore | None, reason: str) -> LedgerEntryError:
    is_newer = "newer release" in reason
    remedy = "Install that release on this worker" if is_newer else "Remove it only if no earlier attempt has submitted"
    return LedgerEntryError(f"The ledger {store} cannot be used: {reason}. Nothing was submitted. {remedy}.")


def _read_earlier(store: LedgerStore) -> dict[str, Any] | None:
    try:
        return store.read()
    except LedgerError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        # Without the right to read, no earlier attempt has written there.
        log.warning("%s", error)
        return None


def _is_local(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return "file" in ((protocol,) if isinstance(protocol, str) else protocol)


def _is_s3(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return "s3" in ((protocol,) if isinstance(protocol, str) else protocol)


def _is_precondition_failure(error: BaseException) -> bool:
    """Return whether a conditional write failed because another process has written."""
    while True:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            code = str(response.get("Error", {}).get("Code"))
            return code in {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
        if isinstance(error, FileExistsError):
            return True
        if error.__cause__ is None:
            return "PreconditionFailed" in str(error)
        error = error.__cause__
