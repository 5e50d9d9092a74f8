"""Messages about a generation: ended without a video, not done in time, unknown, or not to be polled."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.polling import Stop
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.events import from_event, stop_error, to_event
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    GenerationError,
    GenerationExpiredError,
    GenerationFailedError,
    GenerationModeratedError,
    GenerationNotFoundError,
    GenerationTimeoutError,
    GrokVideoError,
    InvalidRequestError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    TransportError,
)
from airflow_provider_grokvideo.sensors.arguments import checked_id

ID = "4b2c"
SETTINGS = Settings(base_url="http://host:1/grok/v1", api_key="sk-Zq81xTopSecretKey0042", conn_id="x")
RETRY = "A retry checks once more; if the generation has still failed, it submits and pays for a new one."
CHANGE = "The same request would fail again: change it, then clear this task."
CHANGE_PROMPT = "The API would reject the same request again: change the prompt or the inputs, then clear this task."
RESUMES = "The generation is billed, and the next attempt resumes it."
XCOM = (
    'Use the id of a generation, or the XCom "request_id" of the task that submits, e.g. '
    '{{ ti.xcom_pull(task_ids="submit", key="request_id") }}.'
)


@pytest.mark.parametrize(
    ("generation", "kind", "message"),
    [
        (
            Generation(ID, "failed", error_code="internal_error", error_message="The renderer crashed."),
            GenerationFailedError,
            f"Generation 4b2c failed (code internal_error): The renderer crashed. It may be billed. {RETRY}",
        ),
        (
            Generation(ID, "failed", error_code="invalid_argument", error_message="bad image"),
            GenerationFailedError,
            f"Generation 4b2c failed (code invalid_argument): bad image. It may be billed. {CHANGE}",
        ),
        (
            Generation(ID, "failed", cost_usd=Decimal(0)),
            GenerationFailedError,
            f"Generation 4b2c failed: the API gives no reason. It cost 0 USD. {RETRY}",
        ),
        (
            Generation(ID, "expired", cost_usd=Decimal("0.40")),
            GenerationExpiredError,
            f"Generation 4b2c expired: the API gives no reason. It cost 0.40 USD. {RETRY}",
        ),
        (
            Generation(ID, "moderated", cost_usd=Decimal("0.25"), error_message="blocked!"),
            GenerationModeratedError,
            f"Generation 4b2c was rejected by content moderation: blocked! It cost 0.25 USD. {CHANGE_PROMPT}",
        ),
        (
            Generation(
                ID,
                "moderated",
                error_code="content_moderated",
                error_message="the generated video was rejected by content moderation",
            ),
            GenerationModeratedError,
            "Generation 4b2c was rejected by content moderation (code content_moderated). It may be billed. "
            f"{CHANGE_PROMPT}",
        ),
    ],
    ids=["failed", "final-code", "free", "expired", "moderated", "moderated-without-reason"],
)
def test_generation_without_a_video_gets_its_message(
    generation: Generation, kind: type[GenerationError], message: str
) -> None:
    raised = GenerationError.from_generation(generation)
    assert (type(raised), str(raised)) == (kind, message)
    assert (raised.request_id, raised.code) == (ID, generation.error_code)


@pytest.mark.parametrize(
    ("generation", "status"),
    [
        (Generation(ID, "pending", raw_status="processing", progress=40), "last status: processing, 40 %"),
        (Generation(ID, "pending", raw_status="queued"), "last status: queued"),
        (Generation(ID, "pending"), "no status received yet"),
        (None, "no status received yet"),
    ],
    ids=["progress", "status", "without-status", "never-answered"],
)
def test_timeout_gets_its_message(generation: Generation | None, status: str) -> None:
    raised = stop_error(Stop("timeout"), ID, generation, timeout=900, conn_id="x")
    assert type(raised) is GenerationTimeoutError
    assert str(raised) == (
        f"Generation 4b2c is not done after 900 s ({status}). It continues and is billed. "
        "A retry waits for it again and does not pay again."
    )


def answer(status: int, body: Any = b"") -> HTTPResponse:
    """Return a response; an object is sent as JSON."""
    return HTTPResponse(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


UNKNOWN_TASK = {"code": "task_not_exist", "message": "task_not_exist", "data": None}
POLLS: list[tuple[HTTPResponse, type[ApiError], str]] = [
    *(
        (
            answer(status, UNKNOWN_TASK),
            GenerationNotFoundError,
            f"The API knows no generation 4b2c for this key (HTTP {status}, code task_not_exist): task_not_exist. "
            "Check the id, and that connection 'x' is the one that submitted it.",
        )
        for status in (200, 400)
    ),
    (
        answer(401, {"error": {"message": "Invalid token."}}),
        AuthenticationError,
        "The API rejected the key of connection 'x' (HTTP 401, request_id 4b2c): Invalid token. "
        "Check that it is a key for http://host:1/grok/v1.",
    ),
    (
        answer(429, {"error": {"message": "Too many requests."}}),
        RateLimitError,
        "The rate limit of connection 'x' is exceeded (HTTP 429, request_id 4b2c): Too many requests.",
    ),
    (
        answer(400, {"error": {"message": "bad"}}),
        RequestRejectedError,
        "The API rejected the request of connection 'x' (HTTP 400, request_id 4b2c): bad.",
    ),
    (answer(502), ServerError, "The API failed (HTTP 502, request_id 4b2c): it sent an empty body."),
    (
        answer(200, b"<html>"),
        ServerError,
        "The API did not answer with JSON (HTTP 200, request_id 4b2c): it sent: <html>.",
    ),
    (answer(200, []), ServerError, "The API did not answer with a JSON object (request_id 4b2c): it sent a list."),
]


@pytest.mark.parametrize(("response", "kind", "message"), POLLS, ids=[case[2][:50] for case in POLLS])
def test_failed_poll_gets_its_message(response: HTTPResponse, kind: type[ApiError], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        protocol.read_poll(SETTINGS, ID, response)
    assert (type(caught.value), str(caught.value)) == (kind, message)
    assert caught.value.request_id == ID


@pytest.mark.parametrize("request_id", ["", "a b\n", ".."])
def test_id_that_cannot_be_polled_gets_its_message(request_id: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        protocol.poll_url(SETTINGS, request_id)
    assert str(caught.value) == (
        f"request_id={request_id.strip()!r} is not valid. "
        "Use the id of a generation, which has up to 512 printable characters."
    )


NO_RESPONSE = protocol.no_response_error(SETTINGS, "http://host:1/grok/v1/videos/4b2c", "connection refused")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            AuthenticationError("Invalid token.", status=401, what="The API rejected the key of connection 'x'"),
            AuthenticationError,
            "The wait for generation 4b2c ended. The API rejected the key of connection 'x' (HTTP 401): Invalid token. "
            f"{RESUMES}",
        ),
        (
            NO_RESPONSE,
            GrokVideoError,
            "The wait ended. No response from http://host:1/grok/v1/videos/4b2c (connection 'x'): connection refused. "
            f"{RESUMES}",
        ),
        (
            GenerationNotFoundError("task_not_exist", status=400),
            GenerationNotFoundError,
            "The API knows no generation 4b2c for this key. Check the id, and that connection 'x' is the one that "
            "submitted it.",
        ),
        (
            RequestRejectedError("no", status=400),
            RequestRejectedError,
            f"The wait for generation 4b2c ended. no (HTTP 400). {RESUMES}",
        ),
        (
            TransportError("Connection 'x' cannot be looked up now (OSError).", delivered=False),
            GrokVideoError,
            f"The wait for generation 4b2c ended. Connection 'x' cannot be looked up now (OSError). {RESUMES}",
        ),
    ],
    ids=["bad-key", "no-response", "unknown-id", "rejected", "no-connection"],
)
def test_wait_that_ends_gets_its_message(error: GrokVideoError, kind: type[GrokVideoError], message: str) -> None:
    raised = stop_error(Stop("error", error), ID, None, timeout=900, conn_id="x")
    assert (type(raised), str(raised)) == (kind, message)


def test_wait_without_an_id_names_none() -> None:
    event = to_event(Stop("error", InvalidRequestError("request_id is empty.")), "", None, 0)
    with pytest.raises(GrokVideoError) as caught:
        from_event(event, timeout=900, conn_id="x")
    assert str(caught.value) == "request_id is empty."


def test_foreign_event_gets_its_message() -> None:
    with pytest.raises(GrokVideoError) as caught:
        from_event({"status": "stored"}, timeout=900, conn_id="x")
    assert str(caught.value) == "The trigger sent an event that this package does not know: {'status': 'stored'}."


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *(
            (
                wrong,
                f"request_id={wrong!r} is not valid. It is empty, so the XCom that it comes from was not found. {XCOM}",
            )
            for wrong in (None, "", " ", "None")
        ),
        (5, f"request_id=5 is not valid. {XCOM}"),
        (
            {"request_id": ID},
            "request_id={'request_id': '4b2c'} is not valid. This is the whole result. Use its key request_id.",
        ),
    ],
)
def test_wrong_id_of_a_sensor_gets_its_message(given: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        checked_id(given)
    assert str(caught.value) == message
