"""Worker and triggerer use the same route to the API: real proxies, TLS, names and addresses."""

from __future__ import annotations

import os
import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_provider_grokvideo.api import network
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import GrokVideoError, InvalidRequestError, TransportError
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.clients import apoll, poll, submit
from tests.support.proxies import ProxyServer
from tests.support.raw_server import CLOSE, HOLD, RESET, RawServer, response

KEY = "sk-Zq81xTopSecretKey0042"
LOGIN = ("me@corp", "s3cret/pä")
LOGIN_IN_URL = "me%40corp:s3cret%2Fp%C3%A4@"

Ask = Callable[[Settings], Any]


def use_all(settings: Settings) -> None:
    """Submit, and poll with both clients."""
    request_id = submit(settings)
    assert poll(settings, request_id).state == "done"
    assert apoll(settings, request_id).state == "done"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}:
            monkeypatch.delenv(name)


@pytest.fixture
def plain_api() -> Iterator[Sandbox]:
    with Sandbox(render_seconds=0, api_key=KEY) as running:
        yield running


@pytest.fixture
def tls_api(context: ssl.SSLContext) -> Iterator[Sandbox]:
    with Sandbox(render_seconds=0, api_key=KEY, ssl_context=context) as running:
        yield running


@pytest.mark.parametrize("by", ["connection", "environment"])
@pytest.mark.parametrize("login", [None, LOGIN], ids=["open", "login"])
@pytest.mark.parametrize("api_scheme", ["http", "https"])
@pytest.mark.parametrize("scheme", ["", "http", "https", "socks5", "socks5h", "socks4", "socks4a"])
def test_both_clients_use_every_kind_of_proxy(
    scheme: str,
    api_scheme: str,
    login: tuple[str, str] | None,
    by: str,
    plain_api: Sandbox,
    tls_api: Sandbox,
    context: ssl.SSLContext,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if scheme.startswith("socks"):
        login = ("me", "s3cret") if login and scheme.startswith("socks5") else None  # SOCKS 4 has no password.
    api = tls_api if api_scheme == "https" else plain_api
    kind = scheme[:6] if scheme.startswith("socks") else "http"
    with ProxyServer(kind, login=login, ssl_context=context if scheme == "https" else None) as proxy:
        words = "" if login is None else LOGIN_IN_URL if login == LOGIN else "me:s3cret@"
        url = f"{f'{scheme}://' if scheme else ''}{words}127.0.0.1:{proxy.port}"
        settings = Settings(base_url=api.base_url, api_key=KEY, verify=ca_file)
        if by == "connection":
            settings = Settings(base_url=api.base_url, api_key=KEY, verify=ca_file, proxy=url)
        else:
            monkeypatch.setenv("ALL_PROXY" if scheme.startswith("socks") else f"{api_scheme.upper()}_PROXY", url)
        use_all(settings)
        port = int(api.origin.rpartition(":")[2])
        assert proxy.targets == [("127.0.0.1", port)] * 3
        assert len(api.submissions) == 1


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks4a"])
def test_proxy_resolves_the_host_name(scheme: str, plain_api: Sandbox) -> None:
    port = int(plain_api.origin.rpartition(":")[2])
    with ProxyServer(scheme[:6] if scheme != "http" else "http", redirect_to=port) as proxy:
        use_all(
            Settings(
                base_url="http://api.example.invalid/grok/v1",
                api_key=KEY,
                proxy=f"{scheme}://127.0.0.1:{proxy.port}",
            )
        )
        assert proxy.targets == [("api.example.invalid", 80)] * 3


@pytest.mark.parametrize("no_proxy", ["127.0.0.0/8", "127.0.0.1", "*", "127.*", "127.0.0.1:{port}"])
def test_both_clients_respect_no_proxy(no_proxy: str, plain_api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with ProxyServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", no_proxy.format(port=plain_api.origin.rpartition(":")[2]))
        use_all(Settings(base_url=plain_api.base_url, api_key=KEY))
        assert proxy.targets == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_both_clients_use_the_ca_bundle_variable(
    variable: str, tls_api: Sandbox, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(base_url=tls_api.base_url, api_key=KEY)
    for ask in (submit, poll, apoll):
        with pytest.raises(TransportError):
            ask(settings)
    monkeypatch.setenv(variable, ca_file)
    use_all(settings)


def test_missing_ca_bundle_is_refused_by_name(tls_api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    for ask in (submit, poll, apoll):
        with pytest.raises(TransportError, match="REQUESTS_CA_BUNDLE"):
            ask(Settings(base_url=tls_api.base_url, api_key=KEY))
    assert (tls_api.submissions, tls_api.refusals) == ([], [])


def test_certificate_of_a_tls_proxy_is_checked(plain_api: Sandbox, tls_api: Sandbox, context: ssl.SSLContext) -> None:
    with ProxyServer(ssl_context=context) as proxy:
        for api in (plain_api, tls_api):
            for ask in (submit, poll, apoll):
                with pytest.raises(TransportError):
                    ask(Settings(base_url=api.base_url, api_key=KEY, proxy=f"https://127.0.0.1:{proxy.port}"))
        assert proxy.targets == []


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_both_clients_reach_an_ipv6_literal(scheme: str) -> None:
    """The server listens on IPv4; the proxy redirects to it."""
    kind = scheme[:6] if scheme != "http" else "http"
    answers = [response(200, {"request_id": "r", "status": "pending"})]
    with RawServer(answers) as server, ProxyServer(kind, redirect_to=server.port) as proxy:
        settings = Settings(
            base_url="http://[fd00::1]:81/grok/v1", api_key=KEY, proxy=f"{scheme}://127.0.0.1:{proxy.port}"
        )
        assert submit(settings) == "r"
        assert poll(settings).state == apoll(settings).state == "pending"
        assert proxy.targets == [("fd00::1", 81)] * 3
        assert all(b"Host: [fd00::1]:81\r\n" in request for request in server.requests)


def test_both_clients_reach_an_ipv6_server() -> None:
    answers = [response(200, {"request_id": "r", "status": "pending"})]
    with ExitStack() as stack:
        server = stack.enter_context(RawServer(answers, address="::1"))
        settings = Settings(base_url=f"{server.url}/grok/v1", api_key=KEY)
        assert submit(settings) == "r"
        assert poll(settings).state == apoll(settings).state == "pending"
        assert all(f"Host: [::1]:{server.port}".encode() in request for request in server.requests)


def test_missing_socks_packages_are_refused(plain_api: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_SOCKS_MODULES", ("no_such_module",))
    with ProxyServer("socks5") as proxy:
        settings = Settings(base_url=plain_api.base_url, api_key=KEY, proxy=f"socks5://127.0.0.1:{proxy.port}")
        for ask in (submit, poll, apoll):
            with pytest.raises(InvalidRequestError, match=r"\[socks\]"):
                ask(settings)
        assert proxy.targets == []


BROKEN = {
    "407": [b"HTTP/1.1 407 No\r\n\r\n"],
    "403": [response(403, b"no")],
    "502-with-bytes": [b"HTTP/1.1 502 \xff\xfe\r\nX: \xff\r\n\r\n"],
    "garbage": [b"\x15\x03\x01\x00\x02\x02\x28\x00\xff\xff\n\n\n"],
    "garbage-status": [b"HTTP/1.1 abc def\r\n\r\n"],
    "closed": [CLOSE],
    "reset": [RESET],
    "cut": [b"HTTP/1.1 200 OK\r\nX: "],
    "silent": [HOLD],
    "no-tls-behind": [b"HTTP/1.1 200 OK\r\n\r\nhello, this is no TLS at all", HOLD],
}


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks4a"])
@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_broken_proxy_is_not_delivered(script: Any, scheme: str) -> None:
    with RawServer(script, reads=scheme == "http") as proxy:
        settings = Settings(
            base_url="https://api.example.invalid/grok/v1",
            api_key=KEY,
            proxy=f"{scheme}://me:s3cret@127.0.0.1:{proxy.port}",
            request_timeout=1.0,
        )
        for ask in (submit, poll, apoll):
            with pytest.raises(TransportError) as caught:
                ask(settings)
            told = "".join(traceback.format_exception(caught.value))
            assert [secret for secret in (KEY, "s3cret") if secret in told] == []
            if ask is submit:
                assert caught.value.delivered is False
        # Neither the request nor the key: the tunnel is not there yet.
        assert not [request for request in proxy.requests if b"A red fox" in request or KEY.encode() in request]


def test_both_clients_report_a_rejected_proxy_login(tls_api: Sandbox, ca_file: str) -> None:
    with ProxyServer(login=LOGIN) as proxy:
        settings = Settings(
            base_url=tls_api.base_url, api_key=KEY, verify=ca_file, proxy=f"http://me:wrong@127.0.0.1:{proxy.port}"
        )
        for ask in (submit, poll, apoll):
            with pytest.raises(GrokVideoError, match="HTTP 407 from the proxy"):
                ask(settings)
