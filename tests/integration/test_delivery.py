"""A submission whose connection ends at each stage: certainly not delivered, or an unknown outcome.

The other side is a bare socket, so that each stage is where it says it is.
"""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import GrokVideoError, SubmissionUnknownError, TransportError
from tests.support.deliveries import (
    ID,
    KEY,
    LARGE,
    PATIENCE,
    SMALL,
    Exchange,
    RawServer,
    Script,
    accept_all,
    check_words,
    close_after_half_the_body,
    close_after_the_body,
    half_a_chunk,
    half_the_answer,
    half_the_answer_unpromised,
    half_the_headers,
    half_the_status_line,
    no_http,
    reset_after_the_body,
    silence,
    submit,
)


def test_submission_returns_the_id() -> None:
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
def test_connection_lost_in_the_body_is_an_unknown_outcome(script: Script, request_: VideoRequest) -> None:
    with RawServer(script) as server:
        with pytest.raises(SubmissionUnknownError) as caught:
            submit(server.port, request_)
        check_words(caught.value)
    assert server.posts == 1
    assert len(server.exchanges) == 1


def test_missing_answer_is_an_unknown_outcome() -> None:
    words = "timed out while waiting for the answer"
    with RawServer(silence) as server, pytest.raises(SubmissionUnknownError, match=words):
        submit(server.port, SMALL, timeout=0.3)
    assert server.posts == 1


def test_refused_connection_is_not_delivered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransportError, match="connection refused") as caught:
        submit(port, SMALL)
    assert caught.value.delivered is False
    check_words(caught.value)


def test_unresolvable_host_is_not_delivered() -> None:
    settings = Settings(base_url="https://no-such-host.invalid/v1", api_key=KEY, request_timeout=PATIENCE)
    with GrokVideoClient(settings) as client, pytest.raises(TransportError) as caught:
        client.submit(SMALL)
    assert caught.value.delivered is False
    check_words(caught.value)


def test_unaccepted_connection_is_an_unknown_outcome() -> None:
    """The kernel accepts for the server and takes the body: whether it is read is unknown."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    try:
        with pytest.raises(SubmissionUnknownError):
            submit(port, SMALL, timeout=0.3)
    finally:
        listener.close()


def test_full_backlog_is_not_delivered() -> None:
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


def test_connection_closed_on_arrival_is_not_repeated() -> None:
    """Whether a byte of the body left before the reset came is a race; both outcomes are correct."""
    with RawServer(Exchange.reset) as server:
        with pytest.raises((TransportError, SubmissionUnknownError)) as caught:
            submit(server.port, SMALL)
        assert getattr(caught.value, "delivered", False) is False
        check_words(caught.value)
    assert len(server.exchanges) == 1


def test_connection_reset_after_the_headers_is_not_repeated() -> None:
    def script(exchange: Exchange) -> None:
        exchange.read_headers()
        exchange.reset()

    with RawServer(script) as server:
        with pytest.raises((TransportError, SubmissionUnknownError)) as caught:
            submit(server.port, LARGE)
        check_words(caught.value)
    assert server.posts == 1


def test_early_rejection_of_a_large_body_is_read() -> None:
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
