"""Validation of submissions: what the real API accepts, and how it rejects the rest.

Unknown fields are accepted, as the API does.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from airflow_provider_grokvideo.sandbox.models import (
    ASPECT_RATIOS,
    DEFAULT_DURATION,
    DEFAULT_MODEL,
    DEFAULT_RESOLUTION,
    RESOLUTIONS,
    find_model,
)

Kind = Literal["generation", "edit", "extension"]
Style = Literal["comet", "xai"]

MAX_REFERENCE_IMAGES = 7
MAX_EDIT_SECONDS = 8.7
MAX_REFERENCE_AUDIOS = 3
MAX_KEYFRAMES = 4
EXTENSION_SECONDS = (2, 10)
EXTENDED_SECONDS = (2, 15)
STORED_SECONDS = (3600, 2_592_000)
_IMAGE_FIELDS = ("image", "last_frame", "keyframes")
_IMAGE_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


@dataclass(frozen=True)
class Rejection:
    """Why a submission is rejected; ``reason`` selects the status and the code."""

    reason: Literal["missing_field", "bad_type", "bad_value", "unknown_model"]
    message: str
    field: str


def validate_submission(
    kind: Kind, body: dict[str, Any], style: Style, source_seconds: float | None
) -> Rejection | None:
    """Return the first error of a submission, or None.

    :param source_seconds: duration of the video to edit or extend, if the sandbox created it.
    """
    return (
        _validate_prompt(kind, body, style)
        or _validate_model(kind, body)
        or _validate_duration(kind, body)
        or _validate_frame_size(kind, body)
        or _validate_images(body)
        or _validate_source_video(kind, body, source_seconds)
        or _validate_audio(body)
        or _validate_output(body)
        or _validate_storage(body)
        or _validate_user(body)
    )


def _validate_prompt(kind: Kind, body: dict[str, Any], style: Style) -> Rejection | None:
    prompt = body.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        return Rejection("bad_type", "prompt: invalid type, expected a string", "prompt")
    if prompt and prompt.strip():
        return None
    if style == "xai" and kind == "generation" and any(body.get(field) for field in _IMAGE_FIELDS):
        return None
    return Rejection("missing_field", "field prompt is required", "prompt")


def _validate_model(kind: Kind, body: dict[str, Any]) -> Rejection | None:
    name = body.get("model")
    if name is None:
        return None
    if not isinstance(name, str):
        return Rejection("bad_type", "model: invalid type, expected a string", "model")
    model = find_model(name)
    if model is None:
        return Rejection("unknown_model", name, "model")
    if kind != "generation" and not model.supports_edits:
        return Rejection("bad_value", f"Model {name} does not support video {kind}s.", "model")
    return None


def _validate_duration(kind: Kind, body: dict[str, Any]) -> Rejection | None:
    if kind == "edit":
        return None
    field = "duration" if body.get("duration") is not None else "seconds"
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        return Rejection("bad_type", f"{field}: invalid type, expected an integer", field)
    if kind == "generation" and not 1 <= value <= 15:
        return Rejection("bad_value", f"{field} must be between 1 and 15 seconds, got {value}", field)
    return None


def extension_failure(kind: Kind, body: dict[str, Any], source_seconds: float | None) -> str | None:
    """Return why an accepted extension fails, or None. The API detects these errors after it accepts the submission.

    :param source_seconds: duration of the video to extend, if the sandbox created it.
    """
    if kind != "extension":
        return None
    requested = body.get("duration") or body.get("seconds")
    shortest, longest = EXTENSION_SECONDS
    if requested is not None and not shortest <= requested <= longest:
        return f"The extension must be between {shortest} and {longest} seconds long, got {requested}."
    shortest, longest = EXTENDED_SECONDS
    if source_seconds is not None and not shortest <= source_seconds <= longest:
        return f"The video to extend must be between {shortest} and {longest} seconds long, got {source_seconds:g}."
    return None


def _validate_frame_size(kind: Kind, body: dict[str, Any]) -> Rejection | None:
    if kind != "generation":
        return None
    for field, allowed in (("aspect_ratio", ASPECT_RATIOS), ("resolution", RESOLUTIONS)):
        value = body.get(field)
        if value is None:
            continue
        if not isinstance(value, str):
            return Rejection("bad_type", f"{field}: invalid type, expected a string", field)
        if value not in allowed:
            text = f"{field}: unknown variant `{value}`, expected one of {', '.join(allowed)}"
            return Rejection("bad_value", text, field)
    name = body.get("model") or DEFAULT_MODEL
    model = find_model(name)
    resolution = body.get("resolution") or DEFAULT_RESOLUTION
    if model is not None and resolution not in model.per_second:
        return Rejection("bad_value", f"Model {name} does not support resolution {resolution}.", "resolution")
    return None


def input_images(body: dict[str, Any]) -> list[tuple[str, object]]:
    """Return all input images of a submission, each with the name of its field."""
    found = [(field, body[field]) for field in ("image", "last_frame") if body.get(field) is not None]
    frames, references = body.get("keyframes"), body.get("reference_images")
    if isinstance(frames, list):
        found += [(f"keyframes[{i}].image", one.get("image")) for i, one in enumerate(frames) if isinstance(one, dict)]
    if isinstance(references, list):
        found += [(f"reference_images[{index}]", one) for index, one in enumerate(references)]
    return found


def _validate_images(body: dict[str, Any]) -> Rejection | None:
    for field, longest in (("reference_images", MAX_REFERENCE_IMAGES), ("keyframes", MAX_KEYFRAMES)):
        value = body.get(field)
        if value is not None and not isinstance(value, list):
            return Rejection("bad_type", f"{field}: invalid type, expected a sequence", field)
        if value and len(value) > longest:
            return Rejection("bad_value", f"at most {longest} {field} are allowed, got {len(value)}", field)
    refusals = (_validate_image(value, field) for field, value in input_images(body))
    return next(filter(None, refusals), None) or _validate_keyframes(body) or _validate_combination(body)


def _validate_keyframes(body: dict[str, Any]) -> Rejection | None:
    duration = body.get("duration") or body.get("seconds") or DEFAULT_DURATION["generation"]
    for index, frame in enumerate(body.get("keyframes") or []):
        field = f"keyframes[{index}]"
        if not isinstance(frame, dict):
            return Rejection("bad_type", f"{field}: invalid type, expected an object", field)
        at = frame.get("timestamp_s")
        if isinstance(at, bool) or not isinstance(at, int | float):
            return Rejection("bad_type", f"{field}.timestamp_s: invalid type, expected a number", field)
        if not 0 < at < duration:
            return Rejection("bad_value", f"{field}.timestamp_s must be inside the video, got {at:g}", field)
    return None


def _validate_combination(body: dict[str, Any]) -> Rejection | None:
    name = body.get("model") or DEFAULT_MODEL
    model = find_model(name)
    if model is None:
        return None
    for field in ("last_frame", "keyframes"):
        if body.get(field) and not model.supports_frames:
            return Rejection("bad_value", f"Model {name} does not support {field}.", field)
    if not body.get("reference_images"):
        return None
    if not model.supports_references:
        return Rejection("bad_value", f"Model {name} does not support reference_images.", "reference_images")
    if body.get("image") is not None and not model.supports_image_with_references:
        return Rejection("bad_value", "image and reference_images cannot be used together", "reference_images")
    if body.get("resolution") == "1080p":
        return Rejection("bad_value", "resolution 1080p cannot be used with reference_images", "resolution")
    requested = body.get("duration") or body.get("seconds") or 0
    if requested > model.max_seconds_with_references:
        limit = model.max_seconds_with_references
        text = f"duration must be at most {limit} seconds with reference images, got {requested}"
        return Rejection("bad_value", text, "duration")
    return None


def _validate_audio(body: dict[str, Any]) -> Rejection | None:
    if body.get("generate_audio") is not None and not isinstance(body["generate_audio"], bool):
        return Rejection("bad_type", "generate_audio: invalid type, expected a boolean", "generate_audio")
    audios = body.get("reference_audios")
    if audios is None:
        return None
    if not isinstance(audios, list):
        return Rejection("bad_type", "reference_audios: invalid type, expected a sequence", "reference_audios")
    if len(audios) > MAX_REFERENCE_AUDIOS:
        text = f"at most {MAX_REFERENCE_AUDIOS} reference_audios are allowed, got {len(audios)}"
        return Rejection("bad_value", text, "reference_audios")
    for index, audio in enumerate(audios):
        named = audio.get("voice_id") or audio.get("url") if isinstance(audio, dict) else None
        if not isinstance(named, str):
            field = f"reference_audios[{index}]"
            return Rejection("bad_type", f"{field}: expected an object with voice_id or url", field)
    return None


def _validate_storage(body: dict[str, Any]) -> Rejection | None:
    options = body.get("storage_options")
    if options is None:
        return None
    if not isinstance(options, dict):
        return Rejection("bad_type", "storage_options: invalid type, expected an object", "storage_options")
    name, public = options.get("filename"), options.get("public_url")
    if name is not None and not isinstance(name, str):
        return Rejection("bad_type", "storage_options.filename: invalid type, expected a string", "storage_options")
    if public is not None and not isinstance(public, bool | dict):
        text = "storage_options.public_url: invalid type, expected a boolean or an object"
        return Rejection("bad_type", text, "storage_options")
    lifetimes = [options.get("expires_after"), public.get("expires_after") if isinstance(public, dict) else None]
    for seconds in lifetimes:
        if seconds is None:
            continue
        if isinstance(seconds, bool) or not isinstance(seconds, int):
            text = "storage_options.expires_after: invalid type, expected an integer"
            return Rejection("bad_type", text, "storage_options")
        if not STORED_SECONDS[0] <= seconds <= STORED_SECONDS[1]:
            text = f"storage_options.expires_after must be between {STORED_SECONDS[0]} and {STORED_SECONDS[1]} seconds"
            return Rejection("bad_value", f"{text}, got {seconds}", "storage_options")
    return None


def _validate_image(value: object, field: str) -> Rejection | None:
    if not isinstance(value, dict):
        return Rejection("bad_type", f'{field}: invalid type, expected an object like {{"url": …}}', field)
    if isinstance(value.get("file_id"), str) and value["file_id"]:
        return None
    url = value.get("url")
    if not isinstance(url, str) or not url:
        return Rejection("bad_value", f"{field}.url is required", field)
    if _is_http_url(url):
        return None
    if not url.startswith("data:"):
        return Rejection("bad_value", f"{field}.url must be an http(s) URL or a base64 data URI", field)
    content = decode_data_uri(url)
    if content is None:
        return Rejection("bad_value", f"{field}.url is not a valid base64 data URI", field)
    if not _looks_like_image(content):
        return Rejection("bad_value", f"{field}.url: the content is not a supported image", field)
    return None


def _validate_source_video(kind: Kind, body: dict[str, Any], source_seconds: float | None) -> Rejection | None:
    if kind == "generation":
        return None
    video = body.get("video")
    if video is None:
        return Rejection("missing_field", "field video is required", "video")
    if not isinstance(video, dict):
        return Rejection("bad_type", 'video: invalid type, expected an object like {"url": …}', "video")
    url = video.get("url")
    if url is None and isinstance(video.get("file_id"), str) and video["file_id"]:
        return None
    if not isinstance(url, str) or not url:
        return Rejection("missing_field", "field video.url is required", "video")
    if not _is_http_url(url) and not url.startswith("data:video/"):
        return Rejection("bad_value", "video.url must be an http(s) URL", "video")
    if kind == "edit" and source_seconds is not None and source_seconds > MAX_EDIT_SECONDS:
        text = f"the video is {source_seconds:g} seconds long; an edit takes at most {MAX_EDIT_SECONDS:g}"
        return Rejection("bad_value", text, "video")
    return None


def _validate_output(body: dict[str, Any]) -> Rejection | None:
    output = body.get("output")
    if output is None:
        return None
    if not isinstance(output, dict):
        return Rejection("bad_type", "output: invalid type, expected an object", "output")
    url = output.get("upload_url")
    if url is None or url == "":
        return Rejection("missing_field", "field output.upload_url is required", "output")
    if not isinstance(url, str) or not _is_http_url(url):
        return Rejection("bad_value", "output.upload_url must be an http(s) URL", "output")
    return None


def _validate_user(body: dict[str, Any]) -> Rejection | None:
    if body.get("user") is not None and not isinstance(body["user"], str):
        return Rejection("bad_type", "user: invalid type, expected a string", "user")
    return None


def decode_data_uri(uri: str) -> bytes | None:
    """Return the content of a base64 data URI, or None if it is not one."""
    head, comma, payload = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        return None
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return None


def _looks_like_image(content: bytes) -> bool:
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    return is_webp or content.startswith(_IMAGE_SIGNATURES)


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
