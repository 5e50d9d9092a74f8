"""The async client, for triggers, on aiohttp. It only asks; nothing here can submit.

All waits of one process that use the same settings share one client: one session, one pace.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import aiohttp
import certifi
from yarl import URL

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.pacing import Pace, Queue
from airflow_provider_grokvideo.api.protocol import Answer, Settings
from airflow_provider_grokvideo.exceptions import TransportError

TOO_MANY_REQUESTS = 429
MAX_CONNECTIONS = 64
"""Requests under way at once. Each may need a TLS handshake first, and the event loop serves all waits."""
KEEP_ALIVE = 75.0
"""Seconds an idle connection is kept: longer than the longest pause between polls, to spare handshakes."""


class AsyncGrokVideoClient:
    """Asks the API at one address with one key. Get one from :func:`shared_client`.

    :param settings: address, key and how to reach it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.users = 0
        self._queue = Queue(Pace(settings.max_requests_per_second), MAX_CONNECTIONS)
        self._headers = protocol.headers(settings)
        self._proxy = settings.proxy or _environment_proxy(settings.base_url)
        self._session: aiohttp.ClientSession | None = None
        self._opening: asyncio.Lock = asyncio.Lock()

    def watch(self, request_id: str) -> Watch:
        """What asks about one generation again and again."""
        return Watch(self, request_id)

    async def get_generation(self, request_id: str) -> Generation:
        """Ask once how a generation is doing, when it is this client's turn.

        :raises TransportError: no answer.
        :raises ApiError: what the API said instead.
        """
        return await self.watch(request_id).poll()

    async def get(self, url: URL) -> Answer:
        """One GET, when it is its turn.

        :raises TransportError: no answer.
        """
        try:
            session = self._session or await self._open()
        except OSError as error:
            reason = f"{error.strerror or error} (verify={self.settings.verify!r})"
            raise TransportError(f"TLS cannot be set up: {reason}", delivered=False) from error
        sent_at = await self._queue.turn()
        try:
            async with session.get(url, allow_redirects=False, proxy=self._proxy) as response:
                answer = Answer(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise TransportError(f"no answer from {url}: {reason}", delivered=True) from error
        finally:
            self._queue.leave()
        if answer.status == TOO_MANY_REQUESTS:
            self._queue.refused(sent_at, protocol.retry_after(answer.headers))
        return answer

    async def close(self) -> None:
        """Give the connections back."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _open(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                # Reading the CA file takes tens of milliseconds, which the event loop does not have.
                context = await asyncio.to_thread(_ssl_context, self.settings.verify)
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=context, limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE),
                    headers={**self._headers, "Accept-Encoding": "identity"},
                    timeout=aiohttp.ClientTimeout(total=self.settings.request_timeout),
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            return self._session


class Watch:
    """One generation, asked about many times: its URL is made once, and an answer that stays the same is read once.

    :param client: asks.
    :param request_id: the generation.
    """

    __slots__ = ("_answer", "_generation", "_url", "client", "request_id")

    def __init__(self, client: AsyncGrokVideoClient, request_id: str) -> None:
        self.client = client
        self.request_id = request_id
        self._url = URL(protocol.poll_url(client.settings, request_id), encoded=True)
        self._answer: tuple[int, bytes] | None = None
        self._generation: Generation | None = None

    async def poll(self) -> Generation:
        """Ask once.

        :raises TransportError: no answer.
        :raises ApiError: what the API said instead.
        """
        answer = await self.client.get(self._url)
        said = (answer.status, answer.body)
        if self._generation is None or said != self._answer:
            self._generation = protocol.read_poll(self.client.settings, self.request_id, answer)
            self._answer = said
        return self._generation


_clients: dict[tuple[asyncio.AbstractEventLoop, Settings], AsyncGrokVideoClient] = {}


@asynccontextmanager
async def shared_client(settings: Settings) -> AsyncIterator[AsyncGrokVideoClient]:
    """The client of all waits with these settings: opened by the first, closed after the last.

    :raises AuthenticationError: the settings hold no usable key.
    """
    key = (asyncio.get_running_loop(), settings)
    client = _clients.get(key)
    if client is None:
        client = _clients[key] = AsyncGrokVideoClient(settings)
    client.users += 1
    try:
        yield client
    finally:
        client.users -= 1
        if client.users == 0:
            del _clients[key]
            await client.close()


def _environment_proxy(base_url: str) -> str | None:
    """The proxy that HTTPS_PROXY and its kin name, looked up once: aiohttp would do so at every request."""
    url = URL(base_url)
    if proxy_bypass(url.host or ""):
        return None
    return getproxies().get(url.scheme)


def _ssl_context(verify: bool | str) -> ssl.SSLContext:
    """Trusts what requests trusts."""
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    chosen = verify if isinstance(verify, str) else None
    trusted = chosen or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    if Path(trusted).is_dir():
        return ssl.create_default_context(capath=trusted)
    return ssl.create_default_context(cafile=trusted)
