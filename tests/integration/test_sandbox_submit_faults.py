"""Every fault of submissions, models, uploads and outcomes, as an HTTP client receives it."""

from __future__ import annotations

import pytest
import requests

from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.sandbox.faults import hashtags
from tests.support.sandbox_http import KEY, done_video, poll, post, submit


@pytest.fixture(scope="module")
def running():
    with Sandbox(render_seconds=60) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    yield running
    running.clear_faults()


# --- submit ---------------------------------------------------------------------------------------

# (fault, CometAPI status and code, xAI status and code); a code of None: the response is not JSON.
REFUSALS = [
    ("rate_limited", 429, "", 429, "resource-exhausted"),
    ("out_of_credit_429", 429, "", 429, ""),
    ("bad_key", 401, "", 400, "invalid-argument"),
    ("no_quota", 403, "insufficient_user_quota", 403, "permission-denied"),
    ("payment_required", 402, "", 402, "payment-required"),
    ("invalid_request", 500, "invalid_request", 400, "invalid-argument"),
    ("server_error", 500, None, 500, None),
    ("bad_gateway", 502, None, 502, None),
    ("gateway_timeout", 504, None, 504, None),
    ("model_not_found", 503, "model_not_found", 404, "not-found"),
    ("redirect", 301, None, 301, None),
]


@pytest.mark.parametrize(("name", "comet", "comet_code", "xai", "xai_code"), REFUSALS)
def test_rejected_submissions(sandbox, name, comet, comet_code, xai, xai_code):
    before = len(sandbox.submissions)
    sandbox.fault("submit", name, times=2)
    answer = post(sandbox.base_url)
    assert answer.status_code == comet
    assert "Retry-After" not in answer.headers
    if comet_code is None:
        assert not answer.headers["Content-Type"].startswith("application/json")
    else:
        assert answer.json()["error"]["code"] == comet_code
    assert sandbox.refusals[-1]["fault"] == name
    answer = post(sandbox.xai_base_url)
    assert answer.status_code == xai
    if xai_code is not None:
        assert answer.json().get("code", "") == xai_code
    assert len(sandbox.submissions) == before
    assert post(sandbox.base_url).status_code == 200


def test_retry_after_is_sent_on_request_only(sandbox):
    sandbox.fault("submit", "rate_limited", retry_after=3)
    assert post(sandbox.base_url).headers["Retry-After"] == "3"
    request_id = submit(sandbox.xai_base_url)
    sandbox.fault("poll", "rate_limited", retry_after=2)
    assert poll(sandbox.base_url, request_id).headers["Retry-After"] == "2"


def test_gateway_timeout_with_other_status(sandbox):
    sandbox.fault("submit", "gateway_timeout", status=524)
    assert post(sandbox.base_url).status_code == 524


def test_out_of_credit_message(sandbox):
    sandbox.fault("submit", "out_of_credit_429", times=2)
    assert "spending limit" in post(sandbox.base_url).json()["error"]["message"]
    assert set(post(sandbox.xai_base_url).json()) == {"error"}


@pytest.mark.parametrize(("name", "accepted"), [("close_before_accept", 0), ("close_after_accept", 1)])
def test_connection_closed_without_response(sandbox, name, accepted):
    before = len(sandbox.submissions)
    sandbox.fault("submit", name)
    with pytest.raises(requests.ConnectionError):
        post(sandbox.base_url)
    assert len(sandbox.submissions) == before + accepted


def test_half_a_response(sandbox):
    before = len(sandbox.submissions)
    sandbox.fault("submit", "half_answer")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        post(sandbox.base_url)
    assert len(sandbox.submissions) == before + 1


@pytest.mark.parametrize(("name", "accepted"), [("slow_before_accept", 0), ("slow_after_accept", 1)])
def test_slow_responses(sandbox, name, accepted):
    before = len(sandbox.submissions)
    sandbox.fault("submit", name, delay=30)
    with pytest.raises(requests.ReadTimeout):
        post(sandbox.base_url, timeout=0.3)
    assert len(sandbox.submissions) == before + accepted
    sandbox.fault("submit", name, delay=0.01)
    assert post(sandbox.base_url).status_code == 200


def test_accepted_without_usable_response(sandbox):
    before = len(sandbox.submissions)
    sandbox.fault("submit", "no_id")
    sandbox.fault("submit", "html")
    assert (post(sandbox.base_url).text, post(sandbox.base_url).headers["Content-Type"]) == (
        "{}",
        "text/html; charset=utf-8",
    )
    assert len(sandbox.submissions) == before + 2


# --- models, uploads, outcomes, hashtags ----------------------------------------------------------


def test_models(sandbox):
    def models(timeout=10.0):
        return requests.get(f"{sandbox.base_url}/models", headers=KEY, timeout=timeout)

    for name, status in (("bad_key", 401), ("html", 200), ("server_error", 500)):
        sandbox.fault("models", name)
        assert models().status_code == status
    sandbox.fault("models", "slow", delay=30)
    with pytest.raises(requests.ReadTimeout):
        models(0.3)
    assert models().json()["object"] == "list"


def test_skipped_upload(sandbox):
    sandbox.fault("upload", "skip")
    request_id = submit(sandbox.xai_base_url, duration=1, output={"upload_url": "http://127.0.0.1:9/v.mp4"})
    sandbox.finish(request_id)
    while sandbox.submissions[-1]["state"] != "done":
        poll(sandbox.base_url, request_id)
    assert sandbox.uploads[-1]["error"] == "skipped"


SHAPES = {
    "failed": "failed",
    "expired": "expired",
    "moderated": "moderated",
    "moderated_failed": "moderated",
    "moderated_done": "moderated",
    "moderated_400": "moderated",
    "done_without_url": "done",
}


@pytest.mark.parametrize(("name", "state"), SHAPES.items())
def test_outcome_is_final(sandbox, name, state):
    """A fault, ``finish`` and a hashtag set the same outcome."""
    sandbox.fault("outcome", name)
    by_fault, by_hand, by_hashtag = (
        submit(sandbox.xai_base_url),
        submit(sandbox.xai_base_url),
        submit(sandbox.xai_base_url, f"A lake #fault:{name}, misty"),
    )
    sandbox.finish(by_hand, name)
    outcome = sandbox.submissions[-2]["outcome"]
    for request_id in (by_fault, by_hashtag):
        assert poll(sandbox.xai_base_url, request_id).json()["status"] == "pending"
        sandbox.finish(request_id, outcome)
    answers = {poll(sandbox.xai_base_url, request_id).text for request_id in (by_fault, by_hand, by_hashtag)}
    assert len(answers) == 1
    assert [record["state"] for record in sandbox.submissions[-3:]] == [state] * 3
    assert [record["outcome"] for record in sandbox.submissions[-3:]] == [outcome] * 3


def test_outcome_applies_after_render_seconds():
    with Sandbox(render_seconds=0) as sandbox:
        request_id = submit(sandbox.xai_base_url, "A lake #expired")
        assert poll(sandbox.base_url, request_id).json()["status"] == "expired"
        # Every envelope can report moderation in all three ways.
        request_id = submit(sandbox.xai_base_url, "A lake #moderated")
        sandbox.fault("poll", "wrapped")
        data = poll(sandbox.base_url, request_id).json()["data"]
        assert (data["status"], data["data"]["error"]["code"]) == ("FAILURE", "invalid_argument")
        assert "moderation" in data["fail_reason"]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("nothing", []),
        ("#nofilter #fault:never_heard_of", []),
        ("#failed", [("outcome", "failed")]),
        ("a #moderated lake", [("outcome", "moderated_failed")]),
        ("#failedly", []),
        ("#fault:moderated_400", [("outcome", "moderated_400")]),
        ("#fault:server_error", [("poll", "server_error")]),
        ("#fault:video:server_error", [("video", "server_error")]),
        ("#fault:moon:server_error", []),
        (
            "#fault:close_after_accept #fault:expired_url",
            [("submit", "close_after_accept"), ("video", "expired_url")],
        ),
    ],
)
def test_hashtags(prompt, expected):
    assert hashtags(prompt) == expected


def test_hashtags_apply_to_each_kind_of_request(sandbox):
    assert post(sandbox.base_url, "A lake #fault:no_quota").status_code == 403
    request_id, url = done_video(sandbox, "A lake #fault:video:not_found")
    assert requests.get(url, timeout=30).status_code == 404
    assert requests.get(url, timeout=30).status_code == 200
    request_id = submit(sandbox.xai_base_url, "A lake #fault:bad_gateway")
    assert [poll(sandbox.xai_base_url, request_id).status_code for _ in range(2)] == [502, 202]


def test_stop_does_not_wait_for_delayed_responses():
    with Sandbox() as sandbox:
        sandbox.fault("submit", "slow_before_accept", delay=600)
        with pytest.raises(requests.ReadTimeout):
            post(sandbox.base_url, timeout=0.2)
    # stop() must return before the delayed response.
