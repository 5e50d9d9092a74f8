"""Slow, large and broken responses stay within the limits of both clients."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ssl
import time
import traceback
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_grokvideo.api import exchange
from airflow_provider_grokvideo.api.aio import shared_client
from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import (
    GrokVideoError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
)
from tests.support import clients
from tests.support.clients import submit
from tests.support.raw_server import CLOSE, HOLD, RESET, STALL, RawServer, drip, repeat, response

KEY = "sk-Zq81xTopSecretKey0042"
GOOD = response(200, {"request_id": "r1", "status": "pending", "data": []})
SECONDS = 1.0
GUARD = 30.0
"""Seconds after which an exchange counts as unbounded: what drips here does so for longer, or for ever."""


def poll(settings: Settings) -> Any:
    return clients.poll(settings, "r1").request_id


def models(settings: Settings) -> Any:
    with GrokVideoClient(settings) as client:
        return client.list_models()


def apoll(settings: Settings) -> Any:
    return clients.apoll(settings, "r1").request_id


ALL = [submit, poll, models, apoll]
all_clients = pytest.mark.parametrize("ask", ALL, ids=lambda ask: ask.__name__)


def settings_for(server: RawServer, **more: Any) -> Settings:
    return Settings(base_url=f"{server.url}/grok/v1", api_key=KEY, request_timeout=SECONDS, **more)


def failure(ask: Callable[[Settings], Any], settings: Settings) -> GrokVideoError:
    """Return the error, which is typed, soon, and without secrets."""
    started_at = time.monotonic()
    with pytest.raises(GrokVideoError) as caught:
        ask(settings)
    assert time.monotonic() - started_at < GUARD
    told = "".join(traceback.format_exception(caught.value))
    assert KEY not in told
    return caught.value


# --- interim responses --------------------------------------------------------------------------------

INTERIM = [
    [b"HTTP/1.1 100 Continue\r\n\r\n"],
    [b"HTTP/1.1 102 Processing\r\n\r\n"],
    [b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"],
    [b"HTTP/1.1 103 A\r\n\r\n", b"HTTP/1.1 100 B\r\nX: y\r\n\r\nHTTP/1.1 199 C\r\n\r\n"],
]


@all_clients
@pytest.mark.parametrize("interim", INTERIM, ids=["100", "102", "103", "many"])
def test_interim_responses_are_skipped(interim: list[Any], ask: Callable[[Settings], Any]) -> None:
    with RawServer([*interim, GOOD]) as server:
        assert ask(settings_for(server)) in ("r1", [])
        assert len(server.requests) == 1


@all_clients
def test_long_header_line_is_read(ask: Callable[[Settings], Any]) -> None:
    with RawServer([GOOD.replace(b"\r\n", b"\r\nContent-Security-Policy: " + b"x" * 30_000 + b"\r\n", 1)]) as server:
        assert ask(settings_for(server)) in ("r1", [])


def test_final_1xx_leaves_the_submission_unknown() -> None:
    with RawServer([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"]) as server:
        assert type(failure(submit, settings_for(server))) is SubmissionUnknownError


# --- time ---------------------------------------------------------------------------------------------

SLOW: dict[str, Any] = {
    "silent": [HOLD],
    "dripping-status": drip(b"HTTP/1.1 200 " + b"x" * 100, 0.2),
    "dripping-headers": drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100, 0.2, size=6),
    "endless-interim": repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.1),
    "dripping-body": [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *drip(b"{" + b" " * 90, 0.2)],
    "dripping-until-closed": [b"HTTP/1.1 200 OK\r\n\r\n", *drip(b'{"request_id": "r1"}' + b" " * 90, 0.2)],
    "dripping-chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *drip(b"1\r\n \r\n" * 50, 0.2, 6)],
    "held-body": [b'HTTP/1.1 200 OK\r\n\r\n{"request_id": "r1"}', HOLD],
    "redirect-that-drips": [b"HTTP/1.1 302 X\r\nLocation: /\r\nContent-Length: 99\r\n\r\n", *drip(b" " * 99, 0.2)],
}


@all_clients
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW)
def test_whole_exchange_has_one_deadline(
    script: Any, tls: bool, ask: Callable[[Settings], Any], context: ssl.SSLContext, ca_file: str
) -> None:
    with RawServer(script, ssl_context=context if tls else None) as server:
        error = failure(ask, settings_for(server, verify=ca_file))
    assert type(error) is (SubmissionUnknownError if ask is submit else TransportError)
    assert "timed out while waiting for the answer" in str(error)


@all_clients
def test_tls_handshake_has_the_same_deadline(ask: Callable[[Settings], Any]) -> None:
    with RawServer([HOLD], reads=False) as server:
        settings = Settings(base_url=f"https://127.0.0.1:{server.port}/v1", api_key=KEY, request_timeout=SECONDS)
        error = failure(ask, settings)
    assert type(error) is TransportError
    assert ask is not submit or error.delivered is False


def test_server_that_reads_nothing_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MIN_UPLOAD_SPEED", 1024**3)
    image = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(10 * 1024**2)).decode()
    with RawServer([STALL], reads=False) as server, GrokVideoClient(settings_for(server)) as client:
        error = failure(
            lambda _: client.submit(VideoRequest(prompt="p", reference_images=[{"url": image}])), client.settings
        )
    assert type(error) is SubmissionUnknownError


# --- size ---------------------------------------------------------------------------------------------

MIB = b" " * 1024 * 1024
LARGE: dict[str, Any] = {
    "announced": [b"HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n", *[MIB] * 50, HOLD],
    "until-closed": [b"HTTP/1.1 200 OK\r\n\r\n", *[MIB] * 50],
    "chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"100000\r\n" + MIB + b"\r\n"] * 50],
    "one-chunk": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\n", *[MIB] * 50],
    "gzip-bomb": [response(200, gzip.compress(bytes(300 * 1024**2)), Content_Encoding="gzip")],
    "header-line": [b"HTTP/1.1 200 OK\r\nX: ", *[MIB] * 50],
    "header-lines": [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 10_000] * 50],
}


@all_clients
@pytest.mark.parametrize("script", LARGE.values(), ids=LARGE)
def test_large_response_is_not_held_in_memory(script: Any, ask: Callable[[Settings], Any]) -> None:
    with RawServer(script) as server:
        tracemalloc.start()
        try:
            error = failure(ask, settings_for(server))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert type(error) in ((SubmissionUnknownError,) if ask is submit else (ServerError, TransportError))
    assert peak < 24 * 1024**2


@all_clients
def test_compressed_response_is_read(ask: Callable[[Settings], Any]) -> None:
    with RawServer([response(200, gzip.compress(GOOD.partition(b"\r\n\r\n")[2]), Content_Encoding="gzip")]) as server:
        assert ask(settings_for(server)) in ("r1", [])
        assert b"\r\naccept-encoding: identity\r\n" in server.requests[0].lower()


def test_large_rejection_is_still_a_rejection() -> None:
    with RawServer([b"HTTP/1.1 400 No\r\nContent-Length: 500000000\r\n\r\n", *[MIB] * 50]) as server:
        assert type(failure(submit, settings_for(server))) is RequestRejectedError


# --- broken -------------------------------------------------------------------------------------------

BROKEN: dict[str, Any] = {
    "nothing": [CLOSE],
    "reset": [RESET],
    "cut-status": [b"HTTP/1.1 40"],
    "cut-status-line": [b"HTTP/1.1 400 Bad"],
    "cut-headers": [b"HTTP/1.1 400 Bad\r\nContent-Ty"],
    "no-end-of-headers": [b"HTTP/1.1 400 Bad\r\nContent-Type: a/b\r\n"],
    "cut-body": [b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"request_id": "r'],
    "cut-chunk": [b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{"request_id": "r'],
    "reset-in-body": [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", RESET],
    "bytes": [bytes(range(256)) * 4],
    "not-http": [b"SSH-2.0-OpenSSH_9.2\r\n\r\n"],
    "status-0": [b"HTTP/1.1 000 X\r\n\r\n"],
    "status-words": [b"HTTP/1.1 two OK\r\n\r\n"],
    "chunk-size": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    "length-words": [b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n"],
    "key-in-headers": [b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n:" + KEY.encode() + b"\r\n\r\n", CLOSE],
}


@all_clients
@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_broken_response_is_a_typed_error(
    script: Any, ask: Callable[[Settings], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with RawServer(script) as server:
        # Some of this is an empty response, which a poll takes for "pending".
        if ask is submit:
            assert type(failure(ask, settings_for(server))) is SubmissionUnknownError
        else:
            try:
                ask(settings_for(server))
            except GrokVideoError as error:
                assert KEY not in "".join(traceback.format_exception(error))
    assert KEY not in caplog.text


LOCATIONS = [b"http://[", b"\xff\xfe", b"//", b"http://h:99999999/", b"http://\xe9\xe9.example/", b"a" * 5000, b"%"]


@all_clients
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", LOCATIONS, ids=range(len(LOCATIONS)))
def test_redirect_is_not_followed(location: bytes, status: int, ask: Callable[[Settings], Any]) -> None:
    with RawServer([b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % (status, location)]) as server:
        error = failure(ask, settings_for(server))
        assert len(server.requests) == 1
    is_unknown = ask is submit and status == 303
    assert type(error) is (SubmissionUnknownError if is_unknown else RequestRejectedError)


@pytest.mark.parametrize("client", ["blocking", "async"])
def test_cookies_are_not_sent_back(client: str) -> None:
    cookie = response(200, {"status": "pending"}, Set_Cookie="session=abc; Path=/", Connection="close")
    with RawServer([cookie]) as server:
        settings = settings_for(server)
        if client == "blocking":
            with GrokVideoClient(settings) as blocking:
                for _ in range(2):
                    blocking.get_generation("r1")
        else:

            async def ask() -> None:
                async with shared_client(settings) as shared:
                    for _ in range(2):
                        await shared.get_generation("r1")

            asyncio.run(ask())
        assert len(server.requests) == 2
        assert not [request for request in server.requests if b"cookie" in request.lower()]


def test_poll_request_keeps_no_body() -> None:
    body = {"status": "pending", "filler": "x" * 900_000}

    async def ask(settings: Settings) -> int:
        async with shared_client(settings) as shared:
            polls = [shared.prepare_poll(f"r{number}") for number in range(20)]
            tracemalloc.start()
            for poll_request in polls:
                await poll_request.send()
            kept = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            return kept

    with RawServer([response(200, body, Connection="close")]) as server:
        assert asyncio.run(ask(settings_for(server))) < 4 * 1024**2
