"""Each HTTP call as it is built, and each answer as it is judged: was it accepted, refused, or can nobody tell?"""

from __future__ import annotations

import email.utils
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    GenerationNotFoundError,
    GrokVideoError,
    InsufficientQuotaError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
)

Rejected, NotFound, BadKey, NoQuota = (
    RequestRejectedError,
    GenerationNotFoundError,
    AuthenticationError,
    InsufficientQuotaError,
)
KEY = "sk-Zq81xTopSecretKey0042"
ID = "a3d1008e-4544-40d4-d075-11527e794e4a"
COMET = Settings(api_key=KEY)
XAI = Settings(base_url="https://api.x.ai/v1", api_key=KEY)
HTML = b"<!DOCTYPE html><html><body>CometAPI</body></html>"

TEAM_RATE = "Too many requests for team t. Your team's rate limit is - Requests per Second (actual/limit): 2/2."
TEAM_CREDIT = (
    "Your team t has either used all available credits or reached its monthly spending limit. "
    "To continue making API requests, please purchase more credits or raise your spending limit."
)
WRONG_KEY = "Incorrect API key provided: xa***"
UNKNOWN_TASK = {"code": "task_not_exist", "message": "task_not_exist", "data": None}
NEW_TEAM = "Your newly created team doesn't have any credits or licenses yet. You can purchase those first."


def answer(status: int, body: Any = b"", **headers: str) -> HTTPResponse:
    """Return an answer whose body is JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HTTPResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def comet(message: str, code: str = "") -> dict[str, Any]:
    """Return CometAPI's error body."""
    text = f"{message} (request id: 20261124)"
    return {"error": {"message": text, "type": "comet_api_error", "param": "", "code": code}}


def xai(message: str, code: str | None = None) -> dict[str, Any]:
    """Return xAI's error body."""
    return {"error": message} if code is None else {"code": code, "error": message}


# --- the submission -----------------------------------------------------------------------------------

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


# --- the poll -----------------------------------------------------------------------------------------

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


# --- Retry-After --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("0", 0.0),
        (" 1.5 ", 1.5),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("9" * 400, None),
        ("Mon, 32 Foo 2099 10:00:00 GMT", None),
        (email.utils.formatdate(0, usegmt=True), 0.0),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_retry_after_is_read_or_ignored(value: str, seconds: float | None) -> None:
    assert protocol.retry_after({"retry-after": value}) == seconds


def test_retry_after_may_be_a_date() -> None:
    asked = protocol.retry_after({"retry-after": email.utils.formatdate(time.time() + 5000, usegmt=True)})
    assert asked is not None
    assert 4000 < asked <= 5001


def test_rate_limit_error_carries_retry_after() -> None:
    with pytest.raises(RateLimitError) as caught:
        protocol.read_submission(COMET, answer(429, comet("slow down"), retry_after="7"))
    assert caught.value.retry_after == 7.0


@given(st.text())
def test_retry_after_never_fails(value: str) -> None:
    asked = protocol.retry_after({"retry-after": value})
    assert asked is None or 0 <= asked < float("inf")


# --- the key stays where it is ------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [0, 100, 180, 195, 390, 490, 4090])
@pytest.mark.parametrize("shape", ["json", "text", "code"])
def test_key_that_the_api_echoes_is_in_no_message_not_even_in_part(padding: int, shape: str) -> None:
    text = "x" * padding + KEY + " is not welcome"
    body: Any = {"json": comet(text), "text": text.encode(), "code": xai("no", text)}[shape]
    for read in (protocol.read_submission, protocol.read_models):
        for status in (200, 400, 401, 403, 429, 500):
            with pytest.raises(GrokVideoError) as caught:
                read(COMET, answer(status, body))
            assert KEY[:8] not in str(caught.value)
            assert KEY[:8] not in getattr(caught.value, "code", "")
            assert len(str(caught.value)) < 1500


def test_key_is_in_no_representation() -> None:
    call = protocol.submit_request(COMET, VideoRequest(prompt="p"))
    settings = Settings(api_key=KEY, proxy=f"http://u:{KEY}@proxy:1")
    assert KEY in call.headers["Authorization"]
    assert [text for text in (repr(call), str(call), repr(settings), str(settings)) if KEY in text] == []


# --- the calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_fields", "url"),
    [
        ({"prompt": "p"}, "https://api.cometapi.com/grok/v1/videos/generations"),
        ({"prompt": "p", "kind": "edit", "video": "https://e/v.mp4"}, "https://api.cometapi.com/grok/v1/videos/edits"),
        (
            {"prompt": "p", "kind": "extension", "video": "https://e/v.mp4"},
            "https://api.cometapi.com/grok/v1/videos/extensions",
        ),
    ],
    ids=["generation", "edit", "extension"],
)
def test_submission_is_one_json_post_with_the_bearer_key(request_fields: dict[str, Any], url: str) -> None:
    request = VideoRequest(**request_fields)
    call = protocol.submit_request(COMET, request)
    assert (call.method, call.url) == ("POST", url)
    assert call.headers == {
        "Authorization": f"Bearer {KEY}",
        "Accept": "application/json",
        "Content-Type": "application/json",
    }
    assert json.loads(call.body or b"") == request.body()


@pytest.mark.parametrize(
    ("settings", "request_id", "url"),
    [
        (COMET, ID, f"https://api.cometapi.com/grok/v1/videos/{ID}"),
        (XAI, ID, f"https://api.x.ai/v1/videos/{ID}"),
        (COMET, "../a b?c#d/e", "https://api.cometapi.com/grok/v1/videos/..%2Fa%20b%3Fc%23d%2Fe"),
    ],
    ids=["comet", "xai", "id-of-somebody-else"],
)
def test_poll_is_a_get_below_the_base_url(settings: Settings, request_id: str, url: str) -> None:
    call = protocol.poll_request(settings, request_id)
    assert (call.method, call.url, call.body) == ("GET", url, None)
    assert call.headers == {"Authorization": f"Bearer {KEY}", "Accept": "application/json"}


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.cometapi.com/grok/v1", "https://api.cometapi.com/v1/models"),
        ("https://api.x.ai/v1", "https://api.x.ai/v1/models"),
        ("http://127.0.0.1:8080/grok/v1", "http://127.0.0.1:8080/v1/models"),
    ],
)
def test_models_are_asked_for_at_the_origin(base_url: str, url: str) -> None:
    assert protocol.models_request(Settings(base_url=base_url, api_key=KEY)).url == url


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "no API key"),
        ("sk with space", "Copy it again"),
        ("sk\nnewline", "Copy it again"),
        ("sk-clé", "Copy it again"),
        ("sk\x00", "Copy it again"),
    ],
    ids=["missing", "space", "newline", "accent", "nul"],
)
def test_key_that_cannot_be_sent_is_refused_before_anything_is(key: str, words: str) -> None:
    with pytest.raises(AuthenticationError, match=words) as caught:
        protocol.submit_request(Settings(api_key=key), VideoRequest(prompt="p"))
    assert caught.value.status is None
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "is_xai"),
    [
        ("https://api.cometapi.com/grok/v1", False),
        ("https://gateway.example.com/grok/v1", False),
        ("https://api.x.ai/v1", True),
        ("http://127.0.0.1:1/v1", True),
    ],
)
def test_dialect_is_told_from_the_address(base_url: str, is_xai: bool) -> None:
    assert Settings(base_url=base_url).is_xai is is_xai


def test_models_are_listed_by_name() -> None:
    body = {"data": [{"id": "grok-imagine-video"}, {"id": 5}, "x", {}]}
    assert protocol.read_models(COMET, answer(200, body)) == ["grok-imagine-video"]


@pytest.mark.parametrize("body", [b'{"data": {}}', b'{"object": "list"}', b"{}"])
def test_answer_without_a_list_of_models_is_an_error(body: bytes) -> None:
    with pytest.raises(ServerError, match="not answer with a list of models"):
        protocol.read_models(COMET, answer(200, body))


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"0,", b'"[",'])
def test_document_of_too_many_items_is_not_parsed(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"status": "pending", "more": [' + piece * 50_000 + b"0]}"
    with pytest.raises(ServerError, match="not answer with JSON"):
        protocol.read_poll(COMET, "r1", answer(200, body))
    assert protocol.read_poll(COMET, "r1", answer(200, body.replace(piece, b"", 30_000))).state == "pending"


@pytest.mark.parametrize("body", [b"", HTML, b"[]"], ids=["empty", "html", "list"])
def test_models_that_are_no_json_object_are_an_error_of_the_server(body: bytes) -> None:
    with pytest.raises(ServerError, match="not answer with JSON"):
        protocol.read_models(COMET, answer(200, body))
