"""The free test of a connection: what it says of a good key, a bad one, a wrong host and a wrong model."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

import pytest

from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.hooks import KEY, NAME, Connect, free_port


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Return an API of one's own."""
    with Sandbox(render_seconds=0, api_key=KEY) as running:
        yield running


def test_good_connection_says_what_it_offers_and_costs_nothing(hook: GrokVideoHook, sandbox: Sandbox) -> None:
    good, message = hook.test_connection()
    assert good
    assert message == (
        f"{sandbox.base_url} accepts the key and offers 3 models, of them grok-imagine-video, "
        "grok-imagine-video-1.5, grok-imagine-video-1.5-lite."
    )
    assert sandbox.submissions == []


@pytest.mark.parametrize(
    ("model", "good", "words"),
    [
        ("grok-imagine-video-1.5", True, None),
        ("grok-imagine-video-1.5-preview", True, None),
        ("grok-imagin-video", False, "'grok-imagin-video', is not offered to this key; the nearest names are grok-im"),
        ("sora-2", False, "'sora-2', is not offered to this key."),
    ],
)
def test_model_of_the_connection_that_is_not_offered_is_told(
    model: str, good: bool, words: str | None, sandbox: Sandbox, connect: Connect
) -> None:
    works, message = connect(sandbox.base_url, model=model).test_connection()
    assert works is good
    assert "accepts the key and offers 3 models" in message
    if words is None:
        assert "not offered" not in message
    else:
        assert f"The model of connection '{NAME}', {words}" in message


@pytest.mark.parametrize(
    ("offered", "said"),
    [(["grok-imagine-video-1.5", "grok-4"], True), (["grok-4"], False), (["grok-imagine-video"], False)],
    ids=["another-video-model", "no-video-model", "the-default"],
)
def test_default_model_that_is_not_offered_is_told(
    offered: list[str], said: bool, hook: GrokVideoHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook.client, "list_models", lambda: offered)
    works, message = hook.test_connection()
    assert works
    assert ("The default model, 'grok-imagine-video', is not offered to this key" in message) is said


@pytest.mark.parametrize("dialect", ["base_url", "xai_base_url"], ids=["comet", "xai"])
@pytest.mark.parametrize(
    ("password", "words"),
    [
        (None, f"Connection '{NAME}' has no API key. Enter it in the field \"API key\" (password)."),
        ("", f"Connection '{NAME}' has no API key."),
        ("sk with space", f"The API key of connection '{NAME}' has characters that no key has. Copy it again."),
        ("sk-wr0ngSecretKey", f"The API rejected the key of connection '{NAME}' (HTTP 40"),
    ],
    ids=["missing", "empty", "with-space", "refused"],
)
def test_bad_key_is_told_in_words(
    password: str | None, words: str, dialect: str, sandbox: Sandbox, connect: Connect
) -> None:
    good, message = connect(getattr(sandbox, dialect), password=password).test_connection()
    assert not good
    assert words in message
    assert not password or password not in message


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("html", "does not answer as the API does. The API did not answer with JSON (HTTP 200): it sent text/html: "),
        ("server_error", "does not answer as the API does. The API failed (HTTP 500): "),
        (
            "bad_key",
            f"The API rejected the key of connection '{NAME}' (HTTP 400, code invalid-argument): Inc",
        ),
        ("slow", "timed out while waiting for the answer"),
    ],
)
def test_bad_answer_is_told_in_words(fault: str, words: str, sandbox: Sandbox, connect: Connect) -> None:
    hook = connect(sandbox.base_url, request_timeout=0.3 if fault == "slow" else 20)
    sandbox.fault("models", fault)
    good, message = hook.test_connection()
    assert not good
    assert words in message
    assert KEY not in message


@pytest.mark.parametrize(
    ("host", "words"),
    [
        pytest.param(lambda: f"http://127.0.0.1:{free_port()}/v1", "connection refused", id="nobody-there"),
        pytest.param(lambda: "https://no-such-host.invalid/v1", "name or service not known", id="no-such-host"),
        pytest.param(lambda: "ftp://api.x.ai", f"Connection '{NAME}': host='ftp://api.x.ai'", id="wrong-scheme"),
    ],
)
def test_bad_host_is_told_in_words(host: Callable[[], str], words: str, connect: Connect) -> None:
    good, message = connect(host()).test_connection()
    assert not good
    assert words in message
    assert f"onnection '{NAME}'" in message


def test_untrusted_certificate_is_told_in_words(context: ssl.SSLContext, ca_file: str, connect: Connect) -> None:
    with Sandbox(api_key=KEY, ssl_context=context) as sandbox:
        good, message = connect(sandbox.base_url).test_connection()
        assert not good
        assert "TLS failed" in message
        assert connect(sandbox.base_url, verify=ca_file).test_connection()[0]
        assert connect(sandbox.base_url, verify="false").test_connection()[0]
