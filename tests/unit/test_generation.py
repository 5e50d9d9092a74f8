"""Every envelope of a generation; no answer breaks the reader."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.generation import NO_VIDEO_URL, Generation, read_generation
from airflow_provider_grokvideo.api.protocol import read_poll
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import GrokVideoError, ServerError

ID = "4b2cd27e-0b0d-3dec-c31c-7572daf74bb3"
URL = "https://vidgen.x.ai/xai-vidgen-bucket/xai-video-4b2c.mp4"
SETTINGS = Settings(api_key="sk-test")
TICKS = {"cost_in_usd_ticks": 500000000}


def wrapped(status: str, fail_reason: str = "", data: Any = None, progress: str = "100%") -> dict[str, Any]:
    """Return CometAPI's task envelope."""
    return {
        "code": "success",
        "message": "",
        "data": {
            "task_id": ID,
            "action": "VIDEO_GENERATION",
            "status": status,
            "fail_reason": fail_reason,
            "submit_time": 1773297002,
            "start_time": 0,
            "finish_time": 1773297014,
            "progress": progress,
            "data": data,
        },
    }


DONE_INNER = {
    "status": "done",
    "model": "grok-imagine-video",
    "usage": TICKS,
    "video": {"url": URL, "duration": 1, "respect_moderation": True},
}
DONE = {
    "state": "done",
    "video_url": URL,
    "duration": 1,
    "model": "grok-imagine-video",
    "cost_usd": Decimal("0.05"),
    "error_code": "",
    "error_message": "",
}

# (id, document, what must come out)
READINGS: list[tuple[str, Any, dict[str, Any]]] = [
    # pending
    ("nothing", None, {"state": "pending", "raw_status": ""}),
    ("empty-object", {}, {"state": "pending"}),
    ("bare-id", {"request_id": ID}, {"state": "pending", "raw_status": ""}),
    ("xai-pending", {"status": "pending", "progress": 24}, {"state": "pending", "progress": 24}),
    ("queued", {"request_id": ID, "status": "queued"}, {"state": "pending", "raw_status": "queued"}),
    ("processing", {"request_id": ID, "status": "processing", "progress": 3}, {"state": "pending", "progress": 3}),
    (
        "wrapped-in-progress",
        wrapped("IN_PROGRESS", data={"status": "pending"}, progress="30%"),
        {"state": "pending", "progress": 30},
    ),
    ("wrapped-queued-no-data", wrapped("QUEUED", progress="0%"), {"state": "pending", "progress": 0}),
    ("wrapped-not-start", wrapped("NOT_START", progress=""), {"state": "pending", "progress": None}),
    ("wrapped-submitted", wrapped("SUBMITTED", data={}), {"state": "pending"}),
    ("wrapped-unknown", wrapped("UNKNOWN", data={}), {"state": "pending"}),
    ("data-null", {"code": "success", "message": "", "data": None}, {"state": "pending"}),
    ("error-null", {"status": "pending", "error": None}, {"state": "pending", "error_message": ""}),
    ("video-null", {"status": "pending", "video": None}, {"state": "pending", "video_url": None}),
    ("video-empty-while-pending", {"status": "pending", "video": {}}, {"state": "pending", "video_url": None}),
    ("url-before-it-is-done", {"status": "processing", "video": {"url": URL}}, {"state": "pending"}),
    ("openai-style-queued", {"id": ID, "object": "video", "status": "queued", "created_at": 123}, {"state": "pending"}),
    ("status-null", {"status": None, "progress": 5}, {"state": "pending", "progress": 5}),
    ("status-a-list", {"status": ["done"]}, {"state": "pending"}),
    ("status-unknown", {"status": "rendering_shadows"}, {"state": "pending", "raw_status": "rendering_shadows"}),
    ("outer-success-inner-pending", wrapped("SUCCESS", data={"status": "pending"}), {"state": "pending"}),
    # done
    ("raw-done", {"request_id": ID, "progress": 100, **DONE_INNER}, {**DONE, "progress": 100, "raw_status": "done"}),
    ("wrapped-done", wrapped("SUCCESS", URL, DONE_INNER), {**DONE, "progress": 100}),
    ("wrapped-done-url-only-in-fail-reason", wrapped("SUCCESS", URL), {"state": "done", "video_url": URL}),
    (
        "wrapped-done-inner-null-url",
        wrapped("SUCCESS", URL, {"status": "done", "video": None}),
        {"state": "done", "video_url": URL},
    ),
    (
        "wrapped-with-result-url",
        {"code": "success", "data": {"task_id": ID, "status": "SUCCESS", "result_url": URL, "fail_reason": ""}},
        {"state": "done", "video_url": URL},
    ),
    ("wrapped-twice", {"code": "success", "data": wrapped("SUCCESS", URL, DONE_INNER)["data"]}, DONE),
    ("no-status", {"video": {"url": URL, "duration": 6}, "model": "m"}, {"state": "done", "video_url": URL}),
    ("no-status-wrapped", {"data": {"task_id": ID, "data": {"video": {"url": URL}}}}, {"state": "done"}),
    ("upper-case", {"status": "DONE", "video": {"url": URL}}, {"state": "done", "raw_status": "DONE"}),
    ("completed", {"status": "completed", "video_url": URL}, {"state": "done", "video_url": URL}),
    ("succeeded", {"status": "succeeded", "output": [URL]}, {"state": "done", "video_url": URL}),
    ("list-of-videos", {"status": "done", "videos": [{"url": URL}]}, {"state": "done", "video_url": URL}),
    ("list-of-data", {"id": ID, "status": "completed", "data": [{"url": URL}]}, {"state": "done", "video_url": URL}),
    (
        "openai-style-done",
        {"id": ID, "object": "video", "status": "completed", "seconds": "6", "video": {"url": URL}, "usage": TICKS},
        {"state": "done", "video_url": URL, "duration": 6, "cost_usd": Decimal("0.05")},
    ),
    ("unsigned-urls", {"status": "completed", "unsigned_urls": [URL]}, {"state": "done", "video_url": URL}),
    (
        "permanent-file-beside-empty-url",
        {"status": "done", "video": {"url": "", "file_output": {"file_id": "f", "public_url": URL}}},
        {"state": "done", "video_url": URL},
    ),
    ("fraction-of-a-second", {"status": "done", "video": {"url": URL, "duration": 8.7}}, {"duration": 8.7}),
    ("duration-text", {"status": "done", "video": {"url": URL, "duration": "8"}}, {"duration": 8}),
    ("duration-nonsense", {"status": "done", "video": {"url": URL, "duration": "long"}}, {"duration": None}),
    ("free-of-charge", {"status": "done", "video": {"url": URL}, "usage": {"cost_in_usd_ticks": 0}}, {"cost_usd": 0}),
    ("usage-null", {"status": "done", "video": {"url": URL}, "usage": None}, {"cost_usd": None}),
    (
        "cost-nonsense",
        {"status": "done", "video": {"url": URL}, "usage": {"cost_in_usd_ticks": -1}},
        {"cost_usd": None},
    ),
    # failed and expired
    (
        "xai-failed",
        {"status": "failed", "progress": 0, "model": "m", "error": {"code": "internal_error", "message": "oh"}},
        {"state": "failed", "error_code": "internal_error", "error_message": "oh", "progress": 0},
    ),
    ("error-a-text", {"status": "failed", "error": "oh"}, {"state": "failed", "error_message": "oh"}),
    (
        "error-a-text-with-code",
        {"status": "failed", "code": "internal", "error": "oh"},
        {"state": "failed", "error_code": "internal", "error_message": "oh"},
    ),
    ("failed-without-a-word", {"status": "failed"}, {"state": "failed", "error_code": "", "error_message": ""}),
    ("wrapped-failure", wrapped("FAILURE", "oh"), {"state": "failed", "error_message": "oh", "video_url": None}),
    (
        "wrapped-failure-inner-wins-words",
        wrapped("FAILURE", "task failed", {"status": "failed", "error": {"code": "internal_error", "message": "oh"}}),
        {"state": "failed", "error_code": "internal_error", "error_message": "oh"},
    ),
    ("failure-is-checked-before-success", wrapped("FAILURE", "oh", DONE_INNER), {"state": "failed", "video_url": None}),
    ("cancelled", {"status": "cancelled"}, {"state": "failed"}),
    ("failed-with-a-url", {"status": "failed", "video": {"url": URL}}, {"state": "failed", "video_url": None}),
    ("failed-and-billed", {"status": "failed", "usage": TICKS}, {"state": "failed", "cost_usd": Decimal("0.05")}),
    ("error-without-status", {"error": {"message": "oh"}}, {"state": "failed", "error_message": "oh"}),
    ("expired", {"status": "expired"}, {"state": "expired", "raw_status": "expired"}),
    ("wrapped-expired", wrapped("FAILURE", "task expired", {"status": "expired"}), {"state": "expired"}),
    ("done-without-url", {"status": "done", "video": {"duration": 5}}, {"state": "failed", "error_code": NO_VIDEO_URL}),
    ("done-with-empty-url", {"status": "done", "video": {"url": ""}}, {"state": "failed", "error_code": NO_VIDEO_URL}),
    ("done-with-path", {"status": "done", "video": {"url": "/v.mp4"}}, {"state": "failed", "video_url": None}),
    ("done-with-script", {"status": "done", "video": {"url": "javascript:x"}}, {"state": "failed", "video_url": None}),
    ("done-with-file-url", {"status": "done", "video": {"url": "file:///etc/passwd"}}, {"state": "failed"}),
    # moderated
    (
        "moderated-as-failed",
        {"status": "failed", "error": {"code": "invalid_argument", "message": "blocked by content moderation"}},
        {"state": "moderated", "error_code": "invalid_argument", "error_message": "blocked by content moderation"},
    ),
    (
        "moderated-as-done",
        {"status": "done", "video": {"respect_moderation": False, "duration": 5}, "usage": TICKS},
        {"state": "moderated", "video_url": None, "cost_usd": Decimal("0.05")},
    ),
    (
        "moderated-with-url",
        {"status": "done", "video": {"respect_moderation": False, "url": URL}},
        {"state": "moderated"},
    ),
    ("moderated-outside-video", {"status": "done", "respect_moderation": False, "video": {}}, {"state": "moderated"}),
    (
        "moderated-in-a-list",
        {"id": ID, "status": "completed", "data": [{"respect_moderation": False, "url": URL}]},
        {"state": "moderated", "video_url": None},
    ),
    ("moderated-without-status", {"video": {"respect_moderation": False, "url": URL}}, {"state": "moderated"}),
    ("moderated-wrapped", wrapped("FAILURE", "content moderated"), {"state": "moderated"}),
    (
        "moderated-body-on-200",
        {"code": "imagine:content-moderated", "error": "rejected by content moderation", "usage": TICKS},
        {"state": "moderated", "error_code": "imagine:content-moderated", "cost_usd": Decimal("0.05")},
    ),
    # numbers in every form
    ("progress-text", {"status": "pending", "progress": " 45% "}, {"progress": 45}),
    ("progress-fraction", {"status": "pending", "progress": 12.7}, {"progress": 12}),
    ("progress-too-much", {"status": "pending", "progress": 250}, {"progress": 100}),
    ("progress-negative", {"status": "pending", "progress": -3}, {"progress": 0}),
    ("progress-true", {"status": "pending", "progress": True}, {"progress": None}),
    ("progress-nan", {"status": "pending", "progress": float("nan")}, {"progress": None}),
    ("progress-word", {"status": "pending", "progress": "half"}, {"progress": None}),
    ("progress-huge", {"status": "pending", "progress": 10**400}, {"progress": None}),
]


@pytest.mark.parametrize(("document", "expected"), [case[1:] for case in READINGS], ids=[case[0] for case in READINGS])
def test_envelope_is_read(document: Any, expected: dict[str, Any]) -> None:
    generation = read_generation(ID, document)
    assert generation.request_id == ID
    assert {name: getattr(generation, name) for name in expected} == expected


@pytest.mark.parametrize("document", [[], [DONE_INNER], "done", 5, True, 1.5], ids=lambda value: type(value).__name__)
def test_non_object_document_is_a_server_error(document: object) -> None:
    with pytest.raises(ServerError, match="not answer with a JSON object") as caught:
        read_generation(ID, document)
    assert caught.value.request_id == ID


@pytest.mark.parametrize(
    ("status", "unknown"),
    [("rendering_shadows", True), ("UNKNOWN", True), ("done", False), ("In Progress", False), ("NOT-START", False)],
)
def test_unknown_status_is_recognized(status: str, unknown: bool) -> None:
    generation = read_generation(ID, {"status": status, "video": {"url": URL}})
    assert generation.is_status_unknown is unknown


@given(st.text(min_size=1))
def test_unknown_status_is_waited_on_with_or_without_a_video(status: str) -> None:
    for document in ({"status": status}, {"status": status, "video": {"url": URL}}, wrapped(status, URL)):
        generation = read_generation(ID, document)
        assert generation.state == "pending" or not generation.is_status_unknown


# --- whatever comes ---------------------------------------------------------------------------------

WORDS = (
    *("status", "state", "data", "task_id", "request_id", "video", "videos", "url", "fail_reason", "progress", "model"),
    *("usage", "cost_in_usd_ticks", "error", "code", "message", "detail", "respect_moderation", "duration", "seconds"),
    *("file_output", "public_url", "output", "result"),
)
words = st.sampled_from(WORDS)
values = st.sampled_from(
    ["done", "SUCCESS", "failed", "FAILURE", "pending", "expired", "moderated", URL, "http://[", "http://a\x00b/", ""]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | values
    | st.integers(min_value=10**300)
)
any_json = st.recursive(
    leaves,
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(words | st.text(max_size=4), children, max_size=6)
    ),
    max_leaves=25,
)


def nested(depth: int, *, key: str | None = None) -> Any:
    """Return lists in lists, or objects in objects, so deep that careless recursion ends badly."""
    value: Any = URL
    for _ in range(depth):
        value = [value] if key is None else {key: value, "task_id": ID}
    return value


def check(generation: Generation) -> None:
    """Assert what holds for every generation, whatever was read."""
    assert generation.state in {"pending", "done", "failed", "expired", "moderated"}
    assert (generation.state == "done") == (generation.video_url is not None and generation.is_final)
    if generation.state == "done":
        parts = urlsplit(generation.video_url or "")
        assert parts.scheme in {"http", "https"}
        assert parts.hostname
    assert generation.progress is None or 0 <= generation.progress <= 100
    assert generation.cost_usd is None or generation.cost_usd >= 0


@given(any_json)
def test_any_document_is_read_or_refused(document: Any) -> None:
    try:
        generation = read_generation(ID, document)
    except GrokVideoError as error:
        assert str(error)
        return
    check(generation)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"status": "done", "video": nested(5000)}, id="lists"),
        pytest.param({"status": "done", "video": nested(5000, key="file_output")}, id="files"),
        pytest.param({"status": "done", "error": nested(5000)}, id="error"),
        pytest.param(nested(5000, key="data"), id="envelopes"),
    ],
)
def test_any_depth_is_read_or_refused(document: Any) -> None:
    generation = read_generation(ID, document)
    check(generation)
    assert generation.state in {"pending", "failed"}


statuses = st.sampled_from([200, 202, 204, 301, 400, 401, 403, 404, 408, 422, 429, 500, 502, 503]) | st.integers(
    100, 599
)
headers = st.dictionaries(
    st.sampled_from(["content-type", "retry-after", "location"]),
    st.text(max_size=30) | st.just("Mon, 32 Foo 99 1:1"),
    max_size=3,
)
bodies = any_json.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)


@given(statuses, headers, bodies)
@example(200, {}, b"[" * 100_000)
@example(200, {}, b'{"data":' * 100_000)
@example(200, {}, b'{"status":"done","video":' + b"[" * 700 + b"]" * 700 + b"}")
@example(200, {}, b'{"progress":' + b"9" * 10_000 + b"}")
@example(200, {}, b"\xff\xfe{\x00}\x00")
@example(200, {}, b'{"status": "\xff"}')
@example(200, {}, b'\xef\xbb\xbf{"status": "done"}')
def test_any_poll_answer_is_read_or_a_typed_error(status: int, answer_headers: dict[str, str], body: bytes) -> None:
    try:
        generation = read_poll(SETTINGS, ID, HTTPResponse(status, answer_headers, body))
    except GrokVideoError as error:
        assert str(error)
        assert ID in str(error)
        return
    check(generation)
    assert 200 <= status < 300 or generation.state == "moderated"
