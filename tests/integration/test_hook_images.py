"""Images of a request: the hook reads any path, and sends nothing where a file is no image."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import (
    InvalidRequestError,
)
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.hooks import KEY

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Return an API of one's own."""
    with Sandbox(render_seconds=0, api_key=KEY) as running:
        yield running


def test_image_path_is_sent_as_a_data_uri(hook: GrokVideoHook, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_bytes(PNG)
    hook.submit(VideoRequest(prompt="p", image=str(tmp_path / "cat.txt")))
    hook.submit(VideoRequest(prompt="p", reference_images=[{"url": f"file://{tmp_path}/cat.txt"}]))
    bodies = [submission["body"] for submission in sandbox.submissions]
    assert bodies[0]["image"]["url"].startswith("data:image/png;base64,")
    assert bodies[1]["reference_images"] == [bodies[0]["image"]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file on this worker"),
        (b"just a text", "Convert it to JPEG, PNG or WebP"),
        (b"GIF89a...", "Its content is GIF. Convert it"),
        (bytes(50 * 1024 * 1024), "up to 15 MiB"),
    ],
    ids=["missing", "text-called-png", "gif-called-png", "50-MB"],
)
def test_unfit_image_is_refused_before_a_request_is_sent(
    content: bytes | None, words: str, hook: GrokVideoHook, sandbox: Sandbox, tmp_path: Path
) -> None:
    path = tmp_path / "cat.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequestError, match=words) as caught:
        hook.submit(VideoRequest(prompt="p", image=str(path)))
    assert re.search(rf"image[= ]'{path}'", str(caught.value))
    assert (sandbox.submissions, sandbox.refusals) == ([], [])


def test_images_are_read_from_path_objects_of_every_kind(hook: GrokVideoHook, sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    hook.submit(
        VideoRequest(
            model="grok-imagine-video-1.5",
            prompt="p",
            image=path,
            last_frame=ObjectStoragePath(f"file://{path}"),
            keyframes=[{"image": {"url": path}, "timestamp_s": "1.5"}],
            reference_images=(one for one in (path, ObjectStoragePath(str(path)))),
        )
    )
    body = sandbox.submissions[0]["body"]
    sent = {"url": "data:image/png;base64," + base64.b64encode(PNG).decode()}
    assert (body["image"], body["last_frame"], body["reference_images"]) == (sent, sent, [sent, sent])
    assert body["keyframes"] == [{"image": sent, "timestamp_s": 1.5}]
