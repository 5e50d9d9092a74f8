"""Fields of requests, and values that are like what Airflow, numpy and stores pass as fields."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from numbers import Real
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PNG_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
IMAGE_URL = "https://example.com/a.png"
VIDEO_URL = "https://example.com/in.mp4"
CLASSIC_MODEL = "grok-imagine-video"
LATE_MODEL = "grok-imagine-video-1.5"
LITE_MODEL = "grok-imagine-video-1.5-lite"

OTHER_FORMATS = {
    "GIF": b"GIF89a....",
    "BMP": b"BM......",
    "AVIF": b"\0\0\0\x1cftypavif",
    "HEIC": b"\0\0\0\x1cftypheic",
    "TIFF": b"II*\0....",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}
"""Starts of images that the API does not take, by format."""


def data_uri(content: bytes, mime_type: str = "image/png") -> str:
    """Return the data URI of some content."""
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def fields(**given: Any) -> dict[str, Any]:
    """Return the smallest valid generation, changed."""
    return {"prompt": "A red fox in the snow", **given}


def edit(**given: Any) -> dict[str, Any]:
    """Return the smallest valid edit, changed."""
    return {"kind": "edit", "prompt": "Add snow", "video": VIDEO_URL, **given}


def extension(**given: Any) -> dict[str, Any]:
    """Return the smallest valid extension, changed."""
    return {"kind": "extension", "prompt": "The camera rises", "video": VIDEO_URL, **given}


def keyframe(timestamp_s: Any = 2, image: Any = IMAGE_URL) -> dict[str, Any]:
    """Return a keyframe."""
    return {"image": image, "timestamp_s": timestamp_s}


class Lazy(Sequence[Any]):
    """A sequence that is no list, like what Airflow passes for a mapped task's XComs."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]


@Real.register
class ForeignNumber:
    """A number that is neither ``int`` nor ``float`` but says that it is one, like those of numpy."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __float__(self) -> float:
        return float(self._value)

    def __repr__(self) -> str:
        return f"ForeignNumber({self._value})"


class StoragePath:
    """A path that is no ``os.PathLike``, like ``ObjectStoragePath`` of Airflow 3."""

    protocol, path = "s3", "bucket/cat.png"

    def __str__(self) -> str:
        return "s3://aws_default@bucket/cat.png"
