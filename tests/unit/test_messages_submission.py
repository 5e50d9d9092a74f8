"""Messages about a submission: not delivered, rejected, or with an unknown outcome."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.retry import SUBMISSION_TIMEOUT
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.api.summary import RequestSummary
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    GrokVideoError,
    InsufficientQuotaError,
    RateLimitError,
    RequestRejectedError,
    SubmissionUnknownError,
    TransportError,
)
from airflow_provider_grokvideo.ledger import Attempt
from airflow_provider_grokvideo.ledger_stores import Ledger
from airflow_provider_grokvideo.submission import PreparedRequest, submit_once, unknown_error

COMET = Settings(api_key="sk-Zq81xTopSecretKey0042", conn_id="x")
XAI = Settings(base_url="https://api.x.ai/v1", api_key="sk-Zq81xTopSecretKey0042", conn_id="x")
HTML = b"<html>oh</html>"


def answer(status: int, body: Any = b"", **headers: str) -> HTTPResponse:
    """Return a response; an object is sent as JSON."""
    return HTTPResponse(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def error(message: str, code: str = "") -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": {"message": message, "code": code}}


REJECTED: list[tuple[HTTPResponse, type[ApiError], str]] = [
    (
        answer(401, error("Incorrect API key.")),
        AuthenticationError,
        "The API rejected the key of connection 'x' (HTTP 401): Incorrect API key. Nothing was billed. "
        "Check that it is a key for https://api.x.ai/v1.",
    ),
    (
        answer(400, error("Incorrect API key provided", "invalid-argument")),
        AuthenticationError,
        "The API rejected the key of connection 'x' (HTTP 400, code invalid-argument): Incorrect API key provided. "
        "Nothing was billed. Check that it is a key for https://api.x.ai/v1.",
    ),
    (
        answer(403, error("forbidden")),
        AuthenticationError,
        "The API does not let the key of connection 'x' do that (HTTP 403): forbidden. Nothing was billed. "
        "Give the key this permission, or enter another one.",
    ),
    (
        answer(402, error("Payment required.")),
        InsufficientQuotaError,
        "The account of connection 'x' is out of credit (HTTP 402): Payment required. Nothing was billed. "
        "Add credit, then clear this task.",
    ),
    (
        answer(429, error("Too many requests.")),
        RateLimitError,
        "The rate limit of connection 'x' is exceeded (HTTP 429): Too many requests. Nothing was billed.",
    ),
    (
        answer(429),
        RateLimitError,
        "The rate limit of connection 'x' is exceeded (HTTP 429): it sent an empty body. Nothing was billed.",
    ),
    (
        answer(400, error("duration is bad", "invalid-argument")),
        RequestRejectedError,
        "The API rejected the request of connection 'x' (HTTP 400, code invalid-argument): duration is bad. "
        "Nothing was billed.",
    ),
    (
        answer(413, HTML, **{"content-type": "text/html; charset=utf-8"}),
        RequestRejectedError,
        "The API rejected the request of connection 'x' (HTTP 413): it sent text/html: <html>oh</html>. "
        "Nothing was billed.",
    ),
    (
        answer(301, location="/login"),
        RequestRejectedError,
        "The API at https://api.x.ai/v1 redirects, which is not followed (HTTP 301): it sent an empty body. "
        "Nothing was billed. Check the host of connection 'x'.",
    ),
]


@pytest.mark.parametrize(("response", "kind", "message"), REJECTED, ids=[case[2][:60] for case in REJECTED])
def test_rejected_submission_gets_its_message(response: HTTPResponse, kind: type[ApiError], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        protocol.read_submission(XAI, response)
    assert type(caught.value) is kind
    assert str(caught.value) == message


UNKNOWN: list[tuple[HTTPResponse, str]] = [
    (answer(200, {}), "The API answered with HTTP 200 and without a request_id: it sent: {}."),
    (answer(202), "The API answered with HTTP 202 and without a request_id: it sent an empty body."),
    (
        answer(200, {"request_id": ".."}),
        "The API answered with HTTP 200 and a request_id that cannot be used: '..'.",
    ),
    (
        HTTPResponse(200, {}, b"{", "the compressed body is damaged"),
        "The API answered with HTTP 200 and without a request_id: it sent a body, and the compressed body is damaged.",
    ),
    (answer(500, error("upstream.", "fail")), "The API failed (HTTP 500, code fail): upstream."),
    (answer(502, HTML), "The API failed (HTTP 502): it sent: <html>oh</html>."),
]


@pytest.mark.parametrize(("response", "message"), UNKNOWN, ids=[message for _, message in UNKNOWN])
def test_submission_with_unknown_outcome_gets_its_message(response: HTTPResponse, message: str) -> None:
    with pytest.raises(SubmissionUnknownError) as caught:
        protocol.read_submission(COMET, response)
    assert str(caught.value) == f"{message} The outcome of this submission is unknown, and it may be billed."


@pytest.mark.parametrize(
    ("base_url", "console"),
    [
        (XAI.base_url, "https://console.x.ai"),
        (COMET.base_url, "the usage log in CometAPI's console"),
    ],
    ids=["xai", "comet"],
)
def test_unknown_outcome_tells_a_person_what_to_do(base_url: str, console: str) -> None:
    reason = f"The API failed (HTTP 502): oh. {protocol.OUTCOME_UNKNOWN}"
    assert str(unknown_error(reason, base_url, 1_790_000_000)) == (
        "The API failed (HTTP 502): oh. The outcome of this submission is unknown, and it may be billed. "
        f"Nothing is submitted again. Look it up at {console}, submitted about 2026-09-21 14:13:20 UTC. If it is "
        "there, save it with GrokVideoSensor(request_id=…, output_path=…). To submit again, and perhaps pay twice, "
        'clear this task, or set on_unknown_submission="resubmit".'
    )


@pytest.mark.parametrize(
    ("body_sent", "kind", "message"),
    [
        (
            False,
            TransportError,
            "Could not reach https://api.x.ai/v1 (connection 'x'): connection refused. Nothing was billed.",
        ),
        (
            True,
            SubmissionUnknownError,
            "No response from https://api.x.ai/v1 (connection 'x'): connection refused. "
            "The outcome of this submission is unknown, and it may be billed.",
        ),
    ],
    ids=["not-sent", "sent"],
)
def test_submission_without_a_response_gets_its_message(
    body_sent: bool, kind: type[GrokVideoError], message: str
) -> None:
    lost = protocol.submission_transport_error(XAI, "connection refused", body_sent=body_sent)
    assert type(lost) is kind
    assert str(lost) == message
    assert not getattr(lost, "delivered", False)


@pytest.mark.parametrize(
    ("sent_before", "tries"), [(0, ""), (4, " after 5 attempts in 25 s")], ids=["first-attempt", "last-attempt"]
)
def test_unreachable_api_names_the_attempts(sent_before: int, tries: str) -> None:
    def submit(_: VideoRequest) -> str:
        raise protocol.unreachable_error(XAI, "connection refused")

    # Without a retry after the first attempt: no time is left.
    started = time.time() - 25 if sent_before else time.time() - SUBMISSION_TIMEOUT
    with pytest.raises(TransportError) as caught:
        submit_once(
            SimpleNamespace(client=SimpleNamespace(submit=submit), settings=XAI),  # type: ignore[arg-type]
            PreparedRequest(VideoRequest(prompt="p"), "f", "here", RequestSummary("m", "generation")),
            Ledger(None, Attempt()),
            attempt=sent_before,
            submit_deadline=started + SUBMISSION_TIMEOUT,
            max_sleep=5,
        )
    assert caught.value.delivered is False
    assert str(caught.value) == (
        f"Could not reach https://api.x.ai/v1 (connection 'x'): connection refused{tries}. Nothing was billed."
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "Connection 'x' has no API key. Enter it in the field \"API key\" (password)."),
        *(
            (key, "The API key of connection 'x' has characters that no key has. Copy it again.")
            for key in ("sk with space", "sk\nnewline", "sk-clé", "sk\x00")
        ),
    ],
    ids=["missing", "space", "newline", "accent", "nul"],
)
def test_key_that_cannot_be_sent_gets_its_message(key: str, message: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        protocol.submit_request(Settings(api_key=key, conn_id="x"), VideoRequest(prompt="p"))
    assert caught.value.status is None
    assert str(caught.value) == message
