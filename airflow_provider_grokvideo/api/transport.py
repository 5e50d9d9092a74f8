"""One HTTP exchange of the blocking client, on requests, limited in time and size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from requests.adapters import DEFAULT_POOLSIZE, HTTPAdapter
from urllib3 import PoolManager
from urllib3.exceptions import ReadTimeoutError

from airflow_provider_grokvideo.api.connections import POOLS, Watchdog, proxy_manager
from airflow_provider_grokvideo.api.exchange import (
    CONNECTION_FAILED,
    BodyReader,
    HTTPRequest,
    HTTPResponse,
    describe_failure,
)
from airflow_provider_grokvideo.api.network import check_socks_support, parse_proxy, resolve_route
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import GrokVideoError

READ_SIZE = 64 * 1024


class ExchangeError(Exception):
    """Error of an exchange without a complete response. The text is the reason, without secrets.

    :param body_sent: whether the connection had started to send the request's body.
    """

    def __init__(self, reason: str, *, body_sent: bool) -> None:
        super().__init__(reason)
        self.body_sent = body_sent


def exchange(adapter: RoutedAdapter, call: HTTPRequest, seconds: float) -> HTTPResponse:
    """Send a request and read the response within a time limit. Redirects, cookies and ``.netrc`` are ignored.

    :param adapter: the connections.
    :param seconds: maximum for connect, send and receive together. Only a name server that does not respond can exceed
        it: the system's resolver cannot be interrupted.
    :raises InvalidRequestError: the proxy cannot be used; nothing was sent.
    :raises ExchangeError: there was no complete response.
    """
    body = None if call.body is None else _TrackedBody(call.body)
    watchdog = Watchdog(seconds)
    try:
        with watchdog:
            response = _send(adapter, call, body, seconds)
            watchdog.check()
            return response
    except GrokVideoError:
        raise
    except Exception as error:  # The libraries do not document what they raise for malformed responses.
        reason = describe(error, watchdog)
    # Outside the handler: the library's error can contain a password and would be the context.
    raise ExchangeError(reason, body_sent=body is not None and body.is_started)


def _send(adapter: RoutedAdapter, call: HTTPRequest, body: _TrackedBody | None, seconds: float) -> HTTPResponse:
    headers = {"User-Agent": requests.utils.default_user_agent(), **call.headers, "Accept-Encoding": "identity"}
    # Not by a session: it reads the body of a redirect and parses its target even with allow_redirects=False.
    request = requests.Request(call.method, call.url, headers=headers, data=body).prepare()
    response = adapter.send(request, stream=True, timeout=seconds)
    with response:
        received = {name.lower(): value for name, value in response.headers.items()}
        reader = BodyReader(received)
        for piece in response.raw.stream(READ_SIZE, decode_content=False):
            if not reader.feed(piece):
                response.raw.close()
                break
        return HTTPResponse(response.status_code, received, *reader.finish())


class RoutedAdapter(HTTPAdapter):
    """Adapter that sends each request by the proxy and certificates of the settings and the environment.

    It also works mounted on a session, whose own proxies and certificates are ignored.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Create the pools of direct connections."""
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> PoolManager:
        """Return the pools of connections through a proxy."""
        manager: PoolManager | None = self.proxy_manager.get(proxy)
        if manager is None:
            manager = proxy_manager(parse_proxy(proxy, "use"), num_pools=DEFAULT_POOLSIZE, **options)
            self.proxy_manager[proxy] = manager
        return manager

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        """Set up the check of certificates, also of a proxy's certificate if the URL is plain HTTP."""
        super().cert_verify(conn, f"{conn.scheme}:", verify, cert)

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send one request.

        :raises InvalidRequestError: the proxy cannot be used; nothing was sent.
        """
        settings = self._settings
        route = resolve_route(request.url or "", proxy=settings.proxy, verify=settings.verify, environ=os.environ)
        check_socks_support(route.proxy)
        if isinstance(route.verify, str) and not Path(route.verify).exists():
            raise FileNotFoundError(0, f"{route.verify_source} names a CA file that does not exist: {route.verify}")
        proxies = {}
        if route.proxy is not None:
            proxies = dict.fromkeys(("http", "https"), route.proxy.secret_url)
        return super().send(request, *args, **{**options, "verify": route.verify, "proxies": proxies})


class _TrackedBody:
    """Request body that records whether the connection has started to send it.

    The exception does not tell: a TLS error, for example, can occur before the request or during the response.
    """

    def __init__(self, content: bytes) -> None:
        self.is_started = False
        self._content = content
        self._position = 0

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[bytes]:
        yield self.read()

    def read(self, size: int = -1) -> bytes:
        """Return the next piece."""
        self.is_started = True
        end = len(self._content) if size < 0 else self._position + size
        piece = self._content[self._position : end]
        self._position += len(piece)
        return piece


_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (requests.ConnectTimeout, "timed out while connecting"),
    (requests.ReadTimeout, "timed out while waiting for the answer"),
    (ReadTimeoutError, "timed out while waiting for the answer"),
    (TimeoutError, "timed out while waiting for the answer"),
    (requests.exceptions.SSLError, "TLS failed"),
    (requests.exceptions.ProxyError, "the proxy failed"),
    (FileNotFoundError, "TLS cannot be set up"),
    (Exception, CONNECTION_FAILED),
)


def describe(error: Exception, watchdog: Watchdog | None = None) -> str:
    """Return the reason of a failure, without secrets."""
    if watchdog is not None and watchdog.is_expired:
        return "timed out while waiting for the answer" if watchdog.is_connected else "timed out while connecting"
    words = next(words for kind, words in _FAILURES if isinstance(error, kind))
    return describe_failure(words, error)
