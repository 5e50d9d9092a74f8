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

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_grokvideo.plugins.preview_videos import Grant, Location

log = logging.getLogger(__name__)

CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


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
    first, last = match.groups()
    if not first:
        if int(last) == 0:
            raise Unsatisfiable
        return Span(max(0, size - int(last)), size - 1)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return Span(int(first), min(int(last), size - 1) if last else size - 1)


def open_granted(grant: Grant) -> IO[bytes]:
    """The file, open for reading.

    :raises Unavailable: it is gone, or not the one that was recorded, or no video, or a link leads out of its place.
    """
    try:
        with ExitStack() as on_failure:
            file = _open_local(grant) if grant.location.scheme == "file" else _open_remote(grant)
            on_failure.callback(file.close)
            if file.seek(0, os.SEEK_END) != grant.size_bytes:
                raise Unavailable("the file has been replaced since the task recorded it")
            file.seek(0)
            # Whatever a task claims to have recorded, nothing but a video ever leaves this server.
            if file.read(8)[4:] != b"ftyp":
                raise Unavailable("the file is no MP4 video")
            on_failure.pop_all()
            return file
    except FileNotFoundError as error:
        raise Unavailable("the file does not exist, or not on the machine of Airflow's API server") from error
    except (OSError, ValueError, ImportError, AirflowException) as error:
        # Also a store that this server has no provider or no connection for.
        log.warning("%s cannot be read for its preview: %s", grant.uri, error)
        raise Unavailable(f"the file cannot be read: {type(error).__name__}") from error


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
    # A pipe would block for ever, and the last segment may have become a link since.
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise Unavailable("this is no file")
    return file


def _open_remote(grant: Grant) -> IO[bytes]:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    path = ObjectStoragePath(grant.uri)
    # Through Airflow's own registry: no other protocol that fsspec knows is ever spoken. Without a cache each
    # read asks for its own bytes, and memory stays flat.
    file: IO[bytes] = path.fs.open(path.path, "rb", cache_type="none", block_size=CHUNK)
    return file


def _path(location: Location) -> Path:
    return Path("/", *location.parts)
