"""Every fault of polls and videos, as an HTTP client receives it."""

from __future__ import annotations

import pytest
import requests

from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.sandbox_http import done_video, poll, submit


@pytest.fixture(scope="module")
def running():
    with Sandbox(render_seconds=60) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    yield running
    running.clear_faults()


# --- poll -----------------------------------------------------------------------------------------


def spoiled_poll(sandbox, name, base=None, **options):
    request_id = submit(sandbox.xai_base_url)
    sandbox.set_progress(request_id, 30)
    sandbox.fault("poll", name, request_id=request_id, **options)
    answer = poll(base or sandbox.base_url, request_id)
    assert sandbox.polls[-1]["fault"] == name
    assert sandbox.polls[-1]["status"] == answer.status_code
    # The fault changes one response, not the outcome of the job.
    assert sandbox.submissions[-1]["state"] == ("done" if name == "no_status" else "pending")
    return request_id, answer


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("rate_limited", 429),
        ("server_error", 500),
        ("bad_gateway", 502),
        ("html", 200),
        ("not_found", 404),
        ("task_not_exist", 400),
        ("bad_key", 401),
        ("empty_202", 202),
        ("moderated_400", 400),
    ],
)
def test_poll_statuses(sandbox, name, status):
    _, answer = spoiled_poll(sandbox, name)
    assert answer.status_code == status
    assert (answer.text == "") == (name == "empty_202")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bare_id", {"request_id": "ID"}),
        ("data_null", {"code": "success", "message": "", "data": None}),
        ("unknown_status", {"status": "rendering_shadows", "progress": 30}),
        ("string_progress", {"request_id": "ID", "status": "pending", "progress": "30%"}),
        ("raw", {"request_id": "ID", "status": "processing", "progress": 30}),
        ("xai", {"status": "pending", "progress": 30}),
        ("expired", {"request_id": "ID", "status": "expired"}),
    ],
)
def test_poll_bodies(sandbox, name, expected):
    request_id, answer = spoiled_poll(sandbox, name)
    if "request_id" in expected:
        expected = {**expected, "request_id": request_id}
    assert answer.json() == expected


def test_wrapped_polls(sandbox):
    request_id, answer = spoiled_poll(sandbox, "wrapped")
    assert answer.json()["data"]["task_id"] == request_id
    _, answer = spoiled_poll(sandbox, "failed_wrapped")
    data = answer.json()["data"]
    assert (data["status"], data["data"]) == ("FAILURE", None)
    assert data["fail_reason"]


def test_failed_and_moderated_shapes(sandbox):
    failed = spoiled_poll(sandbox, "failed")[1].json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "internal_error")
    moderated = spoiled_poll(sandbox, "moderated_failed")[1].json()
    assert (moderated["status"], moderated["error"]["code"]) == ("failed", "invalid_argument")
    assert "moderation" in moderated["error"]["message"]
    assert moderated["usage"]["cost_in_usd_ticks"] > 0
    done = spoiled_poll(sandbox, "moderated_done")[1].json()
    assert (done["status"], done["video"]) == ("done", {"duration": 8, "respect_moderation": False})
    refused = spoiled_poll(sandbox, "moderated_400")[1].json()
    assert refused["code"] == "imagine:content-moderated"
    assert refused["usage"]["cost_in_usd_ticks"] > 0
    assert "url" not in spoiled_poll(sandbox, "done_without_url")[1].json()["video"]
    # xAI's clients require the field.
    assert spoiled_poll(sandbox, "moderated_done", sandbox.xai_base_url)[1].json()["video"]["url"] == ""


def test_done_without_a_status(sandbox):
    _, answer = spoiled_poll(sandbox, "no_status")
    assert "status" not in answer.json()
    assert requests.head(answer.json()["video"]["url"], timeout=30).status_code == 200


def test_poll_responses_that_end_early(sandbox):
    request_id = submit(sandbox.xai_base_url)
    sandbox.fault("poll", "close")
    with pytest.raises(requests.ConnectionError):
        poll(sandbox.base_url, request_id)
    assert sandbox.polls[-1]["status"] is None
    sandbox.fault("poll", "half_answer")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        poll(sandbox.base_url, request_id)
    sandbox.fault("poll", "slow", delay=30)
    with pytest.raises(requests.ReadTimeout):
        poll(sandbox.base_url, request_id, timeout=0.3)


# --- video ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [("not_found", 404), ("server_error", 500), ("html", 200)])
def test_missing_videos(sandbox, name, status):
    request_id, url = done_video(sandbox)
    sandbox.fault("video", name, request_id=request_id)
    answer = requests.get(url, timeout=30)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert requests.get(url, timeout=30).headers["Content-Type"] == "video/mp4"


def test_next_poll_replaces_expired_url(sandbox):
    request_id, url = done_video(sandbox)
    sandbox.fault("video", "expired_url", request_id=request_id)
    for _ in range(2):
        assert requests.get(url, timeout=30).status_code == 403
    fresh = poll(sandbox.base_url, request_id).json()["video"]["url"]
    assert fresh != url
    assert requests.get(fresh, timeout=30).status_code == 200
    assert requests.get(url, timeout=30).status_code == 403


def test_forged_urls_are_rejected(sandbox):
    _, url = done_video(sandbox)
    for wrong in (
        url.split("?")[0],
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("serial=1", "serial=2"),
    ):
        assert requests.get(wrong, timeout=30).status_code == 403


def test_urls_expire():
    with Sandbox(render_seconds=0, url_lifetime=-1) as sandbox:
        _, url = done_video(sandbox)
        assert requests.get(url, timeout=30).status_code == 403


def test_truncated_video(sandbox):
    request_id, url = done_video(sandbox)
    whole = requests.get(url, timeout=30).content
    sandbox.fault("video", "cut_short", request_id=request_id, bytes=1000)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="1000 bytes read"):
        requests.get(url, timeout=30)
    sandbox.fault("video", "cut_clean", request_id=request_id)
    cut = requests.get(url, timeout=30)
    assert cut.headers["Content-Length"] == str(len(whole) // 2)
    assert whole.startswith(cut.content)


def test_slow_videos(sandbox):
    request_id, url = done_video(sandbox)
    sandbox.fault("video", "slow", request_id=request_id, delay=30)
    with pytest.raises(requests.ReadTimeout):
        requests.get(url, timeout=0.3)
    sandbox.fault("video", "trickle", request_id=request_id, bytes_per_second=10_000)
    with requests.get(url, timeout=30, stream=True) as answer:
        assert next(answer.iter_content(100))[4:8] == b"ftyp"
    sandbox.fault("video", "trickle", request_id=request_id, bytes_per_second=100_000_000)
    assert len(requests.get(url, timeout=30).content) == int(answer.headers["Content-Length"])
    sandbox.fault("video", "close", request_id=request_id)
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=30)
