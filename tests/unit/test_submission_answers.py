"""Each answer to a submission as it is judged: was it accepted, refused, or can nobody tell?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    GrokVideoError,
    InsufficientQuotaError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
)
from tests.support.api_answers import COMET, HTML, ID, TEAM_RATE, XAI, answer, comet, xai

Rejected, BadKey, NoQuota = RequestRejectedError, AuthenticationError, InsufficientQuotaError

TEAM_CREDIT = (
    "Your team t has either used all available credits or reached its monthly spending limit. "
    "To continue making API requests, please purchase more credits or raise your spending limit."
)
NEW_TEAM = "Your newly created team doesn't have any credits or licenses yet. You can purchase those first."

ACCEPTED = [
    ("documented", 200, {"request_id": ID}),
    ("accepted-202", 202, {"request_id": ID}),
    ("created-201", 201, {"request_id": f" {ID} "}),
    ("wrapped-task-id", 200, {"code": "success", "message": "", "data": {"task_id": ID}}),
    ("wrapped-request-id", 200, {"code": "success", "data": {"request_id": ID}}),
    ("gateway-data-is-the-id", 200, {"code": "success", "message": "", "data": ID}),
    ("openai-style", 200, {"id": ID, "object": "video", "status": "queued"}),
    ("with-byte-order-mark", 200, b"\xef\xbb\xbf" + json.dumps({"request_id": ID}).encode()),
]

REFUSED: list[tuple[str, Settings, HTTPResponse, type[ApiError], str]] = [
    (
        "comet-missing-field-400",
        COMET,
        answer(400, comet("model name is required")),
        Rejected,
        "model name",
    ),
    (
        "comet-missing-field-500",
        COMET,
        answer(500, comet("field messages is required", "invalid_request")),
        Rejected,
        "field messages is required",
    ),
    (
        "comet-unknown-model-503",
        COMET,
        answer(503, comet("no available channel for group default and model m", "model_not_found")),
        Rejected,
        "no available channel",
    ),
    ("comet-bad-key-401", COMET, answer(401, comet("Invalid token")), BadKey, "Invalid token"),
    (
        "comet-no-quota-403",
        COMET,
        answer(403, comet("user quota is not enough", "insufficient_user_quota")),
        NoQuota,
        "quota",
    ),
    (
        "comet-pre-consume-403",
        COMET,
        answer(403, comet("no", "pre_consume_token_quota_failed")),
        NoQuota,
        "pre_consume",
    ),
    ("comet-quota-code-403", COMET, answer(403, comet("no", "quota_not_enough")), NoQuota, "quota"),
    (
        "comet-passes-on-400",
        COMET,
        answer(400, comet('{"code":"invalid-argument","error":"duration"}', "fail_to_fetch_task")),
        Rejected,
        "duration",
    ),
    ("comet-404", COMET, answer(404, HTML, content_type="text/html"), Rejected, "HTTP 404): it sent text/html: "),
    (
        "xai-bad-key-400",
        XAI,
        answer(400, xai("Incorrect API key provided: xa***", "invalid-argument")),
        BadKey,
        "Incorrect API key",
    ),
    (
        "xai-no-key-401",
        XAI,
        answer(401, xai("No key", "unauthenticated:no-credentials")),
        BadKey,
        "No key",
    ),
    ("xai-no-credits-403", XAI, answer(403, xai(NEW_TEAM, "permission-denied")), NoQuota, "credits"),
    (
        "xai-blocked-403",
        XAI,
        answer(403, xai("This API key is blocked.", "permission-denied")),
        BadKey,
        "blocked",
    ),
    ("xai-no-credits-429", XAI, answer(429, xai(TEAM_CREDIT)), NoQuota, "spending limit"),
    ("xai-rate-429", XAI, answer(429, xai(TEAM_RATE, "resource-exhausted")), RateLimitError, "Too many requests"),
    ("comet-rate-429", COMET, answer(429, comet("rate limit")), RateLimitError, "rate limit"),
    ("rate-429-without-a-word", COMET, answer(429), RateLimitError, "HTTP 429"),
    ("rate-429-html", COMET, answer(429, HTML), RateLimitError, "HTTP 429"),
    (
        "xai-bad-field-400",
        XAI,
        answer(400, xai("duration is bad", "invalid-argument")),
        Rejected,
        "duration",
    ),
    ("xai-bad-field-422", XAI, answer(422, xai("prompt: invalid type")), Rejected, "invalid type"),
    (
        "xai-unknown-model-404",
        XAI,
        answer(404, xai("The model m does not exist", "not-found")),
        Rejected,
        "model m",
    ),
    ("payment-required-402", XAI, answer(402, xai("Payment required.")), NoQuota, "Payment"),
    ("too-large-413", COMET, answer(413, HTML), Rejected, "413"),
    (
        "redirect-301",
        COMET,
        answer(301, HTML, location="/login"),
        Rejected,
        "redirects, which is not followed",
    ),
    ("redirect-307", COMET, answer(307), Rejected, "not followed"),
    ("fastapi-422", COMET, answer(422, {"detail": "prompt too long"}), Rejected, "prompt too long"),
    (
        "new-api-flat",
        COMET,
        answer(400, {"code": "bad", "message": "no such thing", "data": None}),
        Rejected,
        "no such thing",
    ),
]

UNKNOWN = [
    ("no-id", COMET, answer(200, {})),
    ("empty-body", COMET, answer(200)),
    ("empty-202", XAI, answer(202)),
    ("id-null", COMET, answer(200, {"request_id": None})),
    ("id-blank", COMET, answer(200, {"request_id": " "})),
    ("html-200", COMET, answer(200, HTML, content_type="text/html")),
    ("half-of-the-json", COMET, answer(200, b'{"request_id": "a3d1')),
    ("not-an-object", COMET, answer(200, [ID])),
    ("error-on-200", COMET, answer(200, comet("oh"))),
    ("refusal-in-data-on-200", COMET, answer(200, {"code": "fail", "message": "no", "data": "quota is not enough"})),
    ("server-error-500", COMET, answer(500, b"Internal Server Error")),
    ("comet-500-other-code", COMET, answer(500, comet("oh", "do_request_failed"))),
    ("comet-passes-on-500", COMET, answer(500, comet("upstream", "fail_to_fetch_task"))),
    ("bad-gateway-502", COMET, answer(502, HTML)),
    ("unavailable-503", XAI, answer(503, xai("The service is currently unavailable"))),
    ("gateway-timeout-504", COMET, answer(504, HTML)),
    ("cloudflare-524", COMET, answer(524, HTML)),
    ("request-timeout-408", COMET, answer(408)),
    ("client-closed-499", COMET, answer(499)),
    ("see-other-303", COMET, answer(303)),
]


@pytest.mark.parametrize(("status", "body"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted_submission_gives_its_id(status: int, body: Any) -> None:
    assert protocol.read_submission(COMET, answer(status, body)) == ID


@pytest.mark.parametrize(
    ("settings", "given_answer", "kind", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refused_submission_is_a_final_clear_error(
    settings: Settings, given_answer: HTTPResponse, kind: type[ApiError], words: str
) -> None:
    with pytest.raises(ApiError) as caught:
        protocol.read_submission(settings, given_answer)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert caught.value.status == given_answer.status
    assert f"HTTP {given_answer.status}" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "given_answer"), [case[1:] for case in UNKNOWN], ids=[case[0] for case in UNKNOWN]
)
def test_submission_that_may_have_been_accepted_is_unknown(settings: Settings, given_answer: HTTPResponse) -> None:
    with pytest.raises(SubmissionUnknownError) as caught:
        protocol.read_submission(settings, given_answer)
    assert f"HTTP {given_answer.status}" in str(caught.value)


KEYS = st.sampled_from(["request_id", "data", "id", "error", "code"])
documents = st.recursive(
    st.none() | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner),
)


@given(st.integers(100, 599), st.binary(max_size=120) | documents.map(lambda value: json.dumps(value).encode()))
def test_no_answer_to_a_submission_ends_otherwise(status: int, body: bytes) -> None:
    try:
        request_id = protocol.read_submission(COMET, HTTPResponse(status, {}, body))
    except ApiError as error:
        # Refused: never on a success, never where the server itself failed.
        assert not 200 <= status < 300
        assert not isinstance(error, ServerError)
    except SubmissionUnknownError:
        assert 200 <= status < 300 or status >= 500 or status < 300 or status in {303, 408, 499}
    else:
        assert 200 <= status < 300
        assert request_id.strip()


@pytest.mark.parametrize(
    ("body_sent", "kind"), [(True, SubmissionUnknownError), (False, TransportError)], ids=["body-sent", "not-sent"]
)
def test_lost_submission_is_judged_by_whether_its_body_was_sent(body_sent: bool, kind: type[GrokVideoError]) -> None:
    error = protocol.submission_transport_error(COMET, "connection reset", body_sent=body_sent)
    assert type(error) is kind
    assert "connection reset" in str(error)
    assert not getattr(error, "delivered", False)
