"""Arguments of the operators: invalid ones are refused before a request is sent."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.support.video_tasks import submissions_of, video_task


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"prompt": ""}, "prompt=''"),
        ({"prompt": 7}, "prompt=7"),
        ({"prompt": None}, "prompt=None"),
        ({"duration": 0}, "duration=0"),
        ({"duration": 16}, "duration=16"),
        ({"duration": "eight"}, "duration='eight'"),
        ({"duration": True}, "duration=True"),
        ({"duration": 8.5}, "duration=8.5"),
        ({"aspect_ratio": "5:4"}, "aspect_ratio='5:4'"),
        ({"aspect_ratio": "21:9"}, "aspect_ratio='21:9'"),
        ({"resolution": "4k"}, "resolution='4k'"),
        ({"resolution": "1080p"}, "resolution='1080p'"),
        ({"image": "/nowhere/lake.png"}, "Cannot read image '/nowhere/lake.png': no such file on this worker."),
        ({"image": "data:image/png;base64,@@@"}, "image=data:image/png;base64"),
        ({"image": "ftp://host/lake.png"}, "image='ftp://host/lake.png'"),
        ({"upload_url": "s3://bucket/key"}, "upload_url='s3://bucket/key'"),
        ({"extra": {"duration": 3}}, "extra['duration']"),
        ({"extra": "seed=1"}, "extra='seed=1'"),
        ({"user": ""}, "user=''"),
        ({"reference_images": ["https://example.com/a.png"] * 8}, "reference_images"),
        ({"output_path": "file:///proc/nowhere/video.mp4"}, "output_path='file:///proc/nowhere/video.mp4'"),
        ({"output_path": "nosuch://bucket/video.mp4"}, "output_path='nosuch://bucket/video.mp4'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_argument_is_refused_before_submission(wrong: dict[str, Any], named: str, sandbox):
    before = (len(sandbox.submissions), len(sandbox.refusals))

    task = video_task(retries=2, **wrong).run()

    assert task.state == "failed"
    assert task.attempts == 1
    assert named in str(task.error)
    assert " is not valid. " in str(task.error) or "Cannot " in str(task.error)
    assert (len(sandbox.submissions), len(sandbox.refusals)) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [("text.png", b"just text"), ("large.png", b"\x89PNG\r\n\x1a\n" + b"0" * 50_000_000), ("empty.png", b"")],
)
def test_unusable_image_file_is_refused(name: str, content: bytes, sandbox, tmp_path: Path):
    before = (len(sandbox.submissions), len(sandbox.refusals))
    (tmp_path / name).write_bytes(content)

    task = video_task(image=str(tmp_path / name)).run()

    assert task.state == "failed"
    assert f"{tmp_path}/{name}" in str(task.error)
    assert (len(sandbox.submissions), len(sandbox.refusals)) == before


def test_image_file_is_sent_as_a_typed_data_uri(sandbox, tmp_path: Path):
    pixel = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    (tmp_path / "pixel.jpg").write_bytes(pixel)

    task = video_task(prompt="pixel", image=f"file://{tmp_path}/pixel.jpg").run()

    assert task.state == "success", task.error
    sent = submissions_of(sandbox, "pixel")[0]["body"]["image"]["url"]
    assert sent == "data:image/png;base64," + base64.b64encode(pixel).decode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"poll_interval": 0},
        {"poll_interval": "5"},
        {"timeout": -1},
        {"timeout": True},
        {"on_unknown_submission": "maybe"},
    ],
    ids=str,
)
def test_invalid_argument_is_refused_at_dag_parsing(wrong: dict[str, Any]):
    name, value = next(iter(wrong.items()))

    with pytest.raises(ValueError, match=f"{name}={value!r} is not valid. Use "):
        video_task(**wrong).make()
