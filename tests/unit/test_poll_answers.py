"""Each answer to a poll as it is judged."""

from __future__ import annotations

import pytest

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    GenerationNotFoundError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
)
from tests.support.api_answers import COMET, HTML, ID, TEAM_RATE, XAI, answer, comet, xai

Rejected, NotFound, BadKey = RequestRejectedError, GenerationNotFoundError, AuthenticationError

WRONG_KEY = "Incorrect API key provided: xa***"
UNKNOWN_TASK = {"code": "task_not_exist", "message": "task_not_exist", "data": None}

POLL_ERRORS: list[tuple[str, Settings, HTTPResponse, type[ApiError]]] = [
    (
        "comet-unknown-id",
        COMET,
        answer(400, UNKNOWN_TASK),
        NotFound,
    ),
    (
        "comet-unknown-id-on-200",
        COMET,
        answer(200, UNKNOWN_TASK),
        NotFound,
    ),
    ("xai-unknown-id", XAI, answer(404, {"error": {"message": "No deferred video"}}), NotFound),
    ("html-404", COMET, answer(404, HTML), NotFound),
    ("bad-key-401", COMET, answer(401, comet("Invalid token")), BadKey),
    ("xai-bad-key-400", XAI, answer(400, xai(WRONG_KEY)), BadKey),
    ("another-key-403", XAI, answer(403, xai("forbidden")), BadKey),
    ("rate-429", XAI, answer(429, xai(TEAM_RATE)), RateLimitError),
    (
        "bad-request-400",
        COMET,
        answer(400, comet("upstream returned status 400")),
        Rejected,
    ),
    ("redirect", COMET, answer(301), Rejected),
    ("html-200", COMET, answer(200, HTML), ServerError),
    ("half-json", COMET, answer(200, b'{"status": "do'), ServerError),
    ("list", COMET, answer(200, []), ServerError),
    ("500", COMET, answer(500, b"oh"), ServerError),
    ("500-invalid-request", COMET, answer(500, comet("oh", "invalid_request")), ServerError),
    ("503-model-not-found", COMET, answer(503, comet("oh", "model_not_found")), ServerError),
    ("504", COMET, answer(504, HTML), ServerError),
    ("request-timeout-408", COMET, answer(408), ServerError),
]


@pytest.mark.parametrize(
    ("settings", "given_answer", "kind"), [case[1:] for case in POLL_ERRORS], ids=[case[0] for case in POLL_ERRORS]
)
def test_poll_error_is_typed_and_names_the_generation(
    settings: Settings, given_answer: HTTPResponse, kind: type[ApiError]
) -> None:
    with pytest.raises(ApiError) as caught:
        protocol.read_poll(settings, ID, given_answer)
    assert type(caught.value) is kind
    assert caught.value.request_id == ID
    assert ID in str(caught.value)


@pytest.mark.parametrize("status", [400, 403, 422])
def test_moderation_as_an_error_is_a_final_state_with_its_cost(status: int) -> None:
    body = {
        "code": "imagine:content-moderated",
        "error": "Generated video rejected by content moderation.",
        "usage": {"cost_in_usd_ticks": 2500000000},
    }
    generation = protocol.read_poll(XAI, ID, answer(status, body))
    assert generation.state == "moderated"
    assert generation.error_code == "imagine:content-moderated"
    assert generation.error_message == "Generated video rejected by content moderation."
    assert str(generation.cost_usd) == "0.25"


@pytest.mark.parametrize("status", [200, 202, 204])
def test_empty_answer_is_pending(status: int) -> None:
    assert protocol.read_poll(XAI, ID, answer(status, b" \n")).state == "pending"


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"0,", b'"[",'])
def test_document_of_too_many_items_is_not_parsed(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"status": "pending", "more": [' + piece * 50_000 + b"0]}"
    with pytest.raises(ServerError, match="not answer with JSON"):
        protocol.read_poll(COMET, "r1", answer(200, body))
    assert protocol.read_poll(COMET, "r1", answer(200, body.replace(piece, b"", 30_000))).state == "pending"
