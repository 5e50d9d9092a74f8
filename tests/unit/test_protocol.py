"""Each HTTP call as it is built, the list of models, and where the key must not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import AuthenticationError, GrokVideoError, ServerError
from tests.support.api_answers import COMET, HTML, ID, KEY, XAI, answer, comet, xai


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


@pytest.mark.parametrize("body", [b"", HTML, b"[]"], ids=["empty", "html", "list"])
def test_models_that_are_no_json_object_are_an_error_of_the_server(body: bytes) -> None:
    with pytest.raises(ServerError, match="not answer with JSON"):
        protocol.read_models(COMET, answer(200, body))


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
