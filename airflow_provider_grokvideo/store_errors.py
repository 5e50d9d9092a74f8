"""Meaning of a store's errors: whether a retry can help, and the text of a message. Pure functions.

Each filesystem raises its own errors, so they are recognised by class name, HTTP status and error number. An unknown
error counts as temporary: a retry before the submission costs nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from typing import Any

_PASSING_CODES = frozenset(
    {
        "ExpiredToken",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Error codes of S3 with a status below 500 that are temporary."""
_PASSING_STATUSES = frozenset({408, 409, 423, 425, 429})
_FINAL_ERRNOS = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMSGSIZE,
        errno.ENAMETOOLONG,
        errno.ENODEV,
        errno.ENOENT,
        errno.ENOSYS,
        errno.ENOTDIR,
        errno.ENXIO,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EROFS,
    }
)
_FINAL_TYPES = (ImportError, ValueError, TypeError, AttributeError, LookupError, NotImplementedError)
_FINAL_NAMES = frozenset(
    {
        "AirflowNotFoundException",
        "HostKeyNotVerifiable",
        "NoCredentialsError",
        "NoRegionError",
        "ParamValidationError",
        "PartialCredentialsError",
        "PermissionDenied",
        "ProfileNotFound",
        "error_perm",
    }
)
_OS_ERRORS: tuple[tuple[type[OSError], int], ...] = (
    (FileNotFoundError, errno.ENOENT),
    (PermissionError, errno.EACCES),
    (NotADirectoryError, errno.ENOTDIR),
    (IsADirectoryError, errno.EISDIR),
    (FileExistsError, errno.EEXIST),
)
"""Errors that filesystems also raise without an error number."""
_WORDS: Mapping[int, str] = {
    errno.EACCES: "Permission denied",
    errno.EPERM: "Permission denied",
    errno.ENAMETOOLONG: "the name is too long for this store",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.EISDIR: "it is a directory",
    errno.ENOSPC: "No space left on device",
    errno.EROFS: "the file system is read-only",
}
_PACKAGES: Mapping[str, str] = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "s3a": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "gcs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
    "adl": "apache-airflow-providers-microsoft-azure",
    "sftp": "apache-airflow-providers-sftp[sshfs]",
    "ssh": "apache-airflow-providers-sftp[sshfs]",
}
_MAX_WORDS = 300


def can_pass(error: BaseException) -> bool:
    """Return whether the same call can succeed later: timeouts, lost connections, throttling, 5xx, full disks."""
    errors = list(_causes(error))
    for one in errors:
        status = _status(one)
        if _code(one) in _PASSING_CODES:
            return True
        if status is not None and status >= 300:
            return status >= 500 or status in _PASSING_STATUSES
    return not any(map(_is_final, errors))


def describe(error: BaseException, *, is_local: bool = False) -> str:
    """Return the reason of an error in one line.

    :param is_local: whether it concerns a file of this machine.
    """
    number = _errno(error)
    if number == errno.ENOENT:
        return "no such file on this worker" if is_local else f"not found{_detail(error)}"
    if number is not None and number in _WORDS:
        # Its own text says more than the error number, e.g. which right is missing.
        return f"{_WORDS[number]}{'' if is_local else _detail(error)}"
    if isinstance(error, OSError) and error.strerror:
        return _line(error.strerror)
    return f"{type(error).__name__}: {_line(str(error))}" if str(error) else type(error).__name__


def package_for(scheme: str) -> str | None:
    """Return the distribution that supports the scheme of a URI."""
    return _PACKAGES.get(scheme.lower())


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        yield one
        one = one.__cause__


def _is_final(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    if "JSONDecodeError" in names:
        # A subclass of ValueError; a gateway's response that is not JSON is temporary.
        return False
    return _errno(error) in _FINAL_ERRNOS or isinstance(error, _FINAL_TYPES) or bool(names & _FINAL_NAMES)


def _errno(error: BaseException) -> int | None:
    if not isinstance(error, OSError):
        return None
    return next((number for kind, number in _OS_ERRORS if isinstance(error, kind)), error.errno)


def _code(error: BaseException) -> str | None:
    answer = getattr(error, "response", None)
    details = answer.get("Error") if isinstance(answer, Mapping) else None
    return details.get("Code") if isinstance(details, Mapping) else None


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error of botocore, aiohttp, requests, gcsfs or Azure."""
    answer: Any = getattr(error, "response", None)
    if isinstance(answer, Mapping):
        return _http_status(answer.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    candidates = [getattr(error, name, None) for name in ("status", "status_code", "code")]
    candidates.append(getattr(answer, "status_code", None))
    return next((status for status in map(_http_status, candidates) if status is not None), None)


def _http_status(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599 else None


def _detail(error: BaseException) -> str:
    text = str(error.args[0]) if error.args and isinstance(error.args[0], str) else ""
    known = {os.strerror(number).lower() for number in _WORDS}
    return f" ({_line(text)})" if text and text.lower() not in known else ""


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_WORDS else f"{text[:_MAX_WORDS]}…"
