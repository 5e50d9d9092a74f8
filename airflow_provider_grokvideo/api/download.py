"""The streamed download of a finished video: bounded in time and size, without credentials, byte for byte.

The host of a video is not the API: the API names it, and it may redirect to any other.
"""

from __future__ import annotations

import http.client
import ipaddress
import logging
import math
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from urllib3.util.connection import create_connection

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
_TICK = 0.25
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_EXPIRED_URL_STATUSES = frozenset({401, 403, 404, 410})
"""What a host answers when a signed URL has expired."""
_LOGGERS = ("urllib3.connectionpool", "urllib3.poolmanager", "urllib3.util.retry")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ERRORS = (OSError, ValueError, http.client.HTTPException, urllib3.exceptions.HTTPError)
"""What requests, urllib3 and the standard library raise for a host that answers nonsense, or not at all."""


class VideoTooLargeError(DownloadError):
    """The video is larger than allowed. Downloading it again does not help."""


@contextmanager
def open_video(url: str, settings: Settings, *, max_bytes: float = math.inf) -> Iterator[Iterator[bytes]]:
    """GET a video, and yield its bytes as they come, in pieces of about ``CHUNK``.

    :param settings: their proxy and certificates are used here, too, and not their key. ``request_timeout`` is for the
        time until the headers are there, redirects included, and between two bytes.
    :raises DownloadError: the video does not come, or not as a whole. Neither the URL's query nor what the host
        sent instead is in it.
    """
    with ExitStack() as stack:
        stack.enter_context(_queries_hidden_in_logs())
        watchdog = stack.enter_context(_Watchdog())
        adapter = _Adapter(watchdog, settings)
        stack.callback(adapter.close)
        timeout = settings.request_timeout
        watchdog.expect(timeout, f"timed out: no answer from the video's host within {timeout:g} s")
        response = stack.enter_context(_follow(adapter, url, timeout, watchdog))
        watchdog.pause()
        if response.status_code != requests.codes.ok:
            expired = " (the URL has expired)" if response.status_code in _EXPIRED_URL_STATUSES else ""
            raise DownloadError(f"the video's host answers HTTP {response.status_code}{expired}")
        yield _pieces(response, watchdog, max_bytes)


def _follow(adapter: _Adapter, url: str, timeout: float, watchdog: _Watchdog) -> requests.Response:
    """Return the first answer that is no redirection. Each request is made anew, without what came before."""
    for _ in range(MAX_REDIRECTS + 1):
        response, failure = None, ""
        try:
            if urlsplit(url).scheme not in {"http", "https"}:
                raise DownloadError("the video's URL is not an http(s) URL")
            # Not by a session: it reads the body of a redirection, and sends what it finds in a .netrc file.
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
            failure = watchdog.reason or f"no answer from the video's host: {_words(error)}"
        if failure:
            # Not in the handler: the error that is handled there names the signed URL.
            raise DownloadError(failure)
    raise DownloadError(f"the video's host redirects more than {MAX_REDIRECTS} times")


def _pieces(response: requests.Response, watchdog: _Watchdog, max_bytes: float) -> Iterator[bytes]:
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


def _reads(response: requests.Response, watchdog: _Watchdog) -> Iterator[bytes]:
    """Yield what each read brings, undecoded, as long as it comes fast enough."""
    in_window, left = 0, SPEED_WINDOW
    slow = f"the download broke off: less than {MIN_SPEED} bytes/s over {SPEED_WINDOW:g} s"
    while True:
        failure, began = "", time.monotonic()
        watchdog.expect(left, slow)
        try:
            piece: bytes = response.raw.read1(CHUNK, decode_content=False)
        except _ERRORS as error:
            failure = f"the download broke off: {_words(error)}"
        watchdog.pause()
        if watchdog.reason or failure:
            raise DownloadError(watchdog.reason or failure)
        if not piece:
            return
        # Time that the caller takes to write is not the host's.
        left -= time.monotonic() - began
        in_window += len(piece)
        if in_window >= MIN_SPEED * SPEED_WINDOW:
            in_window, left = 0, SPEED_WINDOW
        yield piece


class _Watchdog:
    """Breaks off a connection that keeps the worker waiting for too long.

    Timeouts of sockets bound the time between two bytes only. Here another thread shuts the connection down, which
    wakes the one that reads, wherever it waits: in the TLS handshake, in the headers, or in the length of a chunk.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._expectation: tuple[float, str] = (math.inf, "")
        self._connections: list[socket.socket] = []
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="grokvideo-watchdog", daemon=True)

    def __enter__(self) -> _Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        self._thread.join()
        for connection in self._connections:
            connection.close()

    def expect(self, seconds: float, otherwise: str) -> None:
        """Break off in that time, for that reason, unless another call comes first."""
        self._expectation = (time.monotonic() + seconds, otherwise)

    def pause(self) -> None:
        """Expect nothing."""
        self._expectation = (math.inf, "")

    def watch(self, connection: socket.socket) -> None:
        """Include a connection. TLS takes its descriptor over, so that a copy is kept."""
        with self._lock:
            self._connections.append(connection.dup())
            if self.reason:
                self._shut_down()

    def _run(self) -> None:
        while not self._stopped.wait(_TICK):
            deadline, reason = self._expectation
            if time.monotonic() > deadline:
                with self._lock:
                    self.reason = reason
                    self._shut_down()
                return

    def _shut_down(self) -> None:
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Adapter(RoutedAdapter):
    """Connections that a watchdog knows, and that go to public addresses only, if so wanted."""

    def __init__(self, watchdog: _Watchdog, settings: Settings) -> None:
        self._watchdog = watchdog
        self._allow_private_hosts = settings.allow_private_hosts
        super().__init__(settings)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager, is_direct=True)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            self._watch(manager, is_direct=False)
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        # A proxy looks names up itself; that it refuses private ones is its matter. Addresses are told here.
        host = urlsplit(request.url or "").hostname or ""
        if not self._allow_private_hosts and not _may_be_public(host):
            raise _private_host(host)
        return super().send(request, *args, **kwargs)

    def _watch(self, manager: Any, *, is_direct: bool) -> None:
        checked = is_direct and not self._allow_private_hosts
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": self._connection(pool.ConnectionCls, checked)})
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def _connection(self, base: type[Any], checked: bool) -> type[Any]:
        watchdog = self._watchdog

        class WatchedConnection(base):
            def _new_conn(self) -> socket.socket:
                connection: socket.socket = _connect_to_public(self) if checked else super()._new_conn()
                watchdog.watch(connection)
                return connection

        return WatchedConnection


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from sending a user that stands in the URL."""
    return request


def _connect_to_public(connection: Any) -> socket.socket:
    """Connect to the first public address of a host. It is looked up once, so that no second answer can differ."""
    found = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found if _may_be_public(str(entry[4][0]))]
    if not addresses:
        raise _private_host(connection.host)
    failure: OSError | None = None
    for address in addresses:
        try:
            return create_connection(
                (address, connection.port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failure = error
    raise failure or OSError("no address")


def _may_be_public(host: str) -> bool:
    """Return whether a host is a public address, or a name, which is not looked up here."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            # Also 127.1 and 0x7f000001, which the resolver takes for addresses.
            address = ipaddress.ip_address(socket.inet_aton(host))
        except (OSError, ValueError):
            return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return address.is_global and not address.is_multicast


def _private_host(host: str) -> DownloadError:
    return DownloadError(
        f"the video's host {host!r} has no public address; the connection's allow_private_hosts=false refuses others"
    )


def _too_large(max_bytes: float) -> VideoTooLargeError:
    return VideoTooLargeError(
        f"the video is larger than {max_bytes:,.0f} bytes; raise [grokvideo] max_video_bytes to save it"
    )


@contextmanager
def _queries_hidden_in_logs() -> Iterator[None]:
    """Keep what urllib3 logs of this thread's requests free of the queries of URLs, which hold signatures."""
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
    """Return what went wrong, without the URL."""
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
