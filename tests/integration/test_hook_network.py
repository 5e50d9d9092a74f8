"""How the hook reaches the API: certificates, proxies and the environment; the client that waits share."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.api import rate_limit
from airflow_provider_grokvideo.api.aio import _clients, shared_client
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationNotFoundError,
    RateLimitError,
    RequestRejectedError,
    TransportError,
)
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger
from tests.support.hooks import KEY, NAME, PROMPT, Connect, free_port, run


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Return an API of one's own."""
    with Sandbox(render_seconds=0, api_key=KEY) as running:
        yield running


def test_redirect_is_not_followed(sandbox: Sandbox, connect: Connect) -> None:
    """The sandbox sends a path without its prefix to a web page, as the real gateway does."""
    hook = connect(f"{sandbox.origin}/videos/x")
    for ask in (hook.get_generation, lambda name: run(hook.aget_generation(name))):
        with pytest.raises(RequestRejectedError, match="redirects, which is not followed") as caught:
            ask("y")
        assert caught.value.status == 301


async def test_ca_file_without_a_certificate_is_a_transport_error(tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    hook = connect("https://127.0.0.1:1", verify=str(tmp_path / "ca.pem"))
    with pytest.raises(TransportError, match="TLS cannot be set up"):
        await hook.aget_generation("x")
    with pytest.raises(TransportError):
        hook.get_generation("x")


@pytest.mark.parametrize("verify", ["ca_file", "false"])
def test_verify_of_the_connection_beats_the_environment(
    verify: str,
    context: ssl.SSLContext,
    ca_file: str,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import certifi

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    monkeypatch.setenv("CURL_CA_BUNDLE", certifi.where())
    with Sandbox(render_seconds=0, api_key=KEY, ssl_context=context) as sandbox:
        hook = connect(sandbox.base_url, verify=ca_file if verify == "ca_file" else verify)
        request_id = hook.submit(PROMPT)
        assert hook.get_generation(request_id).state == "done"
        assert run(hook.aget_generation(request_id)).state == "done"
        assert hook.download(hook.get_generation(request_id), f"file://{tmp_path}/").size_bytes > 1000
        untrusting = connect(sandbox.base_url)
        for ask in (untrusting.get_generation, lambda name: run(untrusting.aget_generation(name))):
            with pytest.raises(TransportError):
                ask(request_id)


def test_netrc_does_not_replace_the_key(
    sandbox: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password another\ndefault login me password another\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    hook = connect(sandbox.base_url)
    request_id = hook.submit(PROMPT)
    assert hook.get_generation(request_id).state == "done"
    assert run(hook.aget_generation(request_id)).state == "done"


def test_proxy_of_the_connection_beats_the_environment(
    sandbox: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a plain HTTP host a proxy is asked like a server, so that the sandbox itself can stand in for one."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    elsewhere = "http://api.example.invalid/grok/v1"
    assert not connect(elsewhere).test_connection()[0]

    monkeypatch.setenv("http_proxy", sandbox.origin)
    hook = connect(elsewhere)
    request_id = hook.submit(PROMPT)
    assert hook.get_generation(request_id).request_id == request_id
    assert run(hook.aget_generation(request_id)).request_id == request_id

    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TransportError):
        connect(elsewhere).get_generation(request_id)
    chosen = connect(elsewhere, proxy=sandbox.origin)
    assert chosen.get_generation(request_id).request_id == request_id
    assert run(chosen.aget_generation(request_id)).request_id == request_id
    assert len(sandbox.submissions) == 1


def test_no_proxy_of_the_environment_is_kept(
    sandbox: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    hook = connect(sandbox.base_url)
    request_id = hook.submit(PROMPT)
    assert run(hook.aget_generation(request_id)).request_id == request_id


async def test_waits_with_the_same_settings_share_one_client(sandbox: Sandbox) -> None:
    settings = Settings(base_url=sandbox.base_url, api_key=KEY)
    async with shared_client(settings) as first:
        async with (
            shared_client(Settings(base_url=sandbox.base_url, api_key=KEY)) as second,
            shared_client(Settings(base_url=sandbox.base_url, api_key="another")) as third,
        ):
            assert first is second
            assert first is not third
        with pytest.raises(GenerationNotFoundError):
            await first.get_generation("x")
        session = first._session
        assert session is not None
        assert not session.closed
    assert session.closed
    assert _clients == {}


async def test_missing_key_is_told_before_anything_is_sent(sandbox: Sandbox) -> None:
    with pytest.raises(AuthenticationError, match="no API key"):
        async with shared_client(Settings(base_url=sandbox.base_url)):
            pass
    assert sandbox.polls == []
    assert _clients == {}


async def fired(trigger: GrokVideoTrigger) -> list[dict[str, Any]]:
    """Return what a trigger fires."""
    return [event.payload async for event in trigger.run()]


async def test_long_pause_of_one_wait_holds_the_others_briefly(
    sandbox: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "MAX_PAUSE", 0.5)
    hook = connect(sandbox.base_url)
    request_id = hook.submit(PROMPT)
    sandbox.fault("poll", "rate_limited", retry_after=86_400)
    async with shared_client(hook.settings) as client:
        with contextlib.suppress(RateLimitError):
            await client.get_generation(request_id)
        (event,) = await fired(GrokVideoTrigger(NAME, request_id, 0.01, time.time() + 0.1))
    assert (event["status"], event["request_id"]) == ("done", request_id)
    assert len(sandbox.polls) == 2
