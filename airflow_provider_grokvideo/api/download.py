"""Download of a finished video as a stream: limited in time and size, without credentials, without decoding.

The host of a video is not the API: the API names it, and it can redirect to any other host.
"""

from __future__ import annotations

import http.client
import logging
import math
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from airflow_provider_grokvideo.api.connections import Watchdog
from airflow_provider_grokvideo.api.public_hosts import PUBLIC_POOLS, may_be_public, private_host_error
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.api.transport import RoutedAdapter
from airflow_provider_grokvideo.exceptions import DownloadError, GrokVideoError

CHUNK = 256 * 1024
MAX_REDIRECTS = 5
MIN_SPEED = 1024
"""Bytes per second."""
SPEED_WINDOW = 60.0
"""Seconds of waiting for the host, over which the speed is measured."""
_HEADERS = {"User-Agent": requests.utils.default_user_agent(), "Accept": "*/*", "Accept-Encoding": "identity"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_EXPIRED_URL_STATUSES = frozenset({401, 403, 404, 410})
"""Statuses of a host whose signed URL has expired."""
_LOGGERS = ("urllib3.connectionpool", "urllib3.poolmanager", "urllib3.util.retry")
_ERRORS = (OSError, ValueError, http.client.HTTPException, urllib3.exceptions.HTTPError)
"""Errors of requests, urllib3 and the standard library for a host without a valid response."""


class VideoTooLargeError(DownloadError):
    """The video is larger than allowed. Downloading it again does not help."""


@contextmanager
def open_video(url: str, settings: Settings, *, max_bytes: float = math.inf) -> Iterator[Iterator[bytes]]:
    """Request a video, and yield its bytes in pieces of about ``CHUNK``.

    :param settings: proxy and certificates are used, the key is not. ``request_timeout`` limits the time until the
        headers are read, redirects included, and the time between two bytes.
    :raises DownloadError: the video was not received, or not completely. The message contains neither the URL's query
        nor the host's response.
    """
    with ExitStack() as stack:
        stack.enter_context(_queries_hidden_in_logs())
        timeout = settings.request_timeout
        watchdog = stack.enter_context(Watchdog(timeout))
        adapter = _Adapter(settings)
        stack.callback(adapter.close)
        response = stack.enter_context(_follow(adapter, url, timeout, watchdog))
        watchdog.limit(math.inf)
        if response.status_code != requests.codes.ok:
            expired = " (the URL has expired)" if response.status_code in _EXPIRED_URL_STATUSES else ""
            raise DownloadError(f"the video's host answers HTTP {response.status_code}{expired}")
        yield _pieces(response, watchdog, max_bytes)


def _follow(adapter: _Adapter, url: str, timeout: float, watchdog: Watchdog) -> requests.Response:
    """Return the first response that is no redirect. No request contains anything of the one before."""
    for _ in range(MAX_REDIRECTS + 1):
        response, failure = None, ""
        try:
            if urlsplit(url).scheme not in {"http", "https"}:
                raise DownloadError("the video's URL is not an http(s) URL")
            # Not by a session: it reads the body of a redirect, and sends credentials of a .netrc file.
            request = requests.Request("GET", url, headers=_HEADERS, auth=_no_auth).prepare()
            response = adapter.send(request, stream=True, timeout=timeout)
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or location is None:
                return response
            response.close()
            url = urljoin(url, location.encode("latin-1", "replace").decode("utf-8", "replace"))
        except GrokVideoError:
            raise
        except _ERRORS as error:
            failure = f"no answer from the video's host: {_words(error)}"
        if watchdog.is_expired:
            failure = f"timed out: no answer from the video's host within {timeout:g} s"
        if failure:
            # Outside the handler: the library's error contains the signed URL and would be the context.
            raise DownloadError(failure)
    raise DownloadError(f"the video's host redirects more than {MAX_REDIRECTS} times")


def _pieces(response: requests.Response, watchdog: Watchdog, max_bytes: float) -> Iterator[bytes]:
    announced = response.headers.get("content-length", "")
    is_known = re.fullmatch(r"\d{1,18}", announced, re.ASCII) and "transfer-encoding" not in response.headers
    expected = int(announced) if is_known else None
    if expected is not None and expected > max_bytes:
        raise _too_large(max_bytes)
    received, waiting, size = 0, [], 0
    for piece in _reads(response, watchdog):
        received += len(piece)
        if received > max_bytes:
            raise _too_large(max_bytes)
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(waiting)
            waiting, size = [], 0
    if expected is not None and received != expected:
        raise DownloadError(f"the download broke off: {received} of {expected} bytes")
    yield b"".join(waiting)


def _reads(response: requests.Response, watchdog: Watchdog) -> Iterator[bytes]:
    """Yield the bytes of each read, not decoded, while the host is fast enough."""
    in_window, left = 0, SPEED_WINDOW
    slow = f"the download broke off: less than {MIN_SPEED} bytes/s over {SPEED_WINDOW:g} s"
    while True:
        failure, began = "", time.monotonic()
        watchdog.limit(left)
        try:
            piece: bytes = response.raw.read1(CHUNK, decode_content=False)
        except _ERRORS as error:
            failure = f"the download broke off: {_words(error)}"
        watchdog.limit(math.inf)
        if watchdog.is_expired or failure:
            raise DownloadError(slow if watchdog.is_expired else failure)
        if not piece:
            return
        # The time in which the caller writes does not count.
        left -= time.monotonic() - began
        in_window += len(piece)
        if in_window >= MIN_SPEED * SPEED_WINDOW:
            in_window, left = 0, SPEED_WINDOW
        yield piece


class _Adapter(RoutedAdapter):
    """Connections without limits of their own. They go to public addresses only, if the settings say so."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        if not self._settings.allow_private_hosts:
            self.poolmanager.pool_classes_by_scheme = PUBLIC_POOLS

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        # A proxy resolves names itself. An address is checked here in either case.
        host = urlsplit(request.url or "").hostname or ""
        if not self._settings.allow_private_hosts and not may_be_public(host):
            raise private_host_error(host)
        return super().send(request, *args, **kwargs)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Prevent requests from sending a user name that is part of the URL."""
    return request


def _too_large(max_bytes: float) -> VideoTooLargeError:
    return VideoTooLargeError(
        f"the video is larger than {max_bytes:,.0f} bytes; raise [grokvideo] max_video_bytes to save it"
    )


@contextmanager
def _queries_hidden_in_logs() -> Iterator[None]:
    """Remove the queries of URLs, which contain signatures, from urllib3's log records of this thread."""
    thread = threading.get_ident()

    def hide(record: logging.LogRecord) -> bool:
        if threading.get_ident() == thread and isinstance(record.args, tuple):
            record.args = tuple(_without_query(value) if isinstance(value, str) else value for value in record.args)
        return True

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(hide)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(hide)


def _without_query(text: str) -> str:
    start, mark, _ = text.partition("?")
    return f"{start}{mark}{'…' if mark else ''}"


_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (requests.ConnectTimeout, "timed out while connecting"),
    (requests.Timeout, "timed out"),
    (urllib3.exceptions.TimeoutError, "timed out"),
    (requests.exceptions.SSLError, "TLS failed"),
    (requests.exceptions.ProxyError, "the proxy failed"),
    (requests.exceptions.InvalidURL, "the URL is not valid"),
    (OSError, "the connection failed"),
    (BaseException, "the answer is not HTTP"),
)


def _words(error: BaseException) -> str:
    """Return the reason of a failure, without the URL."""
    words = next(words for kind, words in _WORDS if isinstance(error, kind))
    cause = error
    while (inner := _cause(cause)) is not None:
        cause = inner
    return f"{words} ({getattr(cause, 'strerror', None) or type(cause).__name__})"


def _cause(error: BaseException) -> BaseException | None:
    for candidate in (getattr(error, "reason", None), *error.args, error.__cause__):
        if isinstance(candidate, BaseException) and candidate is not error:
            return candidate
    return None
