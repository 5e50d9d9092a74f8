"""Plays a landed file: opens what was granted and nothing else, and serves ranges of it in constant memory."""

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

from airflow_provider_grokvideo.plugins.preview.access import Grant, Location

log = logging.getLogger(__name__)

CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)\Z")
_FAR = 10**18
"""Behind the end of every file."""


class Unavailable(Exception):
    """The file may be shown but cannot be; says why."""


class Unsatisfiable(Exception):
    """No byte of the range exists."""


@dataclass(frozen=True)
class Span:
    """Bytes of a file, both ends included, as HTTP counts them."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.last - self.first + 1


def parse_range(header: str | None, size: int) -> Span | None:
    """The one range that a request asks for; ``None`` for the whole file.

    What is malformed or asks for several ranges is answered with the whole, as RFC 9110, 14.2 allows.

    :raises Unsatisfiable: the range begins behind the end.
    """
    match = _RANGE.match((header or "").strip())
    if not match or match.groups() == ("", ""):
        return None
    first, last = map(_position, match.groups())
    if first is None:
        if not last:
            raise Unsatisfiable
        return Span(max(0, size - last), size - 1)
    if last is not None and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return Span(first, size - 1 if last is None else min(last, size - 1))


def _position(digits: str) -> int | None:
    """Return the number, of however many digits; ``None`` for none."""
    if not digits:
        return None
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= 18 else _FAR


def open_granted(grant: Grant) -> IO[bytes]:
    """The file, open for reading.

    :raises Unavailable: it is gone, or not the one that was recorded, or no video, or a link leads out of its place.
    """
    try:
        with ExitStack() as on_failure:
            file = _open_local(grant) if grant.location.scheme == "file" else _open_remote(grant)
            on_failure.callback(file.close)
            _check_content(file, grant)
            on_failure.pop_all()
            return file
    except Unavailable:
        raise
    except FileNotFoundError as error:
        raise Unavailable("the file does not exist, or not on the machine of Airflow's API server") from error
    except Exception as error:  # each filesystem raises errors of its own, for want of a provider or connection too
        log.warning("%s cannot be read for its preview: %s", grant.uri, error)
        raise Unavailable(f"the file cannot be read: {type(error).__name__}") from error


def _check_content(file: IO[bytes], grant: Grant) -> None:
    if file.seek(0, os.SEEK_END) != grant.size_bytes:
        raise Unavailable("the file has been replaced since the task recorded it")
    file.seek(0)
    # Whatever a task claims to have recorded, nothing but a video ever leaves this server.
    if file.read(8)[4:] != b"ftyp":
        raise Unavailable("the file is no MP4 video")


def chunks(file: IO[bytes], span: Span) -> Iterator[bytes]:
    """The bytes of a range; closes the file."""
    with file:
        file.seek(span.first)
        left = span.length
        while left and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk


def _open_local(grant: Grant) -> IO[bytes]:
    real = _path(grant.location).resolve(strict=True)
    if grant.within == grant.location:
        allowed = real == _path(grant.within).parent.resolve() / grant.within.parts[-1]
    else:
        allowed = real.is_relative_to(_path(grant.within).resolve())
    if not allowed:
        raise Unavailable("a link leads out of the place where videos may lie")
    descriptor = _open_without_links(real)
    file = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise Unavailable("this is no file")
    return file


def _open_without_links(path: Path) -> int:
    """Open a resolved path segment by segment: any of them may have become a link since it was resolved."""
    search = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = os.open("/", search)
    try:
        for part in path.parts[1:-1]:
            inner = os.open(part, search, dir_fd=directory)
            os.close(directory)
            directory = inner
        # Without blocking: a pipe would keep the thread for ever.
        return os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


def _open_remote(grant: Grant) -> IO[bytes]:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    path = ObjectStoragePath(grant.uri)
    # Through Airflow's own registry: no other protocol that fsspec knows is ever spoken. Without a cache each
    # read asks for its own bytes, and memory stays flat.
    file: IO[bytes] = path.fs.open(path.path, "rb", cache_type="none", block_size=CHUNK)
    return file


def _path(location: Location) -> Path:
    return Path("/", *location.parts)
