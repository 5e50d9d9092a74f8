"""How a wait ends: event, error or result, and what a retry may mend."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.polling import Stop
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    DownloadError,
    GenerationError,
    GenerationExpiredError,
    GenerationFailedError,
    GenerationModeratedError,
    GenerationNotFoundError,
    GenerationTimeoutError,
    GrokVideoError,
    InsufficientQuotaError,
    InvalidRequestError,
    LedgerError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
)
from airflow_provider_grokvideo.outcome import (
    STATUSES,
    ending_error,
    from_event,
    to_airflow_exception,
    to_event,
    to_result,
)
from airflow_provider_grokvideo.storage import Landed

ID = "a3d1008e-4544-40d4-d075-11527e794e4a"
DONE = Generation(
    ID,
    "done",
    progress=100,
    video_url="https://v.example.com/x.mp4?sig=1",
    duration=8,
    model="grok-imagine-video",
    cost_usd=Decimal("0.40"),
    raw_status="done",
)
PENDING = Generation(ID, "pending", progress=40, raw_status="processing")


def ended(state: Any, **more: Any) -> Generation:
    """Return a generation that ended badly."""
    return Generation(ID, state, raw_status=state, **more)


# --- the event ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "generation", "status"),
    [
        pytest.param(Stop("final"), DONE, "done", id="done"),
        pytest.param(Stop("final"), ended("failed", error_code="internal_error"), "failed", id="failed"),
        pytest.param(Stop("final"), ended("expired"), "expired", id="expired"),
        pytest.param(Stop("final"), ended("moderated", cost_usd=Decimal("0.25")), "moderated", id="moderated"),
        pytest.param(Stop("timeout"), PENDING, "timeout", id="timeout"),
        pytest.param(Stop("timeout"), None, "timeout", id="timeout-without-an-answer"),
        pytest.param(Stop("error", ServerError("oh", status=500)), None, "error", id="error"),
    ],
)
def test_event_is_small_json_with_a_known_status(stop: Stop, generation: Generation | None, status: str) -> None:
    event = to_event(stop, ID, generation, polls=3)
    assert json.loads(json.dumps(event)) == event
    assert (event["status"], event["request_id"], event["polls"]) == (status, ID, 3)
    assert status in STATUSES
    assert len(json.dumps(event)) < 1000


@pytest.mark.parametrize(
    "generation",
    [
        DONE,
        ended("failed", error_code="c", error_message="m"),
        ended("expired"),
        ended("moderated", cost_usd=Decimal("1E-10")),
    ],
    ids=lambda generation: generation.state,
)
def test_final_generation_survives_its_event_but_for_the_signed_url(generation: Generation) -> None:
    event = json.loads(json.dumps(to_event(Stop("final"), ID, generation, polls=1)))
    read = from_event(event, timeout=900)
    assert read.video_url is None
    for name in ("request_id", "state", "duration", "model", "cost_usd", "error_code", "error_message"):
        assert getattr(read, name) == getattr(generation, name)


@pytest.mark.parametrize(
    ("generation", "last"),
    [(PENDING, "processing, 40 %"), (None, "nothing"), (Generation(ID, "pending"), "nothing")],
    ids=["pending", "never-answered", "without-status"],
)
def test_timeout_says_that_it_goes_on_and_what_was_last_said(generation: Generation | None, last: str) -> None:
    event = to_event(Stop("timeout"), ID, generation, polls=9)
    with pytest.raises(GenerationTimeoutError) as caught:
        from_event(event, timeout=900)
    message = str(caught.value)
    assert [
        word for word in (ID, "900 s", last, "goes on and is billed", "does not pay again") if word not in message
    ] == []
    assert caught.value.request_id == ID


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AuthenticationError("refused", status=401), AuthenticationError),
        (GenerationNotFoundError("gone", status=404), GenerationNotFoundError),
        (RequestRejectedError("no", status=400), RequestRejectedError),
        (ServerError("oh", status=500), GrokVideoError),
        (TransportError("lost", delivered=True), GrokVideoError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_error_of_the_wait_is_raised_by_its_kind_with_the_id(error: GrokVideoError, kind: type[GrokVideoError]) -> None:
    with pytest.raises(GrokVideoError) as caught:
        from_event(to_event(Stop("error", error), ID, None, polls=4), timeout=900)
    assert type(caught.value) is kind
    assert ID in str(caught.value)
    assert str(error) in str(caught.value)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"status": "done"},
        {"status": "landed", "request_id": ID},
        {"status": ["done"], "request_id": ID},
        {"status": "done", "request_id": 5},
    ],
    ids=["empty", "no-id", "unknown-status", "status-a-list", "id-a-number"],
)
def test_event_that_no_trigger_of_ours_sends_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(GrokVideoError, match="none of its own"):
        from_event(event, timeout=900)


# --- the error ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "kind", "words"),
    [
        pytest.param(
            ended("failed", error_code="internal_error", error_message="the renderer crashed"),
            GenerationFailedError,
            ("failed", "the renderer crashed", "internal_error", "retry"),
            id="failed",
        ),
        pytest.param(ended("failed"), GenerationFailedError, ("the API gives no reason",), id="failed-without-a-word"),
        pytest.param(ended("expired"), GenerationExpiredError, ("expired", "pays for a new one"), id="expired"),
        pytest.param(
            ended("moderated", cost_usd=Decimal("0.2500000000"), error_message="blocked"),
            GenerationModeratedError,
            ("content moderation", "blocked", "it cost 0.2500000000 USD", "change it"),
            id="moderated-and-billed",
        ),
        pytest.param(ended("failed", cost_usd=Decimal(0)), GenerationFailedError, ("it cost 0 USD",), id="free"),
    ],
)
def test_ending_names_the_generation_the_reason_the_cost_and_what_to_do(
    generation: Generation, kind: type[GenerationError], words: tuple[str, ...]
) -> None:
    error = ending_error(generation)
    assert type(error) is kind
    assert error.request_id == ID
    assert error.code == generation.error_code
    assert [word for word in (ID, *words) if word not in str(error)] == []


# (error, beyond retry when nothing is under way, beyond retry when something is)
RETRIES: list[tuple[GrokVideoError, bool, bool]] = [
    (InvalidRequestError("bad"), True, False),
    (AuthenticationError("bad", status=401), True, False),
    (InsufficientQuotaError("bad", status=403), True, False),
    (RequestRejectedError("bad", status=400), True, False),
    (GenerationNotFoundError("bad", status=404), True, False),
    (SubmissionUnknownError("bad"), True, False),
    (GenerationModeratedError("bad", request_id=ID), True, True),
    (GenerationFailedError("bad", request_id=ID), False, False),
    (GenerationExpiredError("bad", request_id=ID), False, False),
    (GenerationTimeoutError("bad", request_id=ID), False, False),
    (RateLimitError("bad"), False, False),
    (ServerError("bad", status=500), False, False),
    (TransportError("bad", delivered=False), False, False),
    (DownloadError("bad"), False, False),
    (LedgerError("bad"), False, False),
]


@pytest.mark.parametrize(("error", "alone", "paid"), RETRIES, ids=[type(case[0]).__name__ for case in RETRIES])
def test_what_a_retry_cannot_mend_forbids_it(error: GrokVideoError, alone: bool, paid: bool) -> None:
    for paid_for, hopeless in ((False, alone), (True, paid)):
        raised = to_airflow_exception(error, paid_for=paid_for)
        assert isinstance(raised, AirflowFailException) is hopeless
        assert str(raised) == str(error)
        assert hopeless or raised is error


def test_fail_exception_is_one_of_airflow() -> None:
    assert issubclass(AirflowFailException, AirflowException)


# --- the result ---------------------------------------------------------------------------------------


def test_result_holds_the_documented_fields_and_small_values() -> None:
    landed = Landed("s3://conn@bucket/x.mp4", 12345, "ab" * 32)
    result = to_result(DONE, landed, model="asked-for", elapsed_seconds=12.34567)
    assert result == {
        "request_id": ID,
        "status": "done",
        "model": "grok-imagine-video",
        "video_url": "https://v.example.com/x.mp4?sig=1",
        "duration": 8,
        "cost_usd": "0.40",
        "path": "s3://conn@bucket/x.mp4",
        "size_bytes": 12345,
        "sha256": "ab" * 32,
        "content_type": "video/mp4",
        "elapsed_seconds": 12.346,
    }
    assert json.loads(json.dumps(result)) == result


def test_result_without_landing_names_the_model_that_was_asked_for() -> None:
    result = to_result(Generation(ID, "done", video_url="https://v/x.mp4"), None, model="asked-for", elapsed_seconds=1)
    assert result["model"] == "asked-for"
    assert [result[name] for name in ("path", "size_bytes", "sha256", "content_type", "cost_usd")] == [None] * 5


@given(st.decimals(min_value=0, max_value=10**6, places=10))
def test_cost_is_exact_and_never_in_scientific_notation(cost: Decimal) -> None:
    text = to_result(ended("failed", cost_usd=cost), None, model="m", elapsed_seconds=0)["cost_usd"]
    assert Decimal(text) == cost
    assert "E" not in text
