"""Finished videos and source images on any store that Airflow's ObjectStoragePath opens."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import requests
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.api.client import DOWNLOAD_CHUNK, GrokVideoClient
from airflow_provider_grokvideo.api.media import MAX_IMAGE_BYTES, invalid
from airflow_provider_grokvideo.api.text import file_stem
from airflow_provider_grokvideo.exceptions import DownloadError, GrokVideoError
from airflow_provider_grokvideo.mp4 import Mp4Check
from airflow_provider_grokvideo.repetition import attempts

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.generation import Generation

log = logging.getLogger(__name__)

_GONE = frozenset({401, 403, 404, 410})
"""What a host answers when a signed URL has expired."""


@dataclass(frozen=True)
class Landed:
    """A video that is whole at its destination.

    :param path: opens again with ``ObjectStoragePath(path)``; carries the connection id where one was given.
    :param size_bytes: bytes written.
    :param sha256: of those bytes, in hex.
    :param content_type: always ``video/mp4``: anything else is refused.
    """

    path: str
    size_bytes: int
    sha256: str
    content_type: str = "video/mp4"


def destination(path: str | ObjectStoragePath, request_id: str, conn_id: str | None = None) -> ObjectStoragePath:
    """The file that a path means: itself, or ``<request_id>.mp4`` where it ends in a slash."""
    text = str(path)
    target = open_path(path, conn_id)
    # The id is the API's, or somebody's: it names a file, no path.
    return target / f"{file_stem(request_id)}.mp4" if text.endswith("/") else target


def open_path(
    path: str | ObjectStoragePath, conn_id: str | None = None, name: str = "output_path"
) -> ObjectStoragePath:
    """The path, with its store's Airflow connection where it names none itself.

    :param name: the field, for the message.
    :raises InvalidRequestError: no such kind of path.
    """
    if isinstance(path, ObjectStoragePath):
        return path
    try:
        opened = ObjectStoragePath(path, conn_id=conn_id) if conn_id else ObjectStoragePath(path)
        # Airflow 2 finds out only here that it knows no such store.
        _ = opened.fs
    except Exception as error:  # each filesystem raises errors of its own
        raise invalid(name, path, f"a path that ObjectStoragePath opens ({_reason(error)})") from error
    return opened


def replace_file(path: ObjectStoragePath, content: bytes) -> None:
    """Write a small file at once: a reader sees the old one or the new one, whole.

    :raises Exception: it cannot be written; each filesystem raises errors of its own.
    """
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex}.part"
    try:
        with _writer(partial) as file:
            file.write(content)
        partial.fs.mv(partial.path, path.path)
    finally:
        _discard(partial)


def check_writable(path: str | ObjectStoragePath, conn_id: str | None = None) -> None:
    """Write and remove a small file where the video will be, before anything is paid for.

    :raises InvalidRequestError: names the path and the reason.
    """
    try:
        probe = destination(path, "probe", conn_id)
        probe = probe.parent / f".grokvideo-{uuid.uuid4().hex}.probe"
        with _writer(probe) as file:
            file.write(b"")
        probe.fs.rm(probe.path)
    except Exception as error:  # each filesystem raises errors of its own
        raise invalid("output_path", str(path), f"a place that can be written ({_reason(error)})") from error


def read_image(path: str, name: str = "image") -> bytes:
    """The bytes of an image.

    :param name: the request's field, for messages.
    :raises InvalidRequestError: where it cannot be read or is too large.
    """
    try:
        with open_path(path, name="image").open("rb") as file:
            content: bytes = file.read(MAX_IMAGE_BYTES + 1)
    except Exception as error:  # each filesystem raises errors of its own
        raise invalid(name, path, f"an image that can be read ({_reason(error)})") from error
    if len(content) > MAX_IMAGE_BYTES:
        raise invalid(name, path, f"an image of up to {MAX_IMAGE_BYTES // 1024**2} MiB")
    return content


def land(
    client: GrokVideoClient,
    generation: Generation,
    path: str | ObjectStoragePath,
    conn_id: str | None = None,
) -> Landed:
    """Bring a finished video to its destination, whole or not at all.

    A failed download is repeated, each time from a fresh URL. Nothing is submitted.

    :param client: asks for a fresh URL and downloads.
    :param generation: in state ``done``.
    :param path: a file, or a directory with a slash at its end.
    :param conn_id: the store's Airflow connection, where ``path`` names none.
    :raises DownloadError: it can be tried again later.
    """
    target = destination(path, generation.request_id, conn_id)
    url = generation.video_url
    for attempt in attempts(DownloadError):
        with attempt:
            if attempt.retry_state.attempt_number > 1 or url is None:
                url = _fresh_url(client, generation.request_id)
            try:
                return _land_once(client, url, target, generation.request_id)
            except DownloadError as error:
                log.warning("Attempt %d to land %s failed: %s", attempt.retry_state.attempt_number, target, error)
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _fresh_url(client: GrokVideoClient, request_id: str) -> str:
    try:
        generation = client.get_generation(request_id)
    except GrokVideoError as error:
        raise DownloadError(f"no fresh URL for {request_id}: {error}") from error
    if generation.video_url is None:
        raise DownloadError(f"the API names no video for {request_id} any more: it is {generation.state}")
    return generation.video_url


def _land_once(client: GrokVideoClient, url: str, target: ObjectStoragePath, request_id: str) -> Landed:
    partial = target.parent / f".{target.name}.{file_stem(request_id)}.part"
    digest, check, size = hashlib.sha256(), Mp4Check(), 0
    try:
        # Writing and hashing take as long as receiving, so another thread does them meanwhile, one chunk behind.
        with _writer(partial) as file, ThreadPoolExecutor(1, "grokvideo-landing") as helper:

            def keep(chunk: bytes) -> None:
                file.write(chunk)
                digest.update(chunk)

            keeping = helper.submit(keep, b"")
            for chunk in _chunks(client, url):
                keeping.result()
                keeping = helper.submit(keep, chunk)
                check.feed(chunk)
                size += len(chunk)
            keeping.result()
        check.finish()
        partial.fs.mv(partial.path, target.path)
    except GrokVideoError:
        raise
    except Exception as error:  # each filesystem raises errors of its own
        raise DownloadError(f"{target} cannot be written: {_reason(error)}") from error
    finally:
        _discard(partial)
    return Landed(str(target), size, digest.hexdigest())


def _chunks(client: GrokVideoClient, url: str) -> Iterator[bytes]:
    try:
        with client.open_video(url) as response:
            if response.status_code != 200:
                expired = " (the URL has expired)" if response.status_code in _GONE else ""
                raise DownloadError(f"the video's host answers HTTP {response.status_code}{expired}")
            yield from response.iter_content(DOWNLOAD_CHUNK)
    except requests.RequestException as error:
        raise DownloadError(f"the download broke off: {type(error).__name__}") from error
    except GrokVideoError as error:
        raise error if isinstance(error, DownloadError) else DownloadError(str(error)) from error


@contextlib.contextmanager
def _writer(path: ObjectStoragePath) -> Iterator[IO[bytes]]:
    """Opens for writing; makes the directory only where it is missed, since object stores have none."""
    try:
        file: Any = path.open("wb")
    except FileNotFoundError:
        path.fs.makedirs(path.parent.path, exist_ok=True)
        file = path.open("wb")
    with file:
        yield file


def _discard(partial: ObjectStoragePath) -> None:
    with contextlib.suppress(Exception):
        partial.fs.rm(partial.path)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
