"""Real proxies that note their targets: HTTP with CONNECT, SOCKS 4, 4a and 5."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class ProxyServer:
    """A proxy in a thread of its own. Use it as a context manager.

    :param kind: ``http``, ``socks5`` or ``socks4``.
    :param login: the user and password it wants.
    :param ssl_context: to be reached by TLS.
    :param redirect_to: the port of 127.0.0.1 that stands for every target; the target itself where it is ``None``.
    """

    def __init__(
        self,
        kind: str = "http",
        *,
        login: tuple[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        redirect_to: int | None = None,
    ) -> None:
        self.targets: list[tuple[str, int]] = []
        self.port = 0
        self._kind, self._login, self._ssl_context, self._redirect_to = kind, login, ssl_context, redirect_to
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._ssl_context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # Cancelled only by the end of the server, which asyncio would report as an error.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await {"http": self._http, "socks5": self._socks5, "socks4": self._socks4}[self._kind](reader, writer)
        finally:
            writer.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ", 2)
        if self._login:
            wanted = base64.b64encode(":".join(self._login).encode("latin-1")).decode()
            if f"proxy-authorization: basic {wanted}".lower() not in [field.lower() for field in fields]:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        far = await self._connect(parts.hostname or "", parts.port or 80)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            far[1].write(head)
        await _relay(reader, writer, *far)

    async def _socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        wanted = 2 if self._login else 0
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, wanted]))
        if self._login:
            _, size = await reader.readexactly(2)
            user = (await reader.readexactly(size)).decode()
            (size,) = await reader.readexactly(1)
            password = (await reader.readexactly(size)).decode()
            if (user, password) != self._login:
                writer.write(b"\x01\x01")
                return
            writer.write(b"\x01\x00")
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            (size,) = await reader.readexactly(1)
            host = (await reader.readexactly(size)).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2))
        far = await self._connect(host, port)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await _relay(reader, writer, *far)

    async def _socks4(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(8)
        await reader.readuntil(b"\x00")
        host = str(ipaddress.ip_address(head[4:8]))
        if head[4:7] == bytes(3):  # 4a: the name follows.
            host = (await reader.readuntil(b"\x00"))[:-1].decode()
        far = await self._connect(host, int.from_bytes(head[2:4]))
        writer.write(b"\x00\x5a" + bytes(6))
        await _relay(reader, writer, *far)

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.targets.append((host, port))
        if self._redirect_to is not None:
            host, port = "127.0.0.1", self._redirect_to
        return await asyncio.open_connection(host, port)


async def _relay(
    near: asyncio.StreamReader,
    near_writer: asyncio.StreamWriter,
    far: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    await asyncio.gather(copy(near, far_writer), copy(far, near_writer))
