"""A server that sends any bytes at any pace, as a broken or hostile API or proxy does.

    with RawServer([b"HTTP/1.1 103 Early Hints\\r\\n\\r\\n", (b"HTTP/1.1 200 OK\\r\\n", 0.5), RESET]) as server:
        ask(server.url)
    assert len(server.requests) == 1

A script is any iterable of steps, or a function that returns one, for what never ends. A step is bytes to send, a tuple
of bytes and the seconds before they are sent, or one of ``CLOSE``, ``RESET``, ``HOLD`` and ``STALL``. Where a script
ends, the connection is closed. Each connection takes the next script; further ones take the last.
"""

from __future__ import annotations

import itertools
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Any, Self


class End(Enum):
    """How a connection ends."""

    CLOSE = "close"
    """In order, after what was sent."""
    RESET = "reset"
    """With a RST."""
    HOLD = "hold"
    """Not at all, until the client gives up or the server stops."""
    STALL = "stall"
    """Not at all, and nothing that the client sends is read."""


CLOSE, RESET, HOLD, STALL = End.CLOSE, End.RESET, End.HOLD, End.STALL

Step = bytes | tuple[bytes, float] | End
Script = Iterable[Step] | Callable[[], Iterable[Step]]


def response(status: int | str, body: bytes | object = b"", **headers: str) -> bytes:
    """Return a whole response. A body that is not bytes is sent as JSON; ``_`` in a header's name becomes ``-``.

    ``Content-Length`` is right unless given.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(content))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    line = f"{status} X" if isinstance(status, int) else status
    return f"HTTP/1.1 {line}\r\n{lines}\r\n".encode("latin-1") + content


def drip(data: bytes, seconds: float, size: int = 1) -> list[Step]:
    """Return the steps that send data in small pieces, with a pause before each."""
    return [(data[start : start + size], seconds) for start in range(0, len(data), size)]


def repeat(data: bytes, seconds: float = 0.0) -> Callable[[], Iterator[Step]]:
    """Return a script that sends the same data without end."""
    return lambda: itertools.repeat((data, seconds))


class RawServer:
    """Answers each connection by a script. Use it as a context manager.

    :param scripts: one per connection; the last is kept.
    :param ssl_context: for TLS.
    :param address: to listen at.
    :param reads: whether to read a whole request (headers, and the body they announce) before the script starts.
    """

    def __init__(
        self,
        *scripts: Script,
        ssl_context: ssl.SSLContext | None = None,
        reads: bool = True,
        address: str = "127.0.0.1",
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._scripts = scripts or ([HOLD],)
        self._ssl_context = ssl_context
        self._reads = reads
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        host = f"[{address}]" if ":" in address else address
        self.url = f"{'https' if ssl_context else 'http'}://{host}:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._start(self._serve, connection, script)

    def _serve(self, connection: socket.socket, script: Script) -> None:
        self._open.add(connection)
        try:
            if self._ssl_context:
                self._open.discard(connection)
                connection = self._ssl_context.wrap_socket(connection, server_side=True)
                self._open.add(connection)
            if self._reads:
                self.requests.append(_read_request(connection))
            self._play(connection, script() if callable(script) else script)
        except OSError:
            pass  # The client has had enough.
        finally:
            self._open.discard(connection)
            connection.close()

    def _play(self, connection: socket.socket, steps: Iterable[Step]) -> None:
        for step in steps:
            if step is RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if step is CLOSE:
                return
            if step is STALL:
                self._stopped.wait()
                return
            if step is HOLD:
                while connection.recv(65536):
                    pass
                return
            data, seconds = step if isinstance(step, tuple) else (step, 0.0)
            if seconds and self._stopped.wait(seconds):
                return
            connection.sendall(data)


def _read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    return head + b"\r\n\r\n" + body
