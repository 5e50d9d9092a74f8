"""Single fields of a poll's response: which value is read, and what is removed from it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_grokvideo.api import generation as parser
from airflow_provider_grokvideo.api.generation import (
    NO_VIDEO_URL,
    Generation,
    is_moderation,
    read_error,
    read_generation,
)
from airflow_provider_grokvideo.api.text import NAME_LIMIT
from tests.support.api_answers import ID, KEY

URL = "https://v.example/x.mp4"
VIDEO = {"url": URL}


def read(document: dict[str, Any]) -> Generation:
    """Return the generation in a document."""
    return read_generation(ID, document, KEY)


# --- the key, and the length --------------------------------------------------------------------------

FAILED = {"status": "failed"}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"status": f"{KEY} dreaming"}, "raw_status"),
        ({"status": "pending", "model": f"m-{KEY}"}, "model"),
        ({"status": "done", "video": VIDEO, "model": f"m-{KEY}"}, "model"),
        ({**FAILED, "error": {"code": f"c-{KEY}", "message": "m"}}, "error_code"),
        ({**FAILED, "error": {"code": "c", "message": f"not {KEY}"}}, "error_message"),
    ],
    ids=["status", "model-pending", "model-done", "code", "message"],
)
def test_echoed_key_is_in_no_field(document: dict[str, Any], field: str) -> None:
    value = getattr(read(document), field)
    assert value
    assert KEY not in value


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"status": "d" * 2000}, "raw_status"),
        ({"status": "pending", "model": "m" * 2000}, "model"),
        ({**FAILED, "error": {"code": "c" * 2000, "message": "m"}}, "error_code"),
    ],
    ids=["status", "model", "code"],
)
def test_long_name_is_cut(document: dict[str, Any], field: str) -> None:
    assert 0 < len(getattr(read(document), field)) <= NAME_LIMIT + 1


def test_request_id_that_contains_the_key_is_masked() -> None:
    assert KEY not in read_generation(f"id-{KEY}", None, KEY).request_id
    assert KEY not in read_generation(f"id-{KEY}", {"status": "pending"}, KEY).request_id


def test_url_that_contains_the_key_is_ignored() -> None:
    found = read({"status": "done", "video": {"url": f"{URL}?k={KEY}"}})
    assert (found.state, found.video_url, found.error_code) == ("failed", None, NO_VIDEO_URL)
    assert read({"status": "done", "video": VIDEO}).video_url == URL


def test_document_is_read_without_a_key() -> None:
    assert read_generation(ID, {**FAILED, "error": "oh"}).error_message == "oh"
    assert read_error({"error": "oh"}) == ("", "oh")


# --- states -------------------------------------------------------------------------------------------


def test_pending_generation_has_its_model_and_no_video() -> None:
    found = read({"status": "pending", "model": "m", "video": VIDEO, "progress": 7})
    assert (found.state, found.model, found.video_url, found.progress) == ("pending", "m", None, 7)


@pytest.mark.parametrize("status", ["failed", "expired", "moderated"])
def test_generation_without_a_video_has_its_error_and_no_url(status: str) -> None:
    found = read({"status": status, "error": {"code": "c", "message": "oh"}, "video": VIDEO})
    assert (found.state, found.error_code, found.error_message, found.video_url) == (status, "c", "oh", None)


@pytest.mark.parametrize(
    ("outer", "inner", "state"),
    [
        ("failed", "moderated", "moderated"),
        ("moderated", "failed", "moderated"),
        ("failed", "expired", "expired"),
        ("success", "pending", "pending"),
    ],
)
def test_most_specific_state_of_the_layers_wins(outer: str, inner: str, state: str) -> None:
    assert read({"status": outer, "data": {"status": inner}}).state == state


@pytest.mark.parametrize(
    ("code", "message", "moderated"),
    [
        ("", "the prompt violates the content policy", True),
        ("content_policy_violation", "no", True),
        ("", "CONTENT POLICY", True),
        ("moderation", "", True),
        ("", "", False),
        ("invalid_argument", "the policy of this content", False),
    ],
)
def test_words_of_moderation_are_recognised(code: str, message: str, moderated: bool) -> None:
    assert is_moderation(code, message) == moderated
    found = read({**FAILED, "error": {"code": code, "message": message}})
    assert (found.state == "moderated") == moderated


MODERATED = "the generated video was rejected by content moderation"


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        ({"status": "done", "video": {**VIDEO, "respect_moderation": False}}, "content_moderated", MODERATED),
        ({**FAILED, "video": {"respect_moderation": False}}, "", MODERATED),
        ({**FAILED, "respect_moderation": False, "error": {"code": "c", "message": "oh"}}, "c", "oh"),
        ({**FAILED, "error": {"code": "content_moderation"}}, "content_moderation", MODERATED),
    ],
    ids=["done", "failed", "with-reason", "code-only"],
)
def test_moderated_generation_has_a_reason(document: dict[str, Any], code: str, message: str) -> None:
    found = read(document)
    assert (found.state, found.error_code, found.error_message, found.video_url) == ("moderated", code, message, None)


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        ({"status": "done"}, NO_VIDEO_URL, "the API reports it as done and names no usable video URL"),
        ({"status": "done", "error": {"code": "c"}}, "c", ""),
        ({"status": "done", "error": "oh"}, "", "oh"),
        (FAILED, "", ""),
    ],
    ids=["no-url", "code", "message", "failed"],
)
def test_done_without_a_url_is_a_failure_with_its_reason(document: dict[str, Any], code: str, message: str) -> None:
    found = read(document)
    assert (found.state, found.error_code, found.error_message) == ("failed", code, message)


# --- where a value is -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "progress"),
    [
        ({"status": "pending", "progress": 1, "data": {"status": "pending", "progress": 9}}, 9),
        ({"data": {"request_id": "r", "progress": 5}}, 5),
        ({"status": "pending", "data": {"other": 1, "progress": 7}}, None),
        ({"status": "pending", "data": []}, None),
    ],
    ids=["innermost", "request-id-only", "no-generation", "list"],
)
def test_progress_is_that_of_the_innermost_layer(document: dict[str, Any], progress: int | None) -> None:
    assert read(document).progress == progress


def nested(document: dict[str, Any], times: int) -> dict[str, Any]:
    """Return a document in envelopes."""
    for _ in range(times):
        document = {"task_id": "t", "data": document}
    return document


def test_layers_are_searched_to_a_limit() -> None:
    inner = {"status": "done", "video": VIDEO}
    assert read(nested(inner, parser._DEEPEST - 1)).state == "done"
    assert read(nested(inner, parser._DEEPEST)).state == "pending"


def listed(value: object, times: int) -> object:
    """Return a value in lists."""
    for _ in range(times):
        value = [value]
    return value


def test_lists_are_searched_to_a_limit() -> None:
    assert read({"status": "done", "video": listed(URL, parser._DEEPEST)}).video_url == URL
    assert read({"status": "done", "video": listed(URL, parser._DEEPEST + 1)}).video_url is None
    assert read({"status": "done", "videos": [None] * 99 + [URL]}).video_url == URL
    assert read({"status": "done", "videos": [None] * 100 + [URL]}).video_url is None


def stored(times: int) -> dict[str, Any]:
    """Return a URL below several ``file_output``."""
    value: dict[str, Any] = VIDEO
    for _ in range(times):
        value = {"file_output": value}
    return value


def test_stored_file_is_searched_to_a_limit() -> None:
    assert read({"status": "done", "video": stored(parser._DEEPEST - 1)}).video_url == URL
    assert read({"status": "done", "video": stored(parser._DEEPEST)}).video_url is None
    assert read({"status": "done", "video": {"file_output": URL}}).video_url is None


# --- codes, reasons and numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["success", "Success", "ok", "OK", "0", "200", 0, 200])
def test_code_of_a_success_is_no_error_code(code: object) -> None:
    assert read_error({"code": code, "error": "boom"}) == ("", "boom")


@pytest.mark.parametrize(
    ("code", "shown"), [(404, "404"), (-1, "-1"), (999_999_999, "999999999"), (10**9, ""), (True, ""), (1.5, "")]
)
def test_number_as_a_code_is_a_text(code: object, shown: str) -> None:
    assert read_error({"code": code, "error": "boom"}) == (shown, "boom")


def test_detail_is_a_message() -> None:
    assert read_error({"detail": "prompt too long"}) == ("", "prompt too long")
    assert read_error({"message": "first", "detail": "second"}) == ("", "first")
    assert read_error([]) == ("", "")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("http://v.example/x", ""),
        ("https://v.example/x", ""),
        ("HTTPS://v.example/x", ""),
        ("https://v.example cannot be reached", "https://v.example cannot be reached"),
        ("see http://v.example", "see http://v.example"),
    ],
)
def test_url_as_a_reason_is_no_message(reason: str, message: str) -> None:
    assert read({**FAILED, "fail_reason": reason}).error_message == message


@pytest.mark.parametrize(
    ("fields", "duration"),
    [
        ({"duration": 5}, 5),
        ({"seconds": "6"}, 6),
        ({"duration": 0}, 0),
        ({"duration": 0.5}, 0.5),
        ({"duration": parser._LONGEST_SECONDS}, parser._LONGEST_SECONDS),
        ({"duration": parser._LONGEST_SECONDS + 1}, None),
        ({"duration": -1}, None),
        ({"video": {**VIDEO, "duration": 3}, "duration": 5}, 3),
    ],
    ids=str,
)
def test_duration_is_read(fields: dict[str, Any], duration: float | None) -> None:
    found = read({"status": "done", "video": VIDEO, **fields}).duration
    assert found == duration
    assert not isinstance(found, float) or found != int(found)


@pytest.mark.parametrize(
    ("ticks", "cost"), [(0, "0"), (10**16, "1000000"), (10**16 + 10**6, None), (-1, None), ("5000000000", "0.5")]
)
def test_cost_is_read_up_to_a_limit(ticks: object, cost: str | None) -> None:
    found = read({"status": "done", "video": VIDEO, "usage": {"cost_in_usd_ticks": ticks}}).cost_usd
    assert found == (None if cost is None else Decimal(cost))
