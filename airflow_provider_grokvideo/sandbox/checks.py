"""What the real API accepts, and what it refuses and why.

Unknown extra fields are accepted, as the API does; only fields it knows are judged.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from airflow_provider_grokvideo.sandbox.catalogue import (
    ASPECT_RATIOS,
    DEFAULT_MODEL,
    DEFAULT_RESOLUTION,
    RESOLUTIONS,
    find_model,
)

Kind = Literal["generation", "edit", "extension"]
Style = Literal["comet", "xai"]

MAX_REFERENCE_IMAGES = 7
MAX_EDIT_SECONDS = 8.7
MAX_EXTENDED_SECONDS = 30.0
MAX_REFERENCED_DURATION = 10
_IMAGE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")


@dataclass(frozen=True)
class Refusal:
    """Why a submission is not accepted; ``reason`` picks status and code for each dialect."""

    reason: Literal["missing_field", "bad_type", "bad_value", "unknown_model"]
    message: str
    field: str


def check(kind: Kind, body: dict[str, Any], style: Style, source_seconds: float | None) -> Refusal | None:
    """The first thing wrong with a submission, or None.

    :param source_seconds: how long the video to edit or extend is, where the sandbox made it itself.
    """
    return (
        _check_prompt(kind, body, style)
        or _check_model(kind, body)
        or _check_duration(kind, body)
        or _check_picture_format(kind, body)
        or _check_images(body)
        or _check_source(kind, body, source_seconds)
        or _check_output(body)
        or _check_user(body)
    )


def _check_prompt(kind: Kind, body: dict[str, Any], style: Style) -> Refusal | None:
    prompt = body.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        return Refusal("bad_type", "prompt: invalid type, expected a string", "prompt")
    if prompt and prompt.strip():
        return None
    if style == "xai" and kind == "generation" and body.get("image"):
        return None
    return Refusal("missing_field", "field prompt is required", "prompt")


def _check_model(kind: Kind, body: dict[str, Any]) -> Refusal | None:
    name = body.get("model")
    if name is None:
        return None
    if not isinstance(name, str):
        return Refusal("bad_type", "model: invalid type, expected a string", "model")
    model = find_model(name)
    if model is None:
        return Refusal("unknown_model", name, "model")
    if kind != "generation" and not model.edits_and_extends:
        return Refusal("bad_value", f"Model {name} does not support video {kind}s.", "model")
    return None


def _check_duration(kind: Kind, body: dict[str, Any]) -> Refusal | None:
    if kind == "edit":
        return None
    field = "duration" if body.get("duration") is not None else "seconds"
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        return Refusal("bad_type", f"{field}: invalid type, expected an integer", field)
    longest = 10 if kind == "extension" else 15
    if not 1 <= value <= longest:
        return Refusal("bad_value", f"{field} must be between 1 and {longest} seconds, got {value}", field)
    if body.get("reference_images") and value > MAX_REFERENCED_DURATION:
        text = f"{field} must be at most {MAX_REFERENCED_DURATION} seconds with reference images, got {value}"
        return Refusal("bad_value", text, field)
    return None


def _check_picture_format(kind: Kind, body: dict[str, Any]) -> Refusal | None:
    if kind != "generation":
        return None
    for field, allowed in (("aspect_ratio", ASPECT_RATIOS), ("resolution", RESOLUTIONS)):
        value = body.get(field)
        if value is None:
            continue
        if not isinstance(value, str):
            return Refusal("bad_type", f"{field}: invalid type, expected a string", field)
        if value not in allowed:
            text = f"{field}: unknown variant `{value}`, expected one of {', '.join(allowed)}"
            return Refusal("bad_value", text, field)
    name = body.get("model") or DEFAULT_MODEL
    model = find_model(name)
    resolution = body.get("resolution") or DEFAULT_RESOLUTION
    if model is not None and resolution not in model.per_second:
        return Refusal("bad_value", f"Model {name} does not support resolution {resolution}.", "resolution")
    return None


def _check_images(body: dict[str, Any]) -> Refusal | None:
    image, references = body.get("image"), body.get("reference_images")
    if image is not None:
        refusal = _check_image(image, "image")
        if refusal:
            return refusal
    if references is None:
        return None
    if not isinstance(references, list):
        return Refusal("bad_type", "reference_images: invalid type, expected a sequence", "reference_images")
    if image is not None and references:
        return Refusal("bad_value", "image and reference_images cannot be used together", "reference_images")
    if len(references) > MAX_REFERENCE_IMAGES:
        text = f"at most {MAX_REFERENCE_IMAGES} reference_images are allowed, got {len(references)}"
        return Refusal("bad_value", text, "reference_images")
    for index, reference in enumerate(references):
        refusal = _check_image(reference, f"reference_images[{index}]")
        if refusal:
            return refusal
    return None


def _check_image(value: object, field: str) -> Refusal | None:
    if not isinstance(value, dict):
        return Refusal("bad_type", f'{field}: invalid type, expected an object like {{"url": …}}', field)
    if isinstance(value.get("file_id"), str) and value["file_id"]:
        return None
    url = value.get("url")
    if not isinstance(url, str) or not url:
        return Refusal("bad_value", f"{field}.url is required", field)
    if _is_web_address(url):
        return None
    if not url.startswith("data:"):
        return Refusal("bad_value", f"{field}.url must be an http(s) URL or a base64 data URI", field)
    content = data_uri_content(url)
    if content is None:
        return Refusal("bad_value", f"{field}.url is not a valid base64 data URI", field)
    if not _looks_like_image(content):
        return Refusal("bad_value", f"{field}.url: the content is not a supported image", field)
    return None


def _check_source(kind: Kind, body: dict[str, Any], source_seconds: float | None) -> Refusal | None:
    if kind == "generation":
        return None
    video = body.get("video")
    if video is None:
        return Refusal("missing_field", "field video is required", "video")
    if not isinstance(video, dict):
        return Refusal("bad_type", 'video: invalid type, expected an object like {"url": …}', "video")
    url = video.get("url")
    if url is None and isinstance(video.get("file_id"), str) and video["file_id"]:
        return None
    if not isinstance(url, str) or not url:
        return Refusal("missing_field", "field video.url is required", "video")
    if not _is_web_address(url) and not url.startswith("data:video/"):
        return Refusal("bad_value", "video.url must be an http(s) URL", "video")
    longest = MAX_EDIT_SECONDS if kind == "edit" else MAX_EXTENDED_SECONDS
    if source_seconds is not None and source_seconds > longest:
        text = f"the video is {source_seconds:g} seconds long; an {kind} takes at most {longest:g}"
        return Refusal("bad_value", text, "video")
    return None


def _check_output(body: dict[str, Any]) -> Refusal | None:
    output = body.get("output")
    if output is None:
        return None
    if not isinstance(output, dict):
        return Refusal("bad_type", "output: invalid type, expected an object", "output")
    url = output.get("upload_url")
    if url is None or url == "":
        return Refusal("missing_field", "field output.upload_url is required", "output")
    if not isinstance(url, str) or not _is_web_address(url):
        return Refusal("bad_value", "output.upload_url must be an http(s) URL", "output")
    return None


def _check_user(body: dict[str, Any]) -> Refusal | None:
    if body.get("user") is not None and not isinstance(body["user"], str):
        return Refusal("bad_type", "user: invalid type, expected a string", "user")
    return None


def data_uri_content(uri: str) -> bytes | None:
    """The bytes inside a base64 data URI, or None where it is not one."""
    head, comma, payload = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        return None
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return None


def _looks_like_image(content: bytes) -> bool:
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    return is_webp or content.startswith(_IMAGE_STARTS)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
