"""A submission whose connection ends at each stage: was it certainly not delivered, or can nobody tell?

The other side is a bare socket, so that each stage is where it says it is.
"""

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

import pytest

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import GrokVideoError, SubmissionUnknownError, TransportError

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
    """Plays a script for every connection, and counts."""

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


def test_whole_exchange_gives_the_id() -> None:
    with RawServer(accept_all) as server:
        assert submit(server.port, SMALL) == ID
        assert server.posts == 1
        assert json.loads(server.exchanges[0].received.partition(b"\r\n\r\n")[2]) == SMALL.body()


STAGES = [
    pytest.param(close_after_half_the_body, LARGE, id="half-the-body-read"),
    pytest.param(close_after_the_body, SMALL, id="body-read-then-closed"),
    pytest.param(reset_after_the_body, SMALL, id="body-read-then-reset"),
    pytest.param(half_the_status_line, SMALL, id="half-the-status-line-sent"),
    pytest.param(half_the_headers, SMALL, id="half-the-headers-sent"),
    pytest.param(half_the_answer, SMALL, id="half-the-answer-sent"),
    pytest.param(half_the_answer_unpromised, SMALL, id="half-the-answer-sent-without-length"),
    pytest.param(half_a_chunk, SMALL, id="half-a-chunk-sent"),
    pytest.param(no_http, SMALL, id="answer-in-another-protocol"),
]


@pytest.mark.parametrize(("script", "request_"), STAGES)
def test_connection_that_ends_once_the_body_is_under_way_is_unknown_and_not_repeated(
    script: Script, request_: VideoRequest
) -> None:
    with RawServer(script) as server:
        with pytest.raises(SubmissionUnknownError) as caught:
            submit(server.port, request_)
        check_words(caught.value)
    assert server.posts == 1
    assert len(server.exchanges) == 1


def test_answer_that_does_not_come_in_time_is_unknown_and_not_repeated() -> None:
    words = "timed out while waiting for the answer"
    with RawServer(silence) as server, pytest.raises(SubmissionUnknownError, match=words):
        submit(server.port, SMALL, timeout=0.3)
    assert server.posts == 1


def test_refused_connection_was_never_delivered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransportError, match="connection refused") as caught:
        submit(port, SMALL)
    assert caught.value.delivered is False
    check_words(caught.value)


def test_host_without_a_name_was_never_delivered() -> None:
    settings = Settings(base_url="https://no-such-host.invalid/v1", api_key=KEY, request_timeout=PATIENCE)
    with GrokVideoClient(settings) as client, pytest.raises(TransportError) as caught:
        client.submit(SMALL)
    assert caught.value.delivered is False
    check_words(caught.value)


def test_connection_that_nobody_takes_is_not_taken_for_undelivered() -> None:
    """The kernel accepts for the server and takes the body: it may yet be read, or not. Nobody can tell."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    try:
        with pytest.raises(SubmissionUnknownError):
            submit(port, SMALL, timeout=0.3)
    finally:
        listener.close()


def test_full_queue_of_a_server_was_never_delivered() -> None:
    """Connections beyond the backlog are not accepted even by the kernel: nothing can be sent."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        with pytest.raises(TransportError, match="timed out while connecting") as caught:
            submit(listener.getsockname()[1], SMALL, timeout=0.3)
    assert caught.value.delivered is False


def test_connection_closed_on_arrival_is_never_taken_for_accepted_nor_repeated() -> None:
    """Whether a byte of the body left before the reset came is a race; either verdict is honest."""
    with RawServer(Exchange.reset) as server:
        with pytest.raises((TransportError, SubmissionUnknownError)) as caught:
            submit(server.port, SMALL)
        assert getattr(caught.value, "delivered", False) is False
        check_words(caught.value)
    assert len(server.exchanges) == 1


def test_connection_reset_after_the_headers_of_a_large_body_is_not_repeated() -> None:
    def script(exchange: Exchange) -> None:
        exchange.read_headers()
        exchange.reset()

    with RawServer(script) as server:
        with pytest.raises((TransportError, SubmissionUnknownError)) as caught:
            submit(server.port, LARGE)
        check_words(caught.value)
    assert server.posts == 1


def test_early_refusal_of_a_large_body_is_read() -> None:
    """A server may answer 413 before it has read the body, and close."""

    def script(exchange: Exchange) -> None:
        exchange.read_headers()
        exchange.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        exchange.read_body()

    with RawServer(script) as server:
        with pytest.raises(GrokVideoError) as caught:
            submit(server.port, LARGE)
        check_words(caught.value)
        assert "413" in str(caught.value)
    assert server.posts == 1


# --- TLS ----------------------------------------------------------------------------------------------


def test_trusted_certificate_gives_the_id(ca_file: str, context: ssl.SSLContext) -> None:
    with RawServer(accept_all, context) as server:
        assert submit(server.port, SMALL, scheme="https", verify=ca_file) == ID
        assert submit(server.port, SMALL, scheme="https", verify=False) == ID
    assert server.posts == 2


def test_untrusted_certificate_was_never_delivered(context: ssl.SSLContext) -> None:
    with RawServer(accept_all, context) as server:
        with pytest.raises(TransportError, match="TLS failed") as caught:
            submit(server.port, SMALL, scheme="https")
        assert caught.value.delivered is False
        check_words(caught.value)
    assert server.posts == 0


def test_plain_server_asked_over_tls_was_never_delivered() -> None:
    def script(exchange: Exchange) -> None:
        exchange.connection.recv(100)
        exchange.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with RawServer(script) as server:
        with pytest.raises(TransportError) as caught:
            submit(server.port, SMALL, scheme="https")
        assert caught.value.delivered is False
    assert server.posts == 0


@pytest.mark.parametrize("answer", [b"", b"\x16\x03\x03\x00\x7a\x02\x00"], ids=["nothing", "half-a-server-hello"])
def test_handshake_that_is_cut_was_never_delivered(answer: bytes) -> None:
    def script(exchange: Exchange) -> None:
        exchange.received = exchange.connection.recv(10_000)
        exchange.send(answer)

    with RawServer(script) as server:
        with pytest.raises(TransportError) as caught:
            submit(server.port, SMALL, scheme="https")
        assert caught.value.delivered is False
        check_words(caught.value)
    assert len(server.exchanges) == 1


@pytest.mark.parametrize("script", [close_after_the_body, half_the_answer, reset_after_the_body])
def test_connection_that_ends_amid_tls_once_the_body_was_sent_is_unknown(
    script: Script, ca_file: str, context: ssl.SSLContext
) -> None:
    with RawServer(script, context) as server:
        with pytest.raises(SubmissionUnknownError) as caught:
            submit(server.port, SMALL, scheme="https", verify=ca_file)
        check_words(caught.value)
    assert server.posts == 1


def test_missing_ca_file_was_never_delivered() -> None:
    with RawServer(accept_all) as server:
        with pytest.raises(TransportError, match="TLS cannot be set up") as caught:
            submit(server.port, SMALL, scheme="https", verify="/no/such.pem")
        assert caught.value.delivered is False
    assert server.posts == 0


def test_proxy_that_refuses_was_never_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(exchange: Exchange) -> None:
        exchange.read_headers()
        exchange.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    with RawServer(script) as proxy:
        settings = Settings(
            base_url="https://api.x.ai/v1",
            api_key=KEY,
            request_timeout=PATIENCE,
            proxy=f"http://user:pr0xySecret@127.0.0.1:{proxy.port}",
        )
        with GrokVideoClient(settings) as client, pytest.raises(TransportError, match="the proxy failed") as caught:
            client.submit(SMALL)
        assert caught.value.delivered is False
        assert "pr0xySecret" not in str(caught.value)
    assert proxy.exchanges[0].received.startswith(b"CONNECT api.x.ai:443")
    assert KEY.encode() not in proxy.exchanges[0].received
