"""A submission over TLS or through a proxy whose connection ends at each stage."""

from __future__ import annotations

import ssl

import pytest

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import SubmissionUnknownError, TransportError
from tests.support.deliveries import (
    ID,
    KEY,
    PATIENCE,
    SMALL,
    Exchange,
    RawServer,
    Script,
    accept_all,
    check_words,
    close_after_the_body,
    half_the_answer,
    reset_after_the_body,
    submit,
)


def test_trusted_certificate_is_accepted(ca_file: str, context: ssl.SSLContext) -> None:
    with RawServer(accept_all, context) as server:
        assert submit(server.port, SMALL, scheme="https", verify=ca_file) == ID
        assert submit(server.port, SMALL, scheme="https", verify=False) == ID
    assert server.posts == 2


def test_untrusted_certificate_is_not_delivered(context: ssl.SSLContext) -> None:
    with RawServer(accept_all, context) as server:
        with pytest.raises(TransportError, match="TLS failed") as caught:
            submit(server.port, SMALL, scheme="https")
        assert caught.value.delivered is False
        check_words(caught.value)
    assert server.posts == 0


def test_plain_server_asked_over_tls_is_not_delivered() -> None:
    def script(exchange: Exchange) -> None:
        exchange.connection.recv(100)
        exchange.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with RawServer(script) as server:
        with pytest.raises(TransportError) as caught:
            submit(server.port, SMALL, scheme="https")
        assert caught.value.delivered is False
    assert server.posts == 0


@pytest.mark.parametrize("answer", [b"", b"\x16\x03\x03\x00\x7a\x02\x00"], ids=["nothing", "half-a-server-hello"])
def test_broken_handshake_is_not_delivered(answer: bytes) -> None:
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
def test_connection_lost_after_the_body_is_an_unknown_outcome(
    script: Script, ca_file: str, context: ssl.SSLContext
) -> None:
    with RawServer(script, context) as server:
        with pytest.raises(SubmissionUnknownError) as caught:
            submit(server.port, SMALL, scheme="https", verify=ca_file)
        check_words(caught.value)
    assert server.posts == 1


def test_missing_ca_file_is_not_delivered() -> None:
    with RawServer(accept_all) as server:
        with pytest.raises(TransportError, match="TLS cannot be set up") as caught:
            submit(server.port, SMALL, scheme="https", verify="/no/such.pem")
        assert caught.value.delivered is False
    assert server.posts == 0


def test_rejecting_proxy_is_not_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
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
