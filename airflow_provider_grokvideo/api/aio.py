"""Async client of triggers, on aiohttp. It only polls and cannot submit.

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
"""Maximum requests in flight. Each can need a TLS handshake, and the event loop serves all waits."""
KEEP_ALIVE = 75.0
"""Seconds an idle connection is kept: longer than the longest pause between polls, to avoid TLS handshakes."""


class AsyncGrokVideoClient:
    """Client of one API address with one key. :func:`shared_client` returns it.

    :param settings: address, key, proxy and certificates.
    :raises InvalidRequestError: the proxy cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._refcount = 0
        self._limiter = RateLimiter(AdaptiveRate(settings.max_requests_per_second), MAX_CONNECTIONS)
        # Passed with each request: aiohttp would send the headers of a session, with the key, to a proxy, too.
        headers = CIMultiDict({**protocol.headers(settings), "Accept-Encoding": "identity"})
        # Resolved once: aiohttp would read the environment for every request.
        self._route = resolve_route(settings.base_url, proxy=settings.proxy, verify=settings.verify, environ=os.environ)
        check_socks_support(self._route.proxy)
        proxy_options = _proxy_options(self._route.proxy)
        if proxy_options and settings.base_url.startswith("http:"):
            # aiohttp itself sends them only when it opens a tunnel.
            headers.update(proxy_options["proxy_headers"])
        self._request_options = {"headers": headers, **proxy_options}
        self._session: aiohttp.ClientSession | None = None
        self._opening: asyncio.Lock = asyncio.Lock()

    def prepare_poll(self, request_id: str) -> PollRequest:
        """Return the poll of one generation, to be sent repeatedly."""
        return PollRequest(self, request_id)

    async def get_generation(self, request_id: str) -> Generation:
        """Poll a generation once, as soon as the rate limit allows it.

        :raises TransportError: there was no response.
        :raises ApiError: the API returned an error.
        """
        return await self.prepare_poll(request_id).send()

    async def get(self, url: URL) -> HTTPResponse:
        """Send one GET as soon as the rate limit allows it, and read the response within ``request_timeout``.

        :raises TransportError: there was no response.
        """
        session = self._session or await self._open()
        sent_at = await self._limiter.acquire()
        try:
            async with session.get(url, allow_redirects=False, **self._request_options) as response:
                answer = HTTPResponse(response.status, response.headers, *await _read_body(response))
        except Exception as error:  # The libraries do not document what they raise for malformed responses.
            reason = _describe(error)
        else:
            reason = ""
        finally:
            self._limiter.release()
        if reason:
            # Outside the handler: the library's error can contain a password and would be the context.
            raise protocol.no_response_error(self.settings, str(url), reason)
        if answer.status == TOO_MANY_REQUESTS:
            self._limiter.refused(sent_at, protocol.retry_after(answer.headers))
        return answer

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                try:
                    # In a thread: reading the CA file would block the event loop for tens of milliseconds.
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
                    # As in the blocking client.
                    max_line_size=MAX_LINE,
                    max_field_size=MAX_LINE,
                )
            return self._session


class PollRequest:
    """Poll of one generation. The URL is made once, and a response that does not change is parsed once.

    :param client: the client that sends it.
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
        """Poll once.

        :raises TransportError: there was no response.
        :raises ApiError: the API returned an error.
        """
        answer = await self.client.get(self._url)
        # A digest, because thousands of waits would keep thousands of bodies.
        digest = hashlib.blake2b(answer.body, digest_size=16, salt=answer.status.to_bytes(16, "big")).digest()
        if self._generation is None or digest != self._digest or answer.body_error:
            self._generation = protocol.read_poll(self.client.settings, self.request_id, answer)
            self._digest = digest
        return self._generation


_clients: dict[tuple[asyncio.AbstractEventLoop, Settings], AsyncGrokVideoClient] = {}


@asynccontextmanager
async def shared_client(settings: Settings) -> AsyncIterator[AsyncGrokVideoClient]:
    """Return the client that all waits with these settings share. The first opens it, the last closes it.

    :raises AuthenticationError: the settings contain no valid key.
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
    """Return a context with the same trusted certificates as the worker's."""
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
    """Return the reason of a failure, without secrets."""
    words = next(words for kind, words in _FAILURES if isinstance(error, kind))
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"{words} (HTTP {error.status} from the proxy)"
    return describe_failure(words, error)
