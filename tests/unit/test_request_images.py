"""Images of a request: any kind of path is read and sent as a data URI; other files are refused."""

from __future__ import annotations

import base64
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from airflow_provider_grokvideo.api.media import MAX_IMAGE_BYTES
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import InvalidRequestError
from tests.support.request_fields import (
    IMAGE_URL,
    OTHER_FORMATS,
    PNG,
    PNG_URI,
    Lazy,
    StoragePath,
    keyframe,
)


@pytest.mark.parametrize(
    ("content", "mime_type"),
    [
        pytest.param(PNG, "image/png", id="png"),
        pytest.param(b"\xff\xd8\xff\xe0 jfif", "image/jpeg", id="jpeg"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 ", "image/webp", id="webp"),
    ],
)
@pytest.mark.parametrize(
    "media",
    ["/data/cat.txt", {"url": "/data/cat.txt"}, PurePosixPath("/data/cat.txt"), {"url": Path("/data/cat.txt")}],
    ids=["path", "mapping", "path-object", "path-object-in-mapping"],
)
def test_image_path_becomes_a_data_uri_typed_by_content(content: bytes, mime_type: str, media: Any) -> None:
    asked = []

    def read(path: str, name: str) -> bytes:
        asked.append((path, name))
        return content

    request = VideoRequest(prompt="p", image=media).with_inlined_images(read)
    assert asked == [("/data/cat.txt", "image")]
    sent = request.body()["image"]["url"]
    assert sent == f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def test_paths_in_every_field_are_read_under_their_own_names() -> None:
    asked = []

    def read(path: str, name: str) -> bytes:
        asked.append((path, name))
        return PNG

    request = VideoRequest(
        prompt="p",
        image=Path("/a.png"),
        last_frame=StoragePath(),
        keyframes=Lazy([keyframe(1), keyframe(2, Path("/k.png"))]),
        reference_images=(path for path in (IMAGE_URL, Path("/r.png"))),
    )
    body = request.with_inlined_images(read).body()
    assert asked == [
        ("/a.png", "image"),
        ("s3://aws_default@bucket/cat.png", "last_frame"),
        ("/k.png", "keyframes[1].image"),
        ("/r.png", "reference_images[1]"),
    ]
    assert (body["image"], body["last_frame"]) == ({"url": PNG_URI}, {"url": PNG_URI})
    assert [frame["image"]["url"] for frame in body["keyframes"]] == [IMAGE_URL, PNG_URI]
    assert body["reference_images"] == [{"url": IMAGE_URL}, {"url": PNG_URI}]


def test_reference_paths_become_data_uris_under_their_own_names() -> None:
    asked = []

    def read(path: str, name: str) -> bytes:
        asked.append((path, name))
        return PNG

    request = VideoRequest(prompt="p", reference_images=[IMAGE_URL, "/b.png"]).with_inlined_images(read)
    assert asked == [("/b.png", "reference_images[1]")]
    assert request.body()["reference_images"] == [{"url": IMAGE_URL}, {"url": PNG_URI}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"just a text, called .png",
            "Its content is not an image in a known format. Convert it to JPEG, PNG or WebP.",
        ),
        (b"", "Its content is not an image in a known format. Convert it to JPEG, PNG or WebP."),
        *(
            (content, f"Its content is {name}. Convert it to JPEG, PNG or WebP.")
            for name, content in OTHER_FORMATS.items()
        ),
        (b"\x89PNG\r\n\x1a\n" + bytes(MAX_IMAGE_BYTES), "Use an image of up to 15 MiB."),
    ],
    ids=["text", "empty", *OTHER_FORMATS, "too-large"],
)
def test_image_file_that_the_api_does_not_take_gets_its_message(content: bytes, message: str) -> None:
    request = VideoRequest(prompt="p", reference_images=["/data/cat.png"])
    with pytest.raises(InvalidRequestError) as caught:
        request.with_inlined_images(lambda *_: content)
    assert str(caught.value) == f"reference_images[0]='/data/cat.png' is not valid. {message}"


def test_data_uri_above_the_limit_gets_its_message() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        VideoRequest(prompt="p", image="data:image/png;base64," + "A" * (MAX_IMAGE_BYTES // 3 * 4 + 8))
    assert str(caught.value) == (
        "image=data:image/png;base64,… (20971528 characters) is not valid. Use an image of up to 15 MiB."
    )


@pytest.mark.parametrize("media", ["/data/cat.png", {"url": "/data/cat.png"}], ids=["path", "mapping"])
def test_path_that_was_not_read_is_never_sent(media: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        VideoRequest(prompt="p", image=media).body()
    assert str(caught.value) == "image='/data/cat.png' is not valid. Read its content first (with_inlined_images)."
