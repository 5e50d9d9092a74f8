"""The hook against a real API: submit, poll, wait and download."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.api.aio import _clients
from airflow_provider_grokvideo.api.request import VideoRequest
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
from tests.support.hooks import KEY, PROMPT, Connect, run


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Return an API of one's own."""
    with Sandbox(render_seconds=0, api_key=KEY) as running:
        yield running


@pytest.mark.parametrize("envelope", ["raw", "wrapped", "xai"])
def test_video_from_request_to_file(envelope: Any, connect: Connect, tmp_path: Path) -> None:
    with Sandbox(render_seconds=0.1, envelope=envelope, api_key=KEY) as sandbox:
        hook = connect(sandbox.base_url)
        request_id = hook.submit(PROMPT)
        generation = hook.wait(request_id, poll_interval=0.05, timeout=30)
        assert (generation.state, generation.duration, generation.model) == ("done", 1, "grok-imagine-video")
        assert str(generation.cost_usd) == "0.05"
        saved = hook.download(generation, f"file://{tmp_path}/")
        content = (tmp_path / f"{request_id}.mp4").read_bytes()
        assert saved.sha256 == hashlib.sha256(content).hexdigest()
        assert ObjectStoragePath(saved.path).read_bytes() == content
        assert [submission["request_id"] for submission in sandbox.submissions] == [request_id]
        assert [download["authorization"] for download in sandbox.downloads] == [False]


def test_xai_host_uses_the_xai_api(sandbox: Sandbox, connect: Connect) -> None:
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
def test_rejected_model_error_suggests_the_nearest_name(
    dialect: str,
    sandbox: Sandbox,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hook = connect(getattr(sandbox, dialect))
    with caplog.at_level(logging.WARNING), pytest.raises(RequestRejectedError) as caught:
        hook.submit(VideoRequest(prompt="p", model="grok-imagine-vidoe"))
    assert "offers no model 'grok-imagine-vidoe' to this key (HTTP " in str(caught.value)
    assert "Nothing was billed. Did you mean 'grok-imagine-video'?" in str(caught.value)
    written = caplog.text + "".join(capfd.readouterr())
    assert "the nearest known name is 'grok-imagine-video'" in written
    assert sandbox.submissions == []


def test_unsupported_request_is_not_sent(hook: GrokVideoHook, sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match="only xAI has more"):
        hook.submit(VideoRequest(prompt="p", aspect_ratio="21:9"))
    assert (sandbox.submissions, sandbox.refusals) == ([], [])


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
def test_failed_submission_is_sent_once(
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
def test_both_clients_read_each_poll_response_alike(envelope: Any, connect: Connect) -> None:
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


def test_wait_continues_after_failed_polls_and_logs_changes(
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
    assert "a status this package does not know; it is polled again" in written
    assert "the last poll failed and is repeated. " in written
    assert KEY not in written
    assert len(sandbox.submissions) == 1


def test_wait_ends_at_its_deadline(connect: Connect) -> None:
    with Sandbox(render_seconds=600, api_key=KEY) as sandbox:
        hook = connect(sandbox.base_url)
        request_id = hook.submit(PROMPT)
        with pytest.raises(GenerationTimeoutError, match="continues and is billed") as caught:
            hook.wait(request_id, poll_interval=0.05, timeout=0.2)
        assert request_id in str(caught.value)


def test_wait_rereads_the_key_before_it_fails(sandbox: Sandbox, connect: Connect) -> None:
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
