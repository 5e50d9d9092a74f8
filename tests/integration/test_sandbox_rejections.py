"""What the sandbox refuses, and how each dialect says so."""

from __future__ import annotations

import base64

import pytest
import requests

from airflow_provider_grokvideo.sandbox import Sandbox

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n rest").decode()
TEXT_AS_PNG = "data:image/png;base64," + base64.b64encode(b"just text").decode()
VIDEO = {"url": "https://example.com/in.mp4"}
IMAGE = {"url": "https://example.com/a.png"}


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as running:
        yield running


def post(base, what, body, key="sandbox-key"):
    headers = {"Authorization": f"Bearer {key}"}
    if isinstance(body, bytes):
        return requests.post(f"{base}/videos/{what}", data=body, headers=headers, timeout=10)
    return requests.post(f"{base}/videos/{what}", json=body, headers=headers, timeout=10)


# (what, body, CometAPI status, CometAPI code, xAI status, a word of the message)
REFUSED = [
    ("generations", {}, 500, "invalid_request", 400, "prompt"),
    ("generations", {"prompt": ""}, 500, "invalid_request", 400, "prompt"),
    ("generations", {"prompt": "  "}, 500, "invalid_request", 400, "prompt"),
    ("generations", {"prompt": 5}, 400, "fail_to_fetch_task", 422, "prompt"),
    ("generations", b"not json", 400, "invalid_request", 400, "JSON"),
    ("generations", b"[1]", 400, "invalid_request", 400, "JSON"),
    ("generations", {"prompt": "x", "model": "sora-9"}, 503, "model_not_found", 404, "sora-9"),
    ("generations", {"prompt": "x", "model": 4}, 400, "fail_to_fetch_task", 422, "model"),
    *(
        ("generations", {"prompt": "x", "duration": value}, 400, "fail_to_fetch_task", status, "duration")
        for value, status in ((0, 400), (16, 400), (-1, 400), ("8", 422), (8.5, 422), (8.0, 422), (True, 422))
    ),
    ("generations", {"prompt": "x", "seconds": 16}, 400, "fail_to_fetch_task", 400, "seconds"),
    ("generations", {"prompt": "x", "aspect_ratio": "7:3"}, 400, "fail_to_fetch_task", 400, "aspect_ratio"),
    ("generations", {"prompt": "x", "aspect_ratio": 1}, 400, "fail_to_fetch_task", 422, "aspect_ratio"),
    ("generations", {"prompt": "x", "resolution": "4k"}, 400, "fail_to_fetch_task", 400, "resolution"),
    ("generations", {"prompt": "x", "resolution": "1080p"}, 400, "fail_to_fetch_task", 400, "1080p"),
    ("generations", {"prompt": "x", "image": "https://e.com/a.png"}, 400, "fail_to_fetch_task", 422, "image"),
    ("generations", {"prompt": "x", "image": {}}, 400, "fail_to_fetch_task", 400, "image"),
    ("generations", {"prompt": "x", "image": {"url": "/tmp/a.png"}}, 400, "fail_to_fetch_task", 400, "image"),
    (
        "generations",
        {"prompt": "x", "image": {"url": "data:image/png;base64,@@"}},
        400,
        "fail_to_fetch_task",
        400,
        "base64",
    ),
    (
        "generations",
        {"prompt": "x", "image": {"url": "data:image/png,abc"}},
        400,
        "fail_to_fetch_task",
        400,
        "base64",
    ),
    ("generations", {"prompt": "x", "image": {"url": TEXT_AS_PNG}}, 400, "fail_to_fetch_task", 400, "image"),
    (
        "generations",
        {"prompt": "x", "image": IMAGE, "reference_images": [IMAGE]},
        400,
        "fail_to_fetch_task",
        400,
        "together",
    ),
    (
        "generations",
        {"prompt": "x", "reference_images": [IMAGE] * 8},
        400,
        "fail_to_fetch_task",
        400,
        "at most 7",
    ),
    ("generations", {"prompt": "x", "reference_images": IMAGE}, 400, "fail_to_fetch_task", 422, "sequence"),
    (
        "generations",
        {"prompt": "x", "reference_images": [IMAGE], "duration": 11},
        400,
        "fail_to_fetch_task",
        400,
        "duration",
    ),
    (
        "generations",
        {"prompt": "x", "output": {"upload_url": "ftp://h/x"}},
        400,
        "fail_to_fetch_task",
        400,
        "upload_url",
    ),
    ("generations", {"prompt": "x", "output": {}}, 500, "invalid_request", 400, "upload_url"),
    ("generations", {"prompt": "x", "output": "s3"}, 400, "fail_to_fetch_task", 422, "output"),
    ("generations", {"prompt": "x", "user": 5}, 400, "fail_to_fetch_task", 422, "user"),
    ("edits", {"prompt": "x"}, 500, "invalid_request", 400, "video"),
    ("edits", {"prompt": "x", "video": {}}, 500, "invalid_request", 400, "video.url"),
    ("edits", {"prompt": "x", "video": "https://e.com/v.mp4"}, 400, "fail_to_fetch_task", 422, "video"),
    ("edits", {"prompt": "x", "video": {"url": "v.mp4"}}, 400, "fail_to_fetch_task", 400, "video.url"),
    ("edits", {"video": VIDEO}, 500, "invalid_request", 400, "prompt"),
    (
        "edits",
        {"prompt": "x", "video": VIDEO, "model": "grok-imagine-video-1.5"},
        400,
        "fail_to_fetch_task",
        400,
        "edit",
    ),
    ("extensions", {"prompt": "x"}, 500, "invalid_request", 400, "video"),
    (
        "extensions",
        {"prompt": "x", "video": VIDEO, "duration": 11},
        400,
        "fail_to_fetch_task",
        400,
        "duration",
    ),
]


@pytest.mark.parametrize(("what", "body", "status", "code", "_xai", "word"), REFUSED)
def test_cometapi_dialect(sandbox, what, body, status, code, _xai, word):
    before = len(sandbox.submissions), len(sandbox.refusals)
    answer = post(sandbox.base_url, what, body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (status, code, "comet_api_error")
    assert word in error["message"]
    assert "(request id: " in error["message"]
    assert error["message"].endswith(")")
    assert (len(sandbox.submissions), len(sandbox.refusals)) == (before[0], before[1] + 1)
    assert sandbox.refusals[-1]["status"] == status
    assert sandbox.refusals[-1]["code"] == code


@pytest.mark.parametrize(("what", "body", "_status", "_code", "xai", "word"), REFUSED)
def test_xai_dialect(sandbox, what, body, _status, _code, xai, word):
    answer = post(sandbox.xai_base_url, what, body)
    assert answer.status_code == xai
    assert set(answer.json()) == {"code", "error"}
    assert word in answer.json()["error"]


ACCEPTED = [
    ("generations", {"prompt": "x"}),
    ("generations", {"prompt": "x", "duration": 1}),
    ("generations", {"prompt": "x", "duration": 15, "aspect_ratio": "2:3", "resolution": "720p"}),
    ("generations", {"prompt": "x", "duration": None, "image": None}),
    ("generations", {"prompt": "x", "model": "grok-imagine-video-1.5", "resolution": "1080p"}),
    ("generations", {"prompt": "x", "model": "grok-imagine-video-1.5-lite", "resolution": "1080p"}),
    ("generations", {"prompt": "x", "image": {"url": PNG}}),
    ("generations", {"prompt": "x", "reference_images": [IMAGE] * 7, "duration": 10}),
    ("generations", {"prompt": "x", "size": "848x480", "nobody_knows_this": [1], "user": "me"}),
    ("edits", {"prompt": "x", "video": VIDEO}),
    ("extensions", {"prompt": "x", "video": VIDEO, "duration": 10}),
]


@pytest.mark.parametrize(("what", "body"), ACCEPTED)
def test_accepted_and_recorded_as_sent(sandbox, what, body):
    for base in (sandbox.base_url, sandbox.xai_base_url):
        answer = post(base, what, body)
        assert answer.status_code == 200
        assert list(answer.json()) == ["request_id"]
        record = sandbox.submissions[-1]
        assert record["request_id"] == answer.json()["request_id"]
        assert record["body"] == body
        assert record["path"].endswith(f"/v1/videos/{what}")


def test_a_prompt_is_optional_beside_an_image_on_xai_only(sandbox):
    body = {"image": IMAGE}
    assert post(sandbox.xai_base_url, "generations", body).status_code == 200
    assert post(sandbox.base_url, "generations", body).status_code == 500


def test_a_body_of_32_mib_is_accepted_and_a_larger_one_answered_in_words(sandbox):
    content = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32 * 1024 * 1024)).decode()
    body = {"prompt": "x", "image": {"url": f"data:image/png;base64,{content}"}}
    assert post(sandbox.base_url, "generations", body).status_code == 200
    too_large = post(sandbox.base_url, "generations", b" " * (65 * 1024 * 1024))
    assert too_large.status_code == 413
    assert "too large" in too_large.json()["error"]["message"]


def test_the_length_of_a_video_of_its_own_is_known(sandbox):
    made = post(sandbox.xai_base_url, "generations", {"prompt": "x", "duration": 10}).json()["request_id"]
    source = {"url": f"{sandbox.origin}/videos/{made}.mp4?signature=any"}
    refused = post(sandbox.xai_base_url, "edits", {"prompt": "x", "video": source})
    assert refused.status_code == 400
    assert "10 seconds long" in refused.json()["error"]
    assert post(sandbox.xai_base_url, "extensions", {"prompt": "x", "video": source}).status_code == 200
