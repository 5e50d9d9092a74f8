"""The hook against a real API: submit, ask, wait, download, and what its messages say and hide."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.api import rate_limit
from airflow_provider_grokvideo.api.aio import _clients, shared_client
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationNotFoundError,
    GenerationTimeoutError,
    GrokVideoError,
    InsufficientQuotaError,
    InvalidRequestError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
)
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

KEY = "sk-Zq81xTopSecretKey0042"
NAME = "grokvideo_test"
PROMPT = VideoRequest(prompt="A red fox in the snow", duration=1)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)

Connect = Callable[..., GrokVideoHook]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Return an API of one's own."""
    with Sandbox(render_seconds=0, api_key=KEY) as running:
        yield running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return what makes the connection and its hook."""

    def make(host: str, *, password: str | None = KEY, **extra: Any) -> GrokVideoHook:
        made = {"conn_type": "grokvideo", "host": host, "password": password, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{NAME.upper()}", json.dumps(made))
        return GrokVideoHook(NAME)

    return make


@pytest.fixture
def hook(sandbox: Sandbox, connect: Connect) -> GrokVideoHook:
    """Return a hook of the API."""
    return connect(sandbox.base_url)


# --- from the request to the file ---------------------------------------------------------------------


@pytest.mark.parametrize("envelope", ["raw", "wrapped", "xai"])
def test_video_from_request_to_file(envelope: Any, connect: Connect, tmp_path: Path) -> None:
    with Sandbox(render_seconds=0.1, envelope=envelope, api_key=KEY) as sandbox:
        hook = connect(sandbox.base_url)
        request_id = hook.submit(PROMPT)
        generation = hook.wait(request_id, poll_interval=0.05, timeout=30)
        assert (generation.state, generation.duration, generation.model) == ("done", 1, "grok-imagine-video")
        assert str(generation.cost_usd) == "0.05"
        landed = hook.download(generation, f"file://{tmp_path}/")
        content = (tmp_path / f"{request_id}.mp4").read_bytes()
        assert landed.sha256 == hashlib.sha256(content).hexdigest()
        assert ObjectStoragePath(landed.path).read_bytes() == content
        assert [submission["request_id"] for submission in sandbox.submissions] == [request_id]
        assert [download["authorization"] for download in sandbox.downloads] == [False]


def test_xai_is_spoken_where_the_host_is_xais(sandbox: Sandbox, connect: Connect) -> None:
    hook = connect(sandbox.xai_base_url)
    assert hook.settings.is_xai
    request_id = hook.submit(VideoRequest(prompt="p", duration=1, aspect_ratio="21:9"))
    assert hook.wait(request_id, poll_interval=0.01).state == "done"
    assert sandbox.submissions[0]["path"] == "/v1/videos/generations"


def test_model_of_the_connection_is_the_default(sandbox: Sandbox, connect: Connect) -> None:
    hook = connect(sandbox.base_url, model="grok-imagine-video-1.5")
    hook.submit(VideoRequest(prompt="p"))
    hook.submit(VideoRequest(prompt="p", model="grok-imagine-video"))
    assert [submission["body"]["model"] for submission in sandbox.submissions] == [
        "grok-imagine-video-1.5",
        "grok-imagine-video",
    ]


def test_image_path_is_sent_as_a_data_uri(hook: GrokVideoHook, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_bytes(PNG)
    hook.submit(VideoRequest(prompt="p", image=str(tmp_path / "cat.txt")))
    hook.submit(VideoRequest(prompt="p", reference_images=[{"url": f"file://{tmp_path}/cat.txt"}]))
    bodies = [submission["body"] for submission in sandbox.submissions]
    assert bodies[0]["image"]["url"].startswith("data:image/png;base64,")
    assert bodies[1]["reference_images"] == [bodies[0]["image"]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file on this worker"),
        (b"just a text", "not JPEG, PNG"),
        (b"GIF89a...", "its content is GIF. Convert it"),
        (bytes(50 * 1024 * 1024), "up to 15 MiB"),
    ],
    ids=["missing", "text-called-png", "gif-called-png", "50-MB"],
)
def test_unfit_image_is_refused_before_a_request_is_sent(
    content: bytes | None, words: str, hook: GrokVideoHook, sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "cat.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequestError, match=words) as caught:
        hook.submit(VideoRequest(prompt="p", image=str(path)))
    assert re.search(rf"image[= ]'{path}'", str(caught.value))
    assert (sandbox.submissions, sandbox.refusals) == ([], [])


def test_images_are_read_from_path_objects_of_every_kind(hook: GrokVideoHook, sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    hook.submit(
        VideoRequest(
            model="grok-imagine-video-1.5",
            prompt="p",
            image=path,
            last_frame=ObjectStoragePath(f"file://{path}"),
            keyframes=[{"image": {"url": path}, "timestamp_s": "1.5"}],
            reference_images=(one for one in (path, ObjectStoragePath(str(path)))),
        )
    )
    body = sandbox.submissions[0]["body"]
    sent = {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()}
    assert (body["image"], body["last_frame"], body["reference_images"]) == (sent, sent, [sent, sent])
    assert body["keyframes"] == [{"image": sent, "timestamp_s": 1.5}]


def test_stored_video_can_be_extended_by_its_file_id(sandbox: Sandbox, connect: Connect) -> None:
    hook = connect(sandbox.xai_base_url)
    made = hook.submit(VideoRequest(prompt="p", duration=3, storage_options={"filename": "a.mp4"}))
    hook.wait(made, poll_interval=0.01)
    longer = hook.submit(
        VideoRequest(kind="extension", prompt="p", duration=2, video={"file_id": f"file_{made}"}),
    )
    generation = hook.wait(longer, poll_interval=0.01)
    assert (generation.state, generation.duration) == ("done", 5)
    # Two seconds at 0.05, and three of input at 0.01.
    assert str(generation.cost_usd) == "0.13"


@pytest.mark.parametrize("dialect", ["base_url", "xai_base_url"], ids=["comet", "xai"])
def test_rejected_model_is_answered_with_the_nearest_known_name(
    dialect: str,
    sandbox: Sandbox,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hook = connect(getattr(sandbox, dialect))
    with caplog.at_level(logging.WARNING), pytest.raises(RequestRejectedError) as caught:
        hook.submit(VideoRequest(prompt="p", model="grok-imagine-vidoe"))
    assert "offers no model 'grok-imagine-vidoe' to this key. Did you mean 'grok-imagine-video'?" in str(caught.value)
    assert "Nothing was billed." in str(caught.value)
    written = caplog.text + "".join(capfd.readouterr())
    assert "the nearest known name is 'grok-imagine-video'" in written
    assert sandbox.submissions == []


def test_what_the_api_does_not_offer_is_refused_before_a_request_is_sent(hook: GrokVideoHook, sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match="only xAI has more"):
        hook.submit(VideoRequest(prompt="p", aspect_ratio="21:9"))
    assert (sandbox.submissions, sandbox.refusals) == ([], [])


# --- submissions that fail ----------------------------------------------------------------------------

SUBMIT_FAULTS: list[tuple[str, dict[str, Any], type[GrokVideoError], int]] = [
    ("rate_limited", {"retry_after": 7}, RateLimitError, 0),
    ("out_of_credit_429", {}, InsufficientQuotaError, 0),
    ("no_quota", {}, InsufficientQuotaError, 0),
    ("payment_required", {}, InsufficientQuotaError, 0),
    ("bad_key", {}, AuthenticationError, 0),
    ("invalid_request", {}, RequestRejectedError, 0),
    ("model_not_found", {}, RequestRejectedError, 0),
    ("redirect", {}, RequestRejectedError, 0),
    ("server_error", {}, SubmissionUnknownError, 0),
    ("bad_gateway", {}, SubmissionUnknownError, 0),
    ("gateway_timeout", {}, SubmissionUnknownError, 0),
    ("close_before_accept", {}, SubmissionUnknownError, 0),
    ("close_after_accept", {}, SubmissionUnknownError, 1),
    ("half_answer", {}, SubmissionUnknownError, 1),
    ("no_id", {}, SubmissionUnknownError, 1),
    ("html", {}, SubmissionUnknownError, 1),
    ("slow_after_accept", {"delay": 60}, SubmissionUnknownError, 1),
]


@pytest.mark.parametrize("dialect", ["base_url", "xai_base_url"], ids=["comet", "xai"])
@pytest.mark.parametrize(
    ("fault", "options", "kind", "accepted"), SUBMIT_FAULTS, ids=[case[0] for case in SUBMIT_FAULTS]
)
def test_failed_submission_is_judged_and_sent_once(
    fault: str,
    options: dict[str, Any],
    kind: type[GrokVideoError],
    accepted: int,
    dialect: str,
    sandbox: Sandbox,
    connect: Connect,
) -> None:
    hook = connect(getattr(sandbox, dialect), request_timeout=0.5 if fault.startswith("slow") else 20)
    sandbox.fault("submit", fault, **options)
    with pytest.raises(GrokVideoError) as caught:
        hook.submit(PROMPT)
    assert type(caught.value) is kind
    assert KEY not in str(caught.value)
    assert len(sandbox.submissions) == accepted
    assert len(sandbox.submissions) + len(sandbox.refusals) == 1


def test_redirect_is_not_followed(sandbox: Sandbox, connect: Connect) -> None:
    """The sandbox sends a path without its prefix to a web page, as the real gateway does."""
    hook = connect(f"{sandbox.origin}/videos/x")
    for ask in (hook.get_generation, lambda name: run(hook.aget_generation(name))):
        with pytest.raises(RequestRejectedError, match="redirects, which is not followed") as caught:
            ask("y")
        assert caught.value.status == 301


# --- polls --------------------------------------------------------------------------------------------

POLL_FAULTS: list[tuple[str, str | type[GrokVideoError]]] = [
    ("bare_id", "pending"),
    ("empty_202", "pending"),
    ("data_null", "pending"),
    ("unknown_status", "pending"),
    ("string_progress", "pending"),
    ("wrapped", "done"),
    ("raw", "done"),
    ("xai", "done"),
    ("no_status", "done"),
    ("failed", "failed"),
    ("failed_wrapped", "failed"),
    ("expired", "expired"),
    ("moderated_failed", "moderated"),
    ("moderated_done", "moderated"),
    ("moderated_400", "moderated"),
    ("done_without_url", "failed"),
    ("rate_limited", RateLimitError),
    ("server_error", ServerError),
    ("bad_gateway", ServerError),
    ("html", ServerError),
    ("not_found", GenerationNotFoundError),
    ("task_not_exist", GenerationNotFoundError),
    ("bad_key", AuthenticationError),
    ("close", TransportError),
    ("half_answer", TransportError),
    ("slow", TransportError),
]


@pytest.mark.parametrize("envelope", ["raw", "wrapped", "xai"])
def test_every_answer_to_a_poll_is_read_alike_by_both_clients(envelope: Any, connect: Connect) -> None:
    """One API for the whole table: starting one per row would take longer than all the rows."""
    with Sandbox(render_seconds=0, envelope=envelope, api_key=KEY) as sandbox:
        hook = connect(sandbox.base_url, request_timeout=0.5)
        for fault, expected in POLL_FAULTS:
            request_id = hook.submit(PROMPT)
            for ask in (hook.get_generation, lambda name: run(hook.aget_generation(name))):
                # Until it is cleared: aiohttp asks again by itself where a GET got no answer.
                sandbox.fault("poll", fault, times=None, **({"delay": 60} if fault == "slow" else {}))
                outcome = asked(ask, request_id)
                sandbox.clear_faults()
                assert outcome == expected, (fault, envelope, outcome)
        assert _clients == {}


def run(coroutine: Any) -> Any:
    """Run a coroutine on a loop of its own."""
    import asyncio

    return asyncio.run(coroutine)


def asked(ask: Callable[[str], Any], request_id: str) -> str | type[GrokVideoError]:
    """Return the state or the kind of error."""
    try:
        generation = ask(request_id)
    except GrokVideoError as error:
        assert KEY not in str(error)
        assert request_id in str(error)
        return type(error)
    assert generation.request_id == request_id
    state: str = generation.state
    return state


# --- waiting ------------------------------------------------------------------------------------------


def test_wait_survives_what_passes_and_logs_what_changes(
    hook: GrokVideoHook,
    sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    request_id = hook.submit(PROMPT)
    for fault in ("server_error", "close", "html", "task_not_exist", "rate_limited", "bad_key", "unknown_status"):
        sandbox.fault("poll", fault)
    with caplog.at_level(logging.INFO):
        assert hook.wait(request_id, poll_interval=0.01, timeout=60).state == "done"
    # Airflow 3 writes what a hook logs itself, Airflow 2 hands it to the logging module.
    written = caplog.text + "".join(capfd.readouterr())
    assert "a status this package does not know; waiting on" in written
    assert "the last poll failed, asking again" in written
    assert KEY not in written
    assert len(sandbox.submissions) == 1


def test_wait_ends_at_its_deadline_and_says_that_the_generation_goes_on(connect: Connect) -> None:
    with Sandbox(render_seconds=600, api_key=KEY) as sandbox:
        hook = connect(sandbox.base_url)
        request_id = hook.submit(PROMPT)
        with pytest.raises(GenerationTimeoutError, match="goes on and is billed") as caught:
            hook.wait(request_id, poll_interval=0.05, timeout=0.2)
        assert request_id in str(caught.value)


def test_wait_believes_a_refused_key_only_after_a_fresh_look_at_the_connection(
    sandbox: Sandbox, connect: Connect
) -> None:
    hook = connect(sandbox.base_url)
    request_id = hook.submit(PROMPT)
    rotated = connect(sandbox.base_url, password="sk-old")
    assert rotated.settings.api_key == "sk-old"
    connect(sandbox.base_url)
    assert rotated.wait(request_id, poll_interval=0.01, timeout=60).state == "done"
    hopeless = connect(sandbox.base_url, password="sk-old")
    with pytest.raises(AuthenticationError) as caught:
        hopeless.wait(request_id, poll_interval=0.01, timeout=60)
    assert request_id in str(caught.value)
    assert "sk-old" not in str(caught.value)


async def fired(trigger: GrokVideoTrigger) -> list[dict[str, Any]]:
    """Return what a trigger fires."""
    return [event.payload async for event in trigger.run()]


async def test_long_pause_asked_of_one_wait_holds_the_others_for_a_moment(
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


async def test_ca_file_that_is_no_certificate_is_an_error_of_the_transport(tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    hook = connect("https://127.0.0.1:1", verify=str(tmp_path / "ca.pem"))
    with pytest.raises(TransportError, match="TLS cannot be set up"):
        await hook.aget_generation("x")
    with pytest.raises(TransportError):
        hook.get_generation("x")


# --- test_connection ----------------------------------------------------------------------------------


def test_good_connection_says_what_it_offers_and_costs_nothing(hook: GrokVideoHook, sandbox: Sandbox) -> None:
    good, message = hook.test_connection()
    assert good
    assert message == (
        f"{sandbox.base_url} accepts the key and offers 3 models, of them grok-imagine-video, "
        "grok-imagine-video-1.5, grok-imagine-video-1.5-lite"
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
        ("sk with space", f"The API key of connection '{NAME}' has characters that no key has; copy it again."),
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
        ("html", "does not answer as the API does; check the host: the answer is not JSON"),
        ("server_error", "does not answer as the API does; check the host"),
        ("bad_key", f"The API rejected the key of connection '{NAME}' (HTTP 400): Incorrect API key provided: sk***"),
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


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("host", "words"),
    [
        pytest.param(lambda: f"http://127.0.0.1:{free_port()}/v1", "Connection refused", id="nobody-there"),
        pytest.param(lambda: "https://no-such-host.invalid/v1", "the connection failed", id="no-such-host"),
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


@pytest.mark.parametrize("verify", ["ca_file", "false"])
def test_verify_holds_for_both_clients_whatever_the_environment_says(
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


# --- the environment ----------------------------------------------------------------------------------


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


def test_proxy_of_the_environment_is_used_and_one_of_the_connection_before_it(
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


# --- the shared client --------------------------------------------------------------------------------


async def test_waits_with_the_same_settings_share_one_client_until_the_last_one_ends(sandbox: Sandbox) -> None:
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
