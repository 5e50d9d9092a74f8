"""Stream a saved video: open an authorized file, and read byte ranges of it in constant memory."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.plugins.preview.access import AuthorizedFile, Location

log = logging.getLogger(__name__)

CHUNK_SIZE = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)\Z")
_MAX_DIGITS = 18
_BEYOND_ANY_FILE = 10**_MAX_DIGITS


class MediaUnavailable(Exception):
    """The preview may play the file, but cannot read it. The text says why."""


class RangeNotSatisfiable(Exception):
    """The file has no byte of the requested range."""


@dataclass(frozen=True)
class ByteRange:
    """A range of bytes in a file. It includes both ends, as in HTTP."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.last - self.first + 1


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Parse a ``Range`` header; return ``None`` for the whole file.

    A header that is malformed or requests several ranges is ignored, as RFC 9110, 14.2 allows.

    :param size: bytes of the file.
    :raises RangeNotSatisfiable: the range begins after the end.
    """
    match = _RANGE.match((header or "").strip())
    if not match or match.groups() == ("", ""):
        return None
    first, last = map(_parse_position, match.groups())
    if first is None:
        if not last:
            raise RangeNotSatisfiable
        return ByteRange(max(0, size - last), size - 1)
    if last is not None and last < first:
        return None
    if first >= size:
        raise RangeNotSatisfiable
    return ByteRange(first, size - 1 if last is None else min(last, size - 1))


def open_authorized(file: AuthorizedFile) -> IO[bytes]:
    """Open an authorized file for reading.

    :raises MediaUnavailable: the file is missing, was replaced, is not a video, or a link leads out of the allowed
        location.
    """
    try:
        with ExitStack() as on_failure:
            stream = _open_local(file) if file.location.scheme == "file" else _open_remote(file)
            on_failure.callback(stream.close)
            _check_content(stream, file)
            on_failure.pop_all()
            return stream
    except MediaUnavailable:
        raise
    except FileNotFoundError as error:
        raise MediaUnavailable("the file does not exist, or not on the machine of Airflow's API server") from error
    except Exception as error:  # Each filesystem raises its own errors, also for a missing provider or connection.
        log.warning("The preview cannot read %s: %s", file.uri, error)
        raise MediaUnavailable(f"the file cannot be read: {type(error).__name__}") from error


def read_range(stream: IO[bytes], byte_range: ByteRange) -> Iterator[bytes]:
    """Yield the bytes of a range in chunks, then close the file."""
    with stream:
        stream.seek(byte_range.first)
        left = byte_range.length
        while left and (chunk := stream.read(min(CHUNK_SIZE, left))):
            left -= len(chunk)
            yield chunk


def _parse_position(digits: str) -> int | None:
    """Return a number with any count of digits; ``None`` for no digits."""
    if not digits:
        return None
    significant = digits.lstrip("0")
    # Python refuses to convert thousands of digits.
    return int(significant or "0") if len(significant) <= _MAX_DIGITS else _BEYOND_ANY_FILE


def _check_content(stream: IO[bytes], file: AuthorizedFile) -> None:
    if stream.seek(0, os.SEEK_END) != file.size_bytes:
        raise MediaUnavailable("the file has been replaced since the task recorded it")
    stream.seek(0)
    # A task can record any path, so the server sends nothing but MP4 files.
    if stream.read(8)[4:] != b"ftyp":
        raise MediaUnavailable("the file is not an MP4 video")


def _open_local(file: AuthorizedFile) -> IO[bytes]:
    path = _local_path(file.location).resolve(strict=True)
    allowed_by = _local_path(file.allowed_by)
    if file.allowed_by == file.location:
        allowed = path == allowed_by.parent.resolve() / allowed_by.name
    else:
        allowed = path.is_relative_to(allowed_by.resolve())
    if not allowed:
        raise MediaUnavailable("a link leads out of the allowed location")
    descriptor = _open_without_links(path)
    stream = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        stream.close()
        raise MediaUnavailable("this is not a file")
    return stream


def _open_without_links(path: Path) -> int:
    """Open a resolved path one segment at a time: a segment may have become a link after the path was resolved."""
    search = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = os.open("/", search)
    try:
        for part in path.parts[1:-1]:
            inner = os.open(part, search, dir_fd=directory)
            os.close(directory)
            directory = inner
        # O_NONBLOCK, because opening a named pipe would block the thread.
        return os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


def _open_remote(file: AuthorizedFile) -> IO[bytes]:
    path = ObjectStoragePath(file.uri)
    # Airflow's registry limits the protocols that fsspec may use. Without a cache each read fetches only its own
    # bytes, so that memory stays constant.
    stream: IO[bytes] = path.fs.open(path.path, "rb", cache_type="none", block_size=CHUNK_SIZE)
    return stream


def _local_path(location: Location) -> Path:
    return Path("/", *location.parts)
