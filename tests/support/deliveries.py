"""A server that ends a connection at an exact stage of a submission, and a client that submits to it."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import GrokVideoError

ID = "a3d1008e-4544-40d4-d075-11527e794e4a"
ANSWER = json.dumps({"request_id": ID}).encode()
KEY = "sk-Zq81xTopSecretKey"
PATIENCE = 20.0
# More than the buffers between two sockets hold, so that it cannot all be sent before it is read.
LARGE = VideoRequest(prompt="p" * 20_000_000)
SMALL = VideoRequest(prompt="p")


@dataclass
class Exchange:
    """One connection that the server accepted."""

    connection: socket.socket
    received: bytes = b""

    def read_headers(self) -> None:
        """Read up to the end of the headers, byte by byte, and nothing of the body."""
        while not self.received.endswith(b"\r\n\r\n"):
            byte = self.connection.recv(1)
            if not byte:
                return
            self.received += byte

    @property
    def length(self) -> int:
        """The length of the body as the headers tell it."""
        head = self.received.partition(b"\r\n\r\n")[0].lower()
        return int(head.partition(b"content-length:")[2].split(b"\r\n")[0])

    def read_body(self, share: float = 1.0) -> None:
        """Read this share of the body."""
        left = int(self.length * share)
        while left > 0:
            piece = self.connection.recv(min(left, 65536))
            if not piece:
                return
            self.received += piece
            left -= len(piece)

    def send(self, content: bytes) -> None:
        """Send the content."""
        self.connection.sendall(content)

    def reset(self) -> None:
        """Close at once, with a reset."""
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


Script = Callable[[Exchange], None]


@dataclass
class RawServer:
    """A server that plays a script for every connection, and counts."""

    script: Script
    context: ssl.SSLContext | None = None
    exchanges: list[Exchange] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        # Wakes the thread from its wait for a connection.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._thread.join(PATIENCE)
        self._listener.close()

    @property
    def posts(self) -> int:
        """How many POSTs have begun to arrive."""
        return sum(exchange.received.count(b"POST /grok/v1/videos/generations") for exchange in self.exchanges)

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._ended.is_set():
                connection.close()
                return
            connection.settimeout(PATIENCE)
            try:
                if self.context is not None:
                    connection = self.context.wrap_socket(connection, server_side=True)
                exchange = Exchange(connection)
                self.exchanges.append(exchange)
                self.script(exchange)
            except OSError:
                pass
            finally:
                connection.close()


def respond(exchange: Exchange, content: bytes = ANSWER, *, promised: int | None = None) -> None:
    """Send an answer; ``promised`` is the length that its headers tell."""
    length = len(content) if promised is None else promised
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    exchange.send(head.encode() + content)


def accept_all(exchange: Exchange) -> None:
    """Behave."""
    exchange.read_headers()
    exchange.read_body()
    respond(exchange)


def close_after_half_the_body(exchange: Exchange) -> None:
    """Reset amid the body."""
    exchange.read_headers()
    exchange.read_body(0.5)
    exchange.reset()


def close_after_the_body(exchange: Exchange) -> None:
    """Close without an answer."""
    exchange.read_headers()
    exchange.read_body()


def reset_after_the_body(exchange: Exchange) -> None:
    """Reset without an answer."""
    exchange.read_headers()
    exchange.read_body()
    exchange.reset()


def half_the_answer(exchange: Exchange) -> None:
    """Promise the whole answer and send half of it."""
    accept_all_but_answer(exchange)
    respond(exchange, ANSWER[: len(ANSWER) // 2], promised=len(ANSWER))


def half_the_answer_unpromised(exchange: Exchange) -> None:
    """Send half the answer and close, without ever having told its length."""
    accept_all_but_answer(exchange)
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + ANSWER[: len(ANSWER) // 2])


def half_the_headers(exchange: Exchange) -> None:
    """Send half the headers and close."""
    accept_all_but_answer(exchange)
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Ty")


def half_the_status_line(exchange: Exchange) -> None:
    """Send half the status line and close."""
    accept_all_but_answer(exchange)
    exchange.send(b"HTTP/1.")


def half_a_chunk(exchange: Exchange) -> None:
    """Send a chunked answer that ends amid a chunk."""
    accept_all_but_answer(exchange)
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30\r\n" + ANSWER[:10])


def no_http(exchange: Exchange) -> None:
    """HTTPResponse in another protocol."""
    accept_all_but_answer(exchange)
    exchange.send(b"220 mail.example.com ESMTP\r\n")


def silence(exchange: Exchange) -> None:
    """Take everything, say nothing, until the client hangs up."""
    accept_all_but_answer(exchange)
    select.select([exchange.connection], [], [], PATIENCE)


def accept_all_but_answer(exchange: Exchange) -> None:
    """Read the whole request."""
    exchange.read_headers()
    exchange.read_body()


def submit(
    port: int, request: VideoRequest, *, timeout: float = PATIENCE, scheme: str = "http", verify: bool | str = True
) -> str:
    """Submit once."""
    settings = Settings(
        base_url=f"{scheme}://127.0.0.1:{port}/grok/v1", api_key=KEY, request_timeout=timeout, verify=verify
    )
    with GrokVideoClient(settings) as client:
        return client.submit(request)


def check_words(error: GrokVideoError) -> None:
    """Assert that the message is for people, and holds no secret."""
    assert KEY not in str(error)
    assert "object at 0x" not in str(error)
    assert len(str(error)) < 300
