"""The async client, for triggers, on aiohttp. It only asks; nothing here can submit.

All waits of one process that use the same settings share one client: one session, one rate.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import certifi
from multidict import CIMultiDict
from yarl import URL

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.exchange import (
    CONNECTION_FAILED,
    MAX_LINE,
    BodyReader,
    HTTPResponse,
    describe_failure,
)
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.network import Proxy, check_socks_support, resolve_route
from airflow_provider_grokvideo.api.rate_limit import AdaptiveRate, RateLimiter
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import TransportError

TOO_MANY_REQUESTS = 429
MAX_CONNECTIONS = 64
"""Requests under way at once. Each may need a TLS handshake first, and the event loop serves all waits."""
KEEP_ALIVE = 75.0
"""Seconds an idle connection is kept: longer than the longest pause between polls, to spare handshakes."""


class AsyncGrokVideoClient:
    """Asks the API at one address with one key. Get one from :func:`shared_client`.

    :param settings: address, key and how to reach it.
    :raises InvalidRequestError: the proxy cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._refcount = 0
        self._limiter = RateLimiter(AdaptiveRate(settings.max_requests_per_second), MAX_CONNECTIONS)
        # Given with each request: aiohttp would send a session's headers, and with them the key, to a proxy, too.
        headers = CIMultiDict({**protocol.headers(settings), "Accept-Encoding": "identity"})
        # Once: aiohttp would look at the environment for every request.
        self._route = resolve_route(settings.base_url, proxy=settings.proxy, verify=settings.verify, environ=os.environ)
        check_socks_support(self._route.proxy)
        proxy_options = _proxy_options(self._route.proxy)
        if proxy_options and settings.base_url.startswith("http:"):
            # aiohttp sends these itself only where it asks for a tunnel.
            headers.update(proxy_options["proxy_headers"])
        self._request_options = {"headers": headers, **proxy_options}
        self._session: aiohttp.ClientSession | None = None
        self._opening: asyncio.Lock = asyncio.Lock()

    def prepare_poll(self, request_id: str) -> PollRequest:
        """Return what asks about one generation again and again."""
        return PollRequest(self, request_id)

    async def get_generation(self, request_id: str) -> Generation:
        """Ask once how a generation is doing, when it is this client's turn.

        :raises TransportError: no answer.
        :raises ApiError: what the API said instead.
        """
        return await self.prepare_poll(request_id).send()

    async def get(self, url: URL) -> HTTPResponse:
        """Send one GET, when it is its turn, and read the response within ``request_timeout``.

        :raises TransportError: no answer.
        """
        session = self._session or await self._open()
        sent_at = await self._limiter.acquire()
        try:
            async with session.get(url, allow_redirects=False, **self._request_options) as response:
                answer = HTTPResponse(response.status, response.headers, *await _read_body(response))
        except Exception as error:  # What the libraries raise on hostile answers is not documented, and not all theirs.
            reason = _describe(error)
        else:
            reason = ""
        finally:
            self._limiter.release()
        if reason:
            # Not within the handler: the library's error may quote a password, and would be this one's context.
            raise protocol.no_response_error(self.settings, str(url), reason)
        if answer.status == TOO_MANY_REQUESTS:
            self._limiter.refused(sent_at, protocol.retry_after(answer.headers))
        return answer

    async def close(self) -> None:
        """Give the connections back."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                try:
                    # Reading the CA file takes tens of milliseconds, which the event loop does not have.
                    context = await asyncio.to_thread(_ssl_context, self._route.verify)
                except OSError as error:
                    raise TransportError(
                        f"TLS cannot be set up: {error.strerror or type(error).__name__} "
                        f"({self._route.verify_source}={self._route.verify!r}).",
                        delivered=False,
                    ) from error
                self._session = aiohttp.ClientSession(
                    connector=_connector(self._route.proxy, context),
                    timeout=aiohttp.ClientTimeout(total=self.settings.request_timeout),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    # What the worker takes, the triggerer must take, too.
                    max_line_size=MAX_LINE,
                    max_field_size=MAX_LINE,
                )
            return self._session


class PollRequest:
    """The poll of one generation: its URL is made once, and an answer that stays the same is parsed once.

    :param client: sends it.
    :param request_id: the generation.
    """

    __slots__ = ("_digest", "_generation", "_url", "client", "request_id")

    def __init__(self, client: AsyncGrokVideoClient, request_id: str) -> None:
        self.client = client
        self.request_id = request_id
        self._url = URL(protocol.poll_url(client.settings, request_id), encoded=True)
        self._digest = b""
        self._generation: Generation | None = None

    async def send(self) -> Generation:
        """Ask once.

        :raises TransportError: no answer.
        :raises ApiError: what the API said instead.
        """
        answer = await self.client.get(self._url)
        # Thousands of waits would keep thousands of bodies.
        digest = hashlib.blake2b(answer.body, digest_size=16, salt=answer.status.to_bytes(16, "big")).digest()
        if self._generation is None or digest != self._digest or answer.body_error:
            self._generation = protocol.read_poll(self.client.settings, self.request_id, answer)
            self._digest = digest
        return self._generation


_clients: dict[tuple[asyncio.AbstractEventLoop, Settings], AsyncGrokVideoClient] = {}


@asynccontextmanager
async def shared_client(settings: Settings) -> AsyncIterator[AsyncGrokVideoClient]:
    """Share the client of all waits with these settings: the first opens it, the last closes it.

    :raises AuthenticationError: the settings hold no usable key.
    """
    key = (asyncio.get_running_loop(), settings)
    client = _clients.get(key)
    if client is None:
        client = _clients[key] = AsyncGrokVideoClient(settings)
    client._refcount += 1
    try:
        yield client
    finally:
        client._refcount -= 1
        if client._refcount == 0:
            del _clients[key]
            await client.close()


async def _read_body(response: aiohttp.ClientResponse) -> tuple[bytes, str]:
    reader, content = BodyReader(response.headers), response.content
    while not content.at_eof():
        if not reader.feed(await content.readany()):
            response.close()
            break
    return reader.finish()


def _proxy_options(proxy: Proxy | None) -> dict[str, Any]:
    if proxy is None or proxy.is_socks:
        return {}
    return {"proxy": URL(proxy.url), "proxy_headers": proxy.headers}


def _connector(proxy: Proxy | None, context: ssl.SSLContext) -> aiohttp.TCPConnector:
    options: dict[str, Any] = {"ssl": context, "limit": MAX_CONNECTIONS, "keepalive_timeout": KEEP_ALIVE}
    if proxy is None or not proxy.is_socks:
        return aiohttp.TCPConnector(**options)
    from aiohttp_socks import ProxyConnector, ProxyType

    connector: aiohttp.TCPConnector = ProxyConnector(
        proxy.host,
        proxy.port,
        ProxyType.SOCKS5 if proxy.scheme.startswith("socks5") else ProxyType.SOCKS4,
        username=proxy.username or None,
        password=proxy.password or None,
        rdns=proxy.is_resolver,
        **options,
    )
    return connector


def _ssl_context(verify: bool | str) -> ssl.SSLContext:
    """Return a context that trusts what the worker trusts."""
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    trusted = verify if isinstance(verify, str) else certifi.where()
    if Path(trusted).is_dir():
        return ssl.create_default_context(capath=trusted)
    return ssl.create_default_context(cafile=trusted)


_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ConnectionTimeoutError, "timed out while connecting"),
    (TimeoutError, "timed out while waiting for the answer"),
    (aiohttp.ClientSSLError, "TLS failed"),
    (aiohttp.ClientProxyConnectionError, "the proxy failed"),
    (aiohttp.ClientHttpProxyError, "the proxy failed"),
    (Exception, CONNECTION_FAILED),
)


def _describe(error: Exception) -> str:
    """Return what went wrong, without anything secret."""
    words = next(words for kind, words in _FAILURES if isinstance(error, kind))
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{words} (HTTP {error.status} from the proxy)"
    return describe_failure(words, error)
