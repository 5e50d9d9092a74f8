"""An independent client, the xAI provider of the Vercel AI SDK, works with the sandbox.

The provider's own tests cannot tell whether the sandbox is right or merely agrees with the provider.
This client was written against the real API by other people, and is used here as published.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.once import once_per_run

av = pytest.importorskip("av")

HERE = Path(__file__).parent / "foreign_client"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


@pytest.fixture(scope="session")
def client_folder(tmp_path_factory):
    """Return the script in a folder with its packages, which are installed once per test session."""
    absent = [name for name in ("node", "npm") if shutil.which(name) is None]
    if absent:
        text = f"the foreign client needs {' and '.join(absent)}, not installed here"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return once_per_run(tmp_path_factory, "foreign-client", install)


def install(folder):
    """Install the packages, with a separate cache, so that the user's npm cache does not change."""
    for name in ("package.json", "client.mjs"):
        shutil.copy(HERE / name, folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    ended = subprocess.run(
        [*command, "--cache", str(folder / "npm-cache"), "--logs-max", "0", "--update-notifier", "false"],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def sandbox():
    with Sandbox(render_seconds=0.1) as running:
        yield running


@pytest.fixture
def generate(client_folder, sandbox):
    """Call the SDK's ``generateVideo`` once and return what it returned or threw."""

    def call(prompt="A misty lake", *, key=None, model=None, abort_after_ms=None, xai=None, **arguments):
        options = {"pollIntervalMs": 20, **(xai or {})}
        asked = {
            "baseURL": sandbox.xai_base_url,
            "apiKey": key or sandbox.api_key,
            "model": model,
            "abortAfterMs": abort_after_ms,
            "call": {"prompt": prompt, "providerOptions": {"xai": options}, **arguments},
        }
        ended = subprocess.run(
            ["node", "client.mjs", json.dumps(asked)],
            cwd=client_folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return call


def measure(result):
    """Return seconds, width and height of the video that the client received."""
    assert result["ok"], result
    assert result["mediaType"] == "video/mp4"
    with av.open(io.BytesIO(base64.b64decode(result["base64"]))) as container:
        (stream,) = container.streams.video
        assert stream.codec_context.name == "h264"
        return round(container.duration / 1_000_000), stream.width, stream.height


def test_generates_edits_and_extends(sandbox, generate):
    made = generate(duration=2, aspectRatio="9:16", resolution="1280x720")
    assert measure(made) == (2, 720, 1280)
    assert made["warnings"] == []
    assert made["metadata"]["duration"] == 2
    assert made["metadata"]["costInUsdTicks"] == 1_400_000_000
    assert made["metadata"]["progress"] == 100
    url = made["metadata"]["videoUrl"]

    edited = generate("Add snow", xai={"mode": "edit-video", "videoUrl": url})
    assert measure(edited) == (2, 720, 1280)
    extended = generate("Camera rises", duration=3, xai={"mode": "extend-video", "videoUrl": url})
    assert measure(extended) == (5, 720, 1280)

    assert [record["path"] for record in sandbox.submissions] == [
        "/v1/videos/generations",
        "/v1/videos/edits",
        "/v1/videos/extensions",
    ]
    ids = [result["metadata"]["requestId"] for result in (made, edited, extended)]
    assert [record["request_id"] for record in sandbox.submissions] == ids
    # 202 while it is pending; a slow machine may poll too late to see it.
    assert {200} <= {poll["status"] for poll in sandbox.polls} <= {200, 202}
    assert not any(download["authorization"] for download in sandbox.downloads)


def test_animates_an_image_and_references(sandbox, generate):
    assert measure(generate({"image": PNG, "text": "Waves"}, duration=1)) == (1, 848, 480)
    assert sandbox.submissions[0]["body"]["image"]["url"] == f"data:image/png;base64,{PNG}"
    references = {"mode": "reference-to-video", "referenceImageUrls": ["http://127.0.0.1:9/a.png"]}
    assert measure(generate(duration=1, xai=references)) == (1, 848, 480)


@pytest.mark.parametrize(
    ("hashtag", "name", "message"),
    [
        ("#failed", "XAI_VIDEO_GENERATION_FAILED", "Video generation failed."),
        ("#expired", "XAI_VIDEO_GENERATION_EXPIRED", "Video generation request expired."),
        ("#fault:moderated_failed", "XAI_VIDEO_GENERATION_FAILED", "Video generation failed."),
        ("#fault:moderated_done", "XAI_VIDEO_MODERATION_ERROR", "content policy violation"),
        ("#fault:moderated_400", "AI_APICallError", "rejected by content moderation"),
        ("#fault:done_without_url", "XAI_VIDEO_GENERATION_ERROR", "no video URL was returned"),
        ("#fault:no_id", "XAI_VIDEO_GENERATION_ERROR", "No request_id returned"),
        ("#fault:poll:html", "AI_APICallError", "Invalid JSON response"),
        ("#fault:poll:not_found", "AI_APICallError", "not-found"),
        ("#fault:close_before_accept", "AI_APICallError", "Cannot connect to API"),
        ("#fault:video:not_found", "Error", "download answered 404"),
    ],
)
def test_failed_generations(generate, hashtag, name, message):
    result = generate(f"A misty lake {hashtag}", duration=1)
    assert result["ok"] is False
    assert result["error"]["name"] == name
    assert message in result["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "status", "retryable", "message"),
    [
        ({"key": "sk-wrong"}, 400, False, "Incorrect API key provided: sk***"),
        ({"model": "grok-imagine-none"}, 404, False, "grok-imagine-none does not exist"),
        ({"duration": 99}, 400, False, "between 1 and 15"),
        ({"aspectRatio": "1:9"}, 400, False, "aspect_ratio"),
        ({"resolution": "1920x1080"}, 400, False, "does not support resolution 1080p"),
        ({"prompt": "#fault:submit:rate_limited"}, 429, True, "resource-exhausted: Too many requests"),
        ({"prompt": "#fault:no_quota"}, 403, False, "permission-denied"),
        ({"prompt": "#fault:submit:server_error"}, 500, True, "Internal Server Error"),
    ],
)
def test_rejected_submissions(sandbox, generate, arguments, status, retryable, message):
    error = generate(**arguments)["error"]
    assert (error["name"], error["statusCode"], error["isRetryable"]) == (
        "AI_APICallError",
        status,
        retryable,
    )
    assert message in error["message"]
    assert sandbox.submissions == []


def test_client_retries_after_rate_limit(sandbox, generate):
    sandbox.fault("submit", "rate_limited", retry_after=0)
    assert measure(generate(duration=1, maxRetries=1)) == (1, 848, 480)
    assert len(sandbox.submissions) == len(sandbox.refusals) == 1


def test_empty_202_means_pending(sandbox, generate):
    sandbox.fault("poll", "empty_202", times=2)
    assert measure(generate(duration=1)) == (1, 848, 480)


def test_timeouts(sandbox, generate):
    sandbox.fault("poll", "unknown_status", times=None)
    assert generate(xai={"pollTimeoutMs": 200})["error"]["name"] == "XAI_VIDEO_GENERATION_TIMEOUT"
    sandbox.fault("submit", "slow_after_accept", delay=60)
    # Long enough to send the request on a slow machine.
    assert generate(abort_after_ms=5000)["error"]["name"] == "TimeoutError"
    assert len(sandbox.submissions) == 2
