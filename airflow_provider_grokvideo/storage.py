"""Finished videos and source images on every store that Airflow's ObjectStoragePath opens."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import ObjectStoragePath, conf

from airflow_provider_grokvideo.api.download import VideoTooLargeError
from airflow_provider_grokvideo.api.media import MAX_IMAGE_BYTES, USE_SMALLER_IMAGE, without_query
from airflow_provider_grokvideo.api.redaction import invalid_field
from airflow_provider_grokvideo.api.text import file_stem
from airflow_provider_grokvideo.exceptions import (
    DownloadError,
    GrokVideoError,
    InvalidRequestError,
    StorageError,
    sentence,
)
from airflow_provider_grokvideo.mp4 import Mp4Check
from airflow_provider_grokvideo.store_errors import can_pass, describe, package_for
from airflow_provider_grokvideo.store_files import StoreFile
from airflow_provider_grokvideo.utils.retries import attempts

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.client import GrokVideoClient
    from airflow_provider_grokvideo.api.generation import Generation

log = logging.getLogger(__name__)

StorePath = str | os.PathLike[str] | ObjectStoragePath
"""A URI, a local path, or an ObjectStoragePath."""
MAX_VIDEO_BYTES = 4 * 1024**3
_PROBE = bytes(4096)
_ID_LENGTH = 36
"""Length of a UUID: all ids of generations so far are UUIDs."""
_URI = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):/")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PASSWORD = re.compile(r"://[^/@]*:[^/@]*@")
_MAX_SHOWN = 300


@dataclass(frozen=True)
class Landed:
    """Saved video.

    :param path: argument of ``ObjectStoragePath``, with the connection id if one was given.
    :param size_bytes: bytes written.
    :param sha256: of these bytes, hexadecimal.
    :param content_type: always ``video/mp4``: anything else is refused.
    """

    path: str
    size_bytes: int
    sha256: str
    content_type: str = "video/mp4"


def destination(path: StorePath, request_id: str, conn_id: str | None = None) -> ObjectStoragePath:
    """Return the destination file: the path, or ``<request_id>.mp4`` in it if it is a directory.

    It is a directory if it ends with a slash, or if the store has a directory of that name now.

    :raises InvalidRequestError: no store can open it.
    :raises StorageError: the store does not answer now.
    """
    target = open_path(path, conn_id)
    if _names_directory(path, target):
        # The id comes from the API or from a user: it must be a file name, not a path.
        target /= f"{file_stem(request_id)}.mp4"
    if ObjectStoragePath(str(target)).path != target.path:
        # The text of a path object, which the result contains, can name another file.
        raise _bad_name("output_path", target)
    return target


def directory(path: StorePath, conn_id: str | None = None) -> ObjectStoragePath:
    """Return the path if it ends with a slash, else its parent directory.

    The content of the store is ignored, so that the result is always the same.

    :raises InvalidRequestError: no store can open it.
    """
    opened = open_path(path, conn_id)
    return opened if str(path).endswith("/") else opened.parent


def open_path(path: StorePath, conn_id: str | None = None, name: str = "output_path") -> ObjectStoragePath:
    """Open a path with the store's Airflow connection, unless the path contains one. Nothing is read or written.

    :param name: the field, for messages.
    :raises InvalidRequestError: no store can open it, or a store would open another name.
    :raises StorageError: the connection cannot be looked up now.
    """
    text = str(path) if isinstance(path, ObjectStoragePath) else _absolute(os.fspath(path))
    try:
        if conn_id and not _split(text)[1]:
            opened = ObjectStoragePath(text, conn_id=conn_id)
        else:
            opened = path if isinstance(path, ObjectStoragePath) else ObjectStoragePath(text)
        # Airflow 2 reports an unknown scheme only here.
        _ = opened.fs
    except Exception as error:  # each filesystem raises its own errors
        raise _cannot_open(name, text, error) from error
    _check_name(name, text, opened)
    return opened


def exists(path: str) -> bool:
    """Return whether the file of a result exists under exactly this name, as seen from this worker.

    :raises StorageError: the store does not answer now.
    """
    try:
        found = _file(open_path(path, name="path")).info()
    except (InvalidRequestError, PermissionError):
        return False
    except StorageError:
        raise
    except Exception as error:  # each filesystem raises its own errors
        fault = _fault(error, f"Cannot look for {_quoted(path)}: {sentence(describe(error))}")
        if isinstance(fault, StorageError):
            raise fault from error
        return False
    return found is not None and found["type"] == "file"


def replace_file(path: ObjectStoragePath, content: bytes) -> None:
    """Write a small file atomically: a reader sees the complete old or new file.

    :raises Exception: it cannot be written; each filesystem raises its own errors.
    """
    with _file(path).writer() as file:
        file.write(content)


def check_writable(path: StorePath, conn_id: str | None = None) -> None:
    """Write and remove a small file at the destination, as the video will be written, before the submission.

    :raises InvalidRequestError: the destination is not writable; a retry does not help.
    :raises StorageError: the store failed; a retry can help.
    """
    max_video_bytes()
    try:
        probe = _file(destination(path, "x" * _ID_LENGTH, conn_id)).probe()
        with probe.writer() as file:
            file.write(_PROBE)
        probe.remove()
    except GrokVideoError:
        raise
    except Exception as error:  # each filesystem raises its own errors
        message = f"Cannot write to output_path={_quoted(path)}: {sentence(describe(error))} Nothing was billed."
        raise _fault(error, message) from error


def read_image(path: StorePath, name: str = "image") -> bytes:
    """Return the bytes of an image.

    :param name: the request's field, for messages.
    :raises InvalidRequestError: it cannot be read or is too large; a retry does not help.
    :raises StorageError: the store failed; a retry can help.
    """
    opened = open_path(path, name=name)
    try:
        with opened.open("rb") as file:
            content: bytes = file.read(MAX_IMAGE_BYTES + 1)
    except Exception as error:  # each filesystem raises its own errors
        reason = describe(error, is_local=_file(opened).is_local)
        raise _fault(error, f"Cannot read {name} {_quoted(path)}: {sentence(reason)}") from error
    if len(content) > MAX_IMAGE_BYTES:
        raise invalid_field(name, str(path), USE_SMALLER_IMAGE)
    return content


def save(
    client: GrokVideoClient,
    generation: Generation,
    path: StorePath,
    conn_id: str | None = None,
) -> Landed:
    """Save a finished video at its destination, completely or not at all.

    A failed download is repeated, each time from a fresh URL. Nothing is submitted.

    :param client: polls for a fresh URL, and downloads.
    :param generation: in state ``done``.
    :param path: a file, or a directory.
    :param conn_id: the store's Airflow connection, if ``path`` names none.
    :raises DownloadError: the video could not be saved; a retry can help.
    """
    try:
        return _save(client, generation, path, conn_id)
    except DownloadError as error:
        text, where = str(error).rstrip("."), _quoted(path)
        place = "" if where in text else f" to {where}"
        raise type(error)(
            f"Could not save the video of generation {generation.request_id}{place}: {text}. "
            "It is billed. A retry downloads it again and does not pay again."
        ) from error


def _save(client: GrokVideoClient, generation: Generation, path: StorePath, conn_id: str | None) -> Landed:
    failure: DownloadError | None = None
    for attempt in attempts(DownloadError):
        with attempt:
            number = attempt.retry_state.attempt_number
            try:
                url = generation.video_url if number == 1 else None
                return _save_once(client, url or _fresh_url(client, generation.request_id), generation, path, conn_id)
            except (VideoTooLargeError, _CannotSaveError) as error:
                failure = error
            except DownloadError as error:
                log.warning("Attempt %d to save the video at %s failed: %s", number, _quoted(path), error)
                raise
    raise failure or AssertionError("unreachable: the last attempt returns or raises")


def max_video_bytes() -> int:
    """Return the maximum bytes of a video that is saved.

    :raises InvalidRequestError: the configured value is not a number.
    """
    given = conf.get("grokvideo", "max_video_bytes", fallback=None)
    if given is None or str(given).strip() == "":
        return MAX_VIDEO_BYTES
    if not str(given).strip().isdecimal() or int(given) == 0:
        raise InvalidRequestError(
            f"[grokvideo] max_video_bytes={given} is not valid. Use a whole number of bytes above 0."
        )
    return int(given)


class _CannotSaveError(DownloadError):
    """Error of a store that does not accept the file. Another download does not help."""


def _save_once(
    client: GrokVideoClient, url: str, generation: Generation, path: StorePath, conn_id: str | None
) -> Landed:
    digest, check = hashlib.sha256(), Mp4Check(generation.duration)
    try:
        target = destination(path, generation.request_id, conn_id)
        # Writing and hashing take as long as receiving, so a second thread does them for the previous piece.
        with _file(target).writer() as file, ThreadPoolExecutor(1, "grokvideo-saving") as helper:

            def keep(piece: bytes) -> None:
                file.write(piece)
                digest.update(piece)

            keeping = helper.submit(keep, b"")
            with client.open_video(url, max_bytes=max_video_bytes()) as pieces:
                for piece in pieces:
                    keeping.result()
                    keeping = helper.submit(keep, piece)
                    check.feed(piece)
            keeping.result()
            check.finish()
    except DownloadError:
        raise
    except InvalidRequestError as error:
        raise _CannotSaveError(str(error)) from error
    except GrokVideoError as error:
        raise DownloadError(str(error)) from error
    except Exception as error:  # each filesystem raises its own errors
        kind = DownloadError if can_pass(error) else _CannotSaveError
        raise kind(f"cannot write to {_quoted(path)}: {describe(error)}") from error
    return Landed(str(target), file.size, digest.hexdigest())


def _fresh_url(client: GrokVideoClient, request_id: str) -> str:
    try:
        generation = client.get_generation(request_id)
    except GrokVideoError as error:
        raise DownloadError(f"no fresh URL of it: {error}") from error
    if generation.video_url is None:
        raise DownloadError(f"the API names no video of it any more, and reports it as {generation.state}")
    return generation.video_url


def _file(path: ObjectStoragePath) -> StoreFile:
    return StoreFile(path.fs, path.path)


def _names_directory(path: StorePath, target: ObjectStoragePath) -> bool:
    if str(path).endswith("/"):
        return True
    try:
        found = _file(target).info()
    except PermissionError:
        # The right to write does not include the right to look; on S3 the path is then an object.
        return False
    except Exception as error:  # each filesystem raises its own errors
        raise _fault(error, f"Cannot use output_path={_quoted(path)}: {sentence(describe(error))}") from error
    return found is not None and found["type"] == "directory"


def _absolute(text: str) -> str:
    """Return a URI unchanged, and a local path as absolute: versions of Airflow resolve it differently."""
    if not text or _URI.match(text) or text.startswith("/"):
        return text
    path = Path(text)
    path = path.expanduser() if path.parts[0] == "~" else path.absolute()
    return f"{path}/" if text.endswith("/") else str(path)


def _split(text: str) -> tuple[str, str, str]:
    """Return scheme, connection id and the rest of a path; ``""`` for a missing part."""
    match = _URI.match(text)
    if match is None:
        return "", "", text
    rest = text[match.end() :].removeprefix("/")
    authority, slash, key = rest.partition("/")
    conn_id, _, authority = authority.rpartition("@")
    return match[1].lower(), conn_id, f"{authority}{slash}{key}"


def _check_name(name: str, text: str, opened: ObjectStoragePath) -> None:
    """Check that a store opens exactly this name: ObjectStoragePath drops a ``?`` at the end, for example."""
    scheme, _, rest = _split(text)
    wanted, found = ([part for part in path.split("/") if part not in {"", "."}] for path in (rest, opened.path))
    # For some stores, the bucket or host is part of the path.
    is_other = bool(wanted) and found[-len(wanted) :] != wanted and found != wanted[1:]
    # s3fs reads it as the version of an object.
    is_other |= scheme in {"s3", "s3a"} and "?versionId=" in rest
    if is_other or _CONTROL.search(text):
        raise _bad_name(name, text)


def _bad_name(name: str, path: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"Cannot use {name}={_quoted(path)}: ObjectStoragePath does not open it under exactly this name. Leave out "
        "control characters, '::', a '?' or '#' with nothing behind it, and on SFTP and FTP any '?'."
    )


def _cannot_open(name: str, text: str, error: Exception) -> GrokVideoError:
    scheme = _split(text)[0]
    is_unknown = isinstance(error, ImportError) or (
        isinstance(error, ValueError) and "filesystem" in str(error).lower()
    )
    if scheme and is_unknown:
        package = package_for(scheme)
        remedy = f"install {package}" if package else "Airflow knows no such store"
        return InvalidRequestError(f"Cannot open {scheme}://: {remedy}. This is the scheme of {name}={_quoted(text)}.")
    return _fault(error, f"Cannot open {name}={_quoted(text)}: {sentence(describe(error))}")


def _fault(error: Exception, message: str) -> GrokVideoError:
    return StorageError(message) if can_pass(error) else InvalidRequestError(message)


def _quoted(path: object) -> str:
    """Return a path for a message: short, without password and signature."""
    text = _PASSWORD.sub("://***@", str(path))
    text = without_query(text) if text.lower().startswith(("http:", "https:")) else text
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
