"""Single fields of the API's responses: exact limits, and texts without the key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.api.text import NAME_LIMIT
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    GenerationNotFoundError,
    GrokVideoError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
)
from tests.support.api_answers import COMET, ID, KEY, XAI, answer

URL = "https://v.example/x.mp4"


def error_of(act: Callable[[], object]) -> GrokVideoError:
    """Return the error of a call, after looking for the key in it."""
    with pytest.raises(GrokVideoError) as caught:
        act()
    assert KEY not in str(caught.value)
    assert KEY not in repr(vars(caught.value))
    return caught.value


def test_models_request_is_a_get_with_the_key() -> None:
    call = protocol.models_request(COMET)
    assert (call.method, call.headers["Authorization"], call.body) == ("GET", f"Bearer {KEY}", None)


# --- submissions --------------------------------------------------------------------------------------


def test_status_300_is_no_success() -> None:
    body = {"request_id": ID, "status": "done", "video": {"url": URL}}
    for act in (protocol.read_submission, lambda *given: protocol.read_poll(given[0], ID, given[1])):
        error = error_of(lambda act=act: act(XAI, answer(300, body)))  # type: ignore[misc]
        assert isinstance(error, RequestRejectedError)
        assert "redirects, which is not followed" in str(error)
    assert protocol.read_submission(XAI, answer(299, body)) == ID


def test_id_that_contains_the_key_is_not_used() -> None:
    error = error_of(lambda: protocol.read_submission(XAI, answer(200, {"request_id": f"id-{KEY}"})))
    assert isinstance(error, SubmissionUnknownError)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_server_on_this_machine_may_not_run(host: str) -> None:
    error = protocol.unreachable_error(Settings(base_url=f"http://{host}:8765/v1"), "connection refused")
    assert str(error).endswith("Check that the server, e.g. the sandbox, is running.")


# --- polls --------------------------------------------------------------------------------------------


def test_lost_poll_was_delivered() -> None:
    error = protocol.no_response_error(Settings(conn_id="x"), "https://h/v1/videos/1", "connection reset")
    assert error.delivered is True
    assert str(error) == "No response from https://h/v1/videos/1 (connection 'x'): connection reset."


def test_polled_texts_do_not_contain_the_key() -> None:
    found = protocol.read_poll(XAI, f"id-{KEY}", answer(200, {"status": f"{KEY} dreaming"}))
    assert KEY not in found.request_id + found.raw_status
    error_of(lambda: protocol.read_poll(XAI, f"id-{KEY}", answer(500, {"error": "oh"})))
    not_found = error_of(lambda: protocol.read_poll(XAI, ID, answer(200, {"code": "task_not_exist", "message": KEY})))
    assert isinstance(not_found, GenerationNotFoundError)


def test_failed_generation_with_a_code_like_not_found_is_final() -> None:
    found = protocol.read_poll(XAI, ID, answer(200, {"status": "failed", "error": {"code": "not_found"}}))
    assert (found.state, found.error_code) == ("failed", "not_found")


@pytest.mark.parametrize("body", [{"code": "task_not_exist"}, {"error": {"code": "task_not_exist", "message": "no"}}])
def test_unknown_id_in_a_success_is_no_failed_generation(body: dict[str, Any]) -> None:
    error = error_of(lambda: protocol.read_poll(XAI, ID, answer(200, body)))
    assert isinstance(error, GenerationNotFoundError)


def test_pending_generation_with_a_code_like_not_found_is_pending() -> None:
    found = protocol.read_poll(XAI, ID, answer(200, {"status": "pending", "code": "not_found", "message": "no"}))
    assert found.state == "pending"


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    "error",
    [{"code": "content_moderation", "message": "no"}, {"code": "c", "message": "violates the content policy"}],
    ids=["code", "message"],
)
def test_moderation_error_keeps_id_and_model(status: int, error: dict[str, str]) -> None:
    found = protocol.read_poll(XAI, ID, answer(status, {"error": error, "model": "m"}))
    assert (found.state, found.request_id, found.model) == ("moderated", ID, "m")
    assert (found.error_code, found.error_message) == (error["code"], error["message"])


def test_moderation_error_does_not_contain_the_key() -> None:
    body = {"error": {"code": "moderation", "message": f"{KEY}!"}, "model": f"m-{KEY}"}
    found = protocol.read_poll(XAI, f"id-{KEY}", answer(400, body))
    assert KEY not in repr(found)


# --- models -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data", "models"])
def test_models_are_in_either_list(name: str) -> None:
    assert protocol.read_models(XAI, answer(200, {name: [{"id": "m"}, {"id": 5}, "x"]})) == ["m"]


def test_names_of_models_are_clean() -> None:
    names = protocol.read_models(XAI, answer(200, {"data": [{"id": f"m-{KEY}"}, {"id": "m" * 2000}]}))
    assert KEY not in names[0]
    assert len(names[1]) <= NAME_LIMIT + 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "The API did not answer with JSON (HTTP 200): it sent text/html: <html>."),
        (b'{"data": {}}', 'The API did not answer with a list of models (HTTP 200): it sent text/html: {"data": {}}.'),
    ],
    ids=["html", "no-list"],
)
def test_unusable_list_of_models_gets_its_message(body: bytes, message: str) -> None:
    error = error_of(lambda: protocol.read_models(XAI, answer(200, body, content_type="text/html")))
    assert isinstance(error, ServerError)
    assert (str(error), error.status) == (message, 200)


# --- errors -------------------------------------------------------------------------------------------


def test_404_in_the_words_of_the_api_is_not_another_server() -> None:
    for body in ({"error": "no such model"}, {"code": "not-found", "error": "no such model"}):
        error = error_of(lambda body=body: protocol.read_submission(XAI, answer(404, body)))  # type: ignore[misc]
        assert "no such model" in str(error)
        assert "There is no video API" not in str(error)


def test_rate_limit_error_has_the_code() -> None:
    error = error_of(lambda: protocol.read_submission(XAI, answer(429, {"error": {"code": "c", "message": "slow"}})))
    assert isinstance(error, RateLimitError)
    assert error.code == "c"


@pytest.mark.parametrize("kind", [f"text/{KEY}", "text/" + "x" * 2000], ids=["key", "long"])
def test_content_type_in_a_message_is_clean(kind: str) -> None:
    error = error_of(lambda: protocol.read_models(XAI, answer(500, b"oh", content_type=kind)))
    assert isinstance(error, ApiError)
    assert len(str(error)) < 500


@pytest.mark.parametrize("shown", range(1, len(KEY)))
def test_key_that_the_summary_cuts_is_not_shown(shown: int) -> None:
    # White space is collapsed, so that the end of a long body can be in the message.
    body = b"oh" + b" " * (4094 - shown) + KEY.encode() + b"x" * 5000
    assert KEY[:4] not in str(error_of(lambda: protocol.read_models(XAI, answer(500, body))))


# --- JSON ---------------------------------------------------------------------------------------------


def test_lone_surrogates_are_read() -> None:
    body = b'{"status": "pending", "model": "m", "x": "\xed\xa0\x80"}'
    assert protocol.read_poll(XAI, ID, answer(200, body)).model == "m"


def test_number_has_a_maximum_of_digits() -> None:
    def progress(digits: str) -> Any:
        body = b'{"status": "pending", "progress": %s}' % digits.encode()
        return protocol.read_poll(XAI, ID, answer(200, body)).progress

    assert progress("1" * protocol._LONGEST_INTEGER) == 100
    assert progress("1" * (protocol._LONGEST_INTEGER + 1)) is None
