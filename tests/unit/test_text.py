"""Cleaned texts of the API: fit for logs, databases and pages."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.generation import NO_VIDEO_URL, Generation, read_generation
from airflow_provider_grokvideo.api.polling import Stop
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.api.text import (
    MESSAGE_LIMIT,
    clean,
    file_stem,
    is_usable_id,
    is_video_url,
)
from airflow_provider_grokvideo.events import to_event
from airflow_provider_grokvideo.exceptions import InvalidRequestError, SubmissionUnknownError
from tests.support.hostile import (
    ID,
    KEY,
    NASTY,
    SETTINGS,
    SIGNED_URL,
    answers,
    assert_clean,
    disguises,
    texts,
    what_comes_out,
)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("", ""),
        ("  Plain words.  ", "Plain words."),
        ("Größe: 50 % - «déjà vu» 视频 👩‍🎨", "Größe: 50 % - «déjà vu» 视频 👩‍🎨"),
        ("one\r\n\ttwo\u2028three\x0bfour", "one two three four"),
        ("a\x00b\x07c\x7fd\x9fe", "abcde"),
        ("\x1b[1;31mred\x1b[0m \x9b2Jx \x1b]0;title\x07y \x1bPq#1\x1b\\z \x1bc", "red x y z"),
        ("\x1b]8;;http://evil/\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("user\u202egpj.exe\u2066 \ufeff", "usergpj.exe"),
        ("lone \ud800 half", "lone \ufffd half"),
        (
            "GET https://u:p@h.example:1/a/b.mp4?X-Amz-Signature=1&b=2#c failed",
            "GET https://h.example:1/a/b.mp4 failed",
        ),
        ("HTTPS://h/a#frag", "HTTPS://h/a"),
        ('{"url":"https:\\/\\/h\\/a?sig=1\\u0026x=2","a":1}', '{"url":"https:\\/\\/h\\/a","a":1}'),
        ("at h.example/a?Signature=abc", "at h.example/a"),
        ("https%3A%2F%2Fh%2Fa%3Fsig%3Dabc", "https%3A%2F%2Fh%2Fa"),
        ("X-Amz-Signature=abc, and sig = xyz", "X-Amz-Signature=***, and sig = ***"),
        ("really? yes, x=1", "really? yes, x=1"),
        ("http://[ is none", "http://[ is none"),
    ],
)
def test_text_is_cleaned(text: str, cleaned: str) -> None:
    assert clean(text, KEY) == cleaned


@pytest.mark.parametrize("form", disguises(KEY))
@pytest.mark.parametrize("around", ["{}", "Bad key {}.", "x{}", "https://h/{}/v.mp4", "\x1b[31m{}\x1b[0m"])
def test_key_is_removed_in_every_encoding(form: str, around: str) -> None:
    assert_clean(clean(around.format(form), KEY))


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=300), texts, texts)
def test_any_key_is_removed(key: str, before: str, after: str) -> None:
    assert key not in clean(before + key + after, key)
    assert key not in clean(json.dumps(before + key + after), key)


def test_short_key_is_removed_as_a_whole_word() -> None:
    assert clean("key a1 of a1b", "a1") == "key *** of a1b"


@given(texts, st.integers(8, 5000))
def test_cleaning_is_idempotent(text: str, limit: int) -> None:
    cleaned = clean(text, KEY, limit)
    assert_clean(cleaned, limit=limit)
    assert clean(cleaned, KEY, limit) == cleaned


@pytest.mark.parametrize("length", range(16_200, 16_500, 7))
def test_truncation_leaves_no_part_of_a_key(length: int) -> None:
    assert KEY[:6] not in clean("\x00" * length + KEY + "x" * 99, KEY)


@pytest.mark.parametrize(
    "piece",
    ["a", "?", "\\", "%25", "\x1b]", "\x1b[0", "://", "://@", KEY[:-1], "sig=", "x-amz-", "\x00", "s ", "\ud800"],
)
def test_megabytes_are_cleaned_fast(piece: str) -> None:
    text = piece * (20_000_000 // len(piece))
    clean("warm up", KEY)
    before = time.process_time()
    assert len(clean(text, KEY).encode()) <= MESSAGE_LIMIT
    assert time.process_time() - before < 0.2


# --- the parser ---------------------------------------------------------------------------------------


def fit_for_postgresql(value: Any) -> None:
    """Assert what a column of type text and one of type jsonb ask for."""
    assert "\x00" not in (value if isinstance(value, str) else "".join(map(str, value.values())))
    assert json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False).encode()) == value


@given(answers)
@example(
    HTTPResponse(200, {}, json.dumps({"status": "failed", "error": {"code": "\ud800", "message": "\x00"}}).encode())
)
@example(HTTPResponse(200, {}, json.dumps({"request_id": KEY}).encode()))
@example(HTTPResponse(200, {}, b'{"status": "\xed\xa0\x80"}'))
@example(HTTPResponse(200, {"content-type": "text/\udcff"}, b"\xff" * 5000))
def test_parsed_answers_are_clean(answer: HTTPResponse) -> None:
    for name, value in what_comes_out(answer).items():
        if isinstance(value, str):
            fit_for_postgresql(value)
            assert_clean(value)
        else:
            assert value is None or isinstance(value, bool | int | float | Decimal), name
            if isinstance(value, int | float):
                assert -(2**63) <= value < 2**63, name
            if isinstance(value, Decimal):
                assert 0 <= value <= 10**6, name
                assert len(format(value, "f")) < 40, name


@given(answers)
def test_events_are_valid_postgresql_json(answer: HTTPResponse) -> None:
    try:
        generation = protocol.read_poll(SETTINGS, ID, answer)
        stop = Stop("final" if generation.is_final else "timeout")
    except protocol.GrokVideoError as error:
        generation, stop = None, Stop("error", error)
    event = to_event(stop, ID, generation, 1)
    fit_for_postgresql(event)
    for value in event.values():
        if isinstance(value, str):
            assert_clean(value)


@pytest.mark.parametrize("nasty", [*NASTY, *disguises(KEY)])
def test_every_text_field_of_a_generation_is_clean(nasty: str) -> None:
    for status in (nasty, "failed", "expired", "pending"):
        document = {"status": status, "model": nasty, "error": {"code": nasty, "message": nasty}}
        found = read_generation(ID, document, KEY)
        for value in vars(found).values():
            if isinstance(value, str):
                assert_clean(value, limit=MESSAGE_LIMIT)


def test_cleaned_status_is_recognized() -> None:
    assert read_generation(ID, {"status": "\x1b[32mfai\x00led\x1b[0m"}).state == "failed"


@pytest.mark.parametrize("field", ["duration", "progress", "cost_in_usd_ticks"])
@pytest.mark.parametrize(
    "number", ["9" * 5000, "1e999", "NaN", "-Infinity", "9" * 40, f'"{"9" * 5000}"', "1" + "0" * 30]
)
def test_invalid_number_is_none(field: str, number: str) -> None:
    body = f'{{"status": "failed", "error": "oh", "usage": {{"{field}": {number}}}, "{field}": {number}}}'
    found = protocol.read_poll(SETTINGS, ID, HTTPResponse(200, {}, body.encode()))
    assert (found.state, found.error_message, found.duration, found.cost_usd) == ("failed", "oh", None, None)
    assert found.progress in {None, 100}


# --- addresses of videos ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example/v.mp4?X-Amz-Signature=abc%2F1&x=%20#t",
        "http://127.0.0.1:8765/videos/v.mp4?expires=1",
        "https://[::1]:8080/v.mp4",
        "HTTPS://cdn.example/视频.mp4",
        "https://cdn.example/" + "a" * 10_000,
    ],
)
def test_video_url_is_kept_exactly(url: str) -> None:
    assert read_generation(ID, {"status": "done", "video": {"url": url}}, KEY).video_url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example/\x00",
        "https://cdn.example/a b",
        "https://cdn.example/\ud800",
        "https://cdn.example/\u202ev.mp4",
        "https://cdn.example/\x1b[31m",
        "https://cdn.example\\@evil/v.mp4",
        "https://cdn.example:99999/v.mp4",
        "https://cdn.example:port/v.mp4",
        "https://user:password@cdn.example/v.mp4",
        "https://cdn.example/" + "a" * 20_000,
        f"https://cdn.example/{KEY}",
        f"https://cdn.example/v?k={protocol.quote(KEY, safe='')}",
        "http://[",
        "https:///v.mp4",
        "ftp://cdn.example/v.mp4",
    ],
)
def test_unusable_video_url_is_none(url: str) -> None:
    assert not is_video_url(url, KEY)
    found = read_generation(ID, {"status": "done", "video": {"url": url}}, KEY)
    assert (found.state, found.video_url, found.error_code) == ("failed", None, NO_VIDEO_URL)


# --- ids ----------------------------------------------------------------------------------------------


def submitted(document: Any, settings: Settings = SETTINGS) -> str:
    return protocol.read_submission(settings, HTTPResponse(200, {}, json.dumps(document).encode()))


@pytest.mark.parametrize(
    "request_id", [ID, "x" * 300, "x" * 512, "a b", "../../etc/passwd", "a?b=c#d", "视频-1", "task:1/2", "12"]
)
def test_unusual_id_is_used_as_it_is(request_id: str) -> None:
    assert submitted({"request_id": request_id}) == request_id
    assert protocol.poll_url(SETTINGS, request_id).startswith(SETTINGS.base_url + "/videos/")
    assert read_generation(request_id, {}, KEY).request_id == request_id


@pytest.mark.parametrize(
    "request_id",
    ["\ud800", "a\x00b", "x" * 513, "..", ".", "a\nb", KEY, f"id-{KEY}", "\u202eid", "\x1b[31mid", "x" * 10**6],
)
def test_unstorable_id_is_an_unknown_outcome(request_id: str) -> None:
    with pytest.raises(SubmissionUnknownError, match="cannot be used") as caught:
        submitted({"request_id": request_id})
    assert_clean(str(caught.value))
    assert clean(request_id, KEY)[:100] in str(caught.value)


def test_usable_id_is_preferred() -> None:
    assert submitted({"request_id": "\ud800", "data": {"task_id": ID}}) == ID


@pytest.mark.parametrize("request_id", ["", " ", "\ud800", "..", "a\x00b", "x" * 600])
def test_unusable_id_is_never_polled(request_id: str) -> None:
    with pytest.raises(InvalidRequestError, match="request_id") as caught:
        protocol.poll_request(SETTINGS, request_id)
    assert_clean(str(caught.value))


@given(st.text(st.characters(), max_size=20), st.integers(1, 40))
def test_file_name_of_any_id_fits_every_file_system(part: str, times: int) -> None:
    stem = file_stem(part * times)
    assert stem.isascii()
    assert "/" not in stem
    assert len(stem) <= 120
    if is_usable_id(part * times):
        assert stem != file_stem(part * times + "x")


def test_every_text_field_is_tested() -> None:
    assert {name for name, kind in Generation.__annotations__.items() if "str" in kind} == {
        *("request_id", "video_url", "model", "error_code", "error_message", "raw_status"),
    }


def test_signed_url_is_in_no_error() -> None:
    body = json.dumps({"error": {"code": SIGNED_URL, "message": SIGNED_URL}}).encode()
    for status in (200, 302, 400, 401, 402, 404, 429, 500):
        for value in what_comes_out(HTTPResponse(status, {}, body)).values():
            if isinstance(value, str):
                assert_clean(value)
