"""Submissions that the sandbox rejects, and the errors in the styles of CometAPI and xAI."""

from __future__ import annotations

import base64

import pytest
import requests

from airflow_provider_grokvideo.sandbox import Sandbox

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n rest").decode()
TEXT_AS_PNG = "data:image/png;base64," + base64.b64encode(b"just text").decode()
VIDEO = {"url": "https://example.com/in.mp4"}
IMAGE = {"url": "https://example.com/a.png"}
FRAME = {"image": IMAGE, "timestamp_s": 2}
GIF = "data:image/gif;base64," + base64.b64encode(b"GIF89a rest").decode()
LATE = "grok-imagine-video-1.5"
LITE = "grok-imagine-video-1.5-lite"


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
    ("extensions", {"prompt": "x", "video": VIDEO, "duration": "6"}, 400, "fail_to_fetch_task", 422, "duration"),
    *(
        ("generations", {"prompt": "x", **fields}, 400, "fail_to_fetch_task", status, word)
        for fields, status, word in (
            ({"image": {"url": GIF}}, 400, "supported image"),
            ({"last_frame": IMAGE}, 400, "grok-imagine-video does not support last_frame"),
            ({"model": LITE, "keyframes": [FRAME]}, 400, "does not support keyframes"),
            ({"model": LITE, "reference_images": [IMAGE]}, 400, "does not support reference_images"),
            ({"model": LATE, "keyframes": [FRAME] * 5}, 400, "at most 4"),
            ({"model": LATE, "keyframes": FRAME}, 422, "sequence"),
            ({"model": LATE, "keyframes": [{"image": IMAGE, "timestamp_s": 8}]}, 400, "inside the video"),
            ({"model": LATE, "keyframes": [{"image": IMAGE, "timestamp_s": "2"}]}, 422, "timestamp_s"),
            ({"model": LATE, "keyframes": [{"image": {"url": GIF}, "timestamp_s": 2}]}, 400, "keyframes[0].image"),
            ({"model": LATE, "keyframes": ["x"]}, 422, "keyframes[0]"),
            ({"model": LATE, "last_frame": "x"}, 422, "last_frame"),
            ({"model": LATE, "reference_images": [IMAGE], "resolution": "1080p"}, 400, "1080p"),
            ({"generate_audio": "no"}, 422, "generate_audio"),
            ({"reference_audios": [{"voice_id": "ara"}] * 4}, 400, "at most 3"),
            ({"reference_audios": {"voice_id": "ara"}}, 422, "sequence"),
            ({"reference_audios": ["ara"]}, 422, "reference_audios[0]"),
            ({"storage_options": "a.mp4"}, 422, "storage_options"),
            ({"storage_options": {"filename": 5}}, 422, "filename"),
            ({"storage_options": {"expires_after": 3599}}, 400, "between 3600 and 2592000"),
            ({"storage_options": {"expires_after": 2592001}}, 400, "between 3600 and 2592000"),
            ({"storage_options": {"expires_after": "3600"}}, 422, "expires_after"),
            ({"storage_options": {"public_url": "yes"}}, 422, "public_url"),
            ({"storage_options": {"public_url": {"expires_after": 60}}}, 400, "between 3600 and 2592000"),
        )
    ),
]


@pytest.mark.parametrize(("what", "body", "status", "code", "_xai", "word"), REFUSED)
def test_cometapi_errors(sandbox, what, body, status, code, _xai, word):
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
def test_xai_errors(sandbox, what, body, _status, _code, xai, word):
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
    ("generations", {"prompt": "x", "model": LATE, "reference_images": [IMAGE] * 7, "duration": 15}),
    (
        "generations",
        {
            "prompt": "x",
            "model": "grok-imagine-video-1.5-2026-05-30",
            "image": IMAGE,
            "last_frame": {"url": PNG},
            "keyframes": [{"image": {"file_id": "f"}, "timestamp_s": 0.5}, FRAME],
            "reference_images": [IMAGE],
            "reference_audios": [{"voice_id": "ara"}, {"url": "https://example.com/a.mp3"}],
            "generate_audio": False,
            "storage_options": {"filename": "a.mp4", "expires_after": 3600, "public_url": {"expires_after": 7200}},
        },
    ),
    ("edits", {"prompt": "x", "video": VIDEO}),
    ("edits", {"prompt": "x", "video": VIDEO, "storage_options": {"filename": "a.mp4"}}),
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


@pytest.mark.parametrize(
    "body",
    [{"image": IMAGE}, {"model": LATE, "last_frame": IMAGE}, {"model": LATE, "keyframes": [FRAME]}],
    ids=["image", "last_frame", "keyframes"],
)
def test_xai_alone_allows_an_image_without_prompt(sandbox, body):
    assert post(sandbox.xai_base_url, "generations", body).status_code == 200
    assert post(sandbox.base_url, "generations", body).status_code == 500


def test_large_body_is_accepted_and_too_large_one_explained(sandbox):
    content = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32 * 1024 * 1024)).decode()
    body = {"prompt": "x", "image": {"url": f"data:image/png;base64,{content}"}}
    assert post(sandbox.base_url, "generations", body).status_code == 200
    too_large = post(sandbox.base_url, "generations", b" " * (65 * 1024 * 1024))
    assert too_large.status_code == 413
    assert "too large" in too_large.json()["error"]["message"]


def test_edit_checks_duration_of_sandbox_videos(sandbox):
    made = post(sandbox.xai_base_url, "generations", {"prompt": "x", "duration": 10}).json()["request_id"]
    source = {"url": f"{sandbox.origin}/videos/{made}.mp4?signature=any"}
    refused = post(sandbox.xai_base_url, "edits", {"prompt": "x", "video": source})
    assert refused.status_code == 400
    assert "10 seconds long" in refused.json()["error"]
    assert post(sandbox.xai_base_url, "extensions", {"prompt": "x", "video": source}).status_code == 200


def generation(sandbox, what, body):
    """Return the last poll response of an accepted submission."""
    answer = post(sandbox.xai_base_url, what, {"prompt": "x", **body})
    assert answer.status_code == 200
    request_id = answer.json()["request_id"]
    sandbox.finish(request_id, sandbox.submissions[-1]["outcome"])
    headers = {"Authorization": "Bearer sandbox-key"}
    return requests.get(f"{sandbox.xai_base_url}/videos/{request_id}", headers=headers, timeout=10).json()


def made(sandbox, seconds):
    """Return the URL of a video of that duration."""
    answer = post(sandbox.xai_base_url, "generations", {"prompt": "x", "duration": seconds})
    return {"url": f"{sandbox.origin}/videos/{answer.json()['request_id']}.mp4?signature=any"}


@pytest.mark.parametrize(
    ("asked", "source", "reason"),
    [
        (1, None, "The extension must be between 2 and 10 seconds long, got 1."),
        (11, None, "The extension must be between 2 and 10 seconds long, got 11."),
        (6, 1, "The video to extend must be between 2 and 15 seconds long, got 1."),
        (2, 2, None),
        (10, 15, None),
        (None, None, None),
    ],
)
def test_extension_outside_limits_is_accepted_and_fails(sandbox, asked, source, reason):
    video = made(sandbox, source) if source else VIDEO
    ended = generation(sandbox, "extensions", {"video": video, "duration": asked})
    if reason is None:
        assert ended["status"] == "done"
    else:
        assert ended["error"] == {"code": "invalid_argument", "message": reason}


def test_extending_a_video_of_more_than_15_seconds_fails(sandbox):
    first = post(sandbox.xai_base_url, "extensions", {"prompt": "x", "video": made(sandbox, 8), "duration": 8})
    second = {"url": f"{sandbox.origin}/videos/{first.json()['request_id']}.mp4"}
    ended = generation(sandbox, "extensions", {"video": second, "duration": 2})
    assert "between 2 and 15 seconds long, got 16." in ended["error"]["message"]


@pytest.mark.parametrize(
    ("what", "body", "usd"),
    [
        ("generations", {"duration": 5}, 0.25),
        ("generations", {"duration": 5, "image": IMAGE}, 0.252),
        ("generations", {"duration": 5, "reference_images": [IMAGE] * 3}, 0.256),
        ("generations", {"duration": 5, "model": LATE, "last_frame": IMAGE, "keyframes": [FRAME] * 2}, 0.43),
        ("generations", {"duration": 5, "model": LITE, "resolution": "1080p", "image": IMAGE}, 0.71),
        ("edits", {"video": 4}, 0.24),
        ("extensions", {"video": 4, "duration": 6}, 0.34),
    ],
)
def test_cost_includes_input_images_and_video(sandbox, what, body, usd):
    if "video" in body:
        body = {**body, "video": made(sandbox, body["video"])}
    assert generation(sandbox, what, body)["usage"]["cost_in_usd_ticks"] == round(usd * 10_000_000_000)


def test_public_stored_file_needs_no_key(sandbox):
    options = {"filename": "boat.mp4", "expires_after": 7200, "public_url": {"expires_after": 3600}}
    video = generation(sandbox, "generations", {"duration": 1, "storage_options": options})["video"]
    file = video["file_output"]
    assert file["file_id"].startswith("file_")
    assert file["filename"] == "boat.mp4"
    assert file["expires_at"] - file["public_url_expires_at"] == 3600
    assert requests.get(file["public_url"], timeout=60).content == requests.get(video["url"], timeout=60).content


def test_private_stored_file_has_no_public_url(sandbox):
    video = generation(sandbox, "generations", {"duration": 1, "storage_options": {"filename": "boat.mp4"}})["video"]
    assert set(video["file_output"]) == {"file_id", "filename"}
    request_id = video["file_output"]["file_id"].removeprefix("file_")
    assert requests.get(f"{sandbox.origin}/files/{request_id}.mp4", timeout=10).status_code == 404


def test_video_without_storage_has_no_file(sandbox):
    assert "file_output" not in generation(sandbox, "generations", {"duration": 1})["video"]
