"""Images and videos as a request names them: URL, data URI, stored file, or path."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from airflow_provider_grokvideo.exceptions import InvalidRequestError

Media = str | Mapping[str, str]

MAX_IMAGE_BYTES = 15 * 1024 * 1024
"""Base64 makes this 20 MiB, the largest message xAI's own clients may send."""
_SHOWN_DEPTH = 5
_QUERY = re.compile(r"\?.*=")

_IMAGE_SIGNATURES: tuple[tuple[bytes, int, str], ...] = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"WEBP", 8, "image/webp"),
    (b"GIF8", 0, "image/gif"),
    (b"BM", 0, "image/bmp"),
    (b"ftypavif", 4, "image/avif"),
    (b"ftypheic", 4, "image/heic"),
)


def image_data_uri(content: bytes, *, name: str = "image", given: str = "") -> str:
    """The data URI of an image, its type taken from the content.

    :raises InvalidRequestError: where the content is not an image or is too large.
    """
    if len(content) > MAX_IMAGE_BYTES:
        raise invalid(name, given, f"an image of up to {MAX_IMAGE_BYTES // 1024**2} MiB")
    for signature, offset, mime_type in _IMAGE_SIGNATURES:
        if content[offset : offset + len(signature)] == signature:
            return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"
    raise invalid(name, given, "an image; the content is not JPEG, PNG, WebP, GIF, BMP, AVIF or HEIC")


def is_web_url(value: object) -> bool:
    """Whether a value is an absolute http(s) URL."""
    if not isinstance(value, str) or any(character.isspace() for character in value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def shown(value: object, limit: int = 200) -> str:
    """A value as it may stand in a message or log: short, without image bytes, without a URL's signature."""
    value = _without_secrets(value)
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def _without_secrets(value: object, depth: int = 0) -> object:
    if depth > _SHOWN_DEPTH:
        return "…"
    if isinstance(value, str):
        if value.lower().startswith("data:"):
            head, _, content = value.partition(",")
            return f"{head[:40]},… ({len(content)} characters)"
        # Also what was meant as a URL and is none, e.g. for want of its scheme.
        return without_query(value) if "://" in value or _QUERY.search(value) else value
    if isinstance(value, Mapping):
        return {key: _without_secrets(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(item, depth + 1) for item in value]
    return value


def invalid(name: str, value: object, allowed: str) -> InvalidRequestError:
    """The error that names a field, its value as it may be shown, and what is allowed."""
    text = shown(value)
    return InvalidRequestError(f"{name}={repr(text) if text == value else text} is not allowed; allowed: {allowed}")


def checked_media(name: str, media: object, what: Literal["image", "video"]) -> Media:
    """The media, ``{"url": …}`` as the URL alone.

    :raises InvalidRequestError: it is none.
    """
    if isinstance(media, Mapping):
        if set(media) == {"url"}:
            name, media = f"{name}.url", media["url"]
        elif set(media) == {"file_id"} and isinstance(media["file_id"], str) and media["file_id"].strip():
            return media
        else:
            raise invalid(name, media, "{'url': …} or {'file_id': …}")
    path_too = ", or a path to read it from" if what == "image" else ""
    allowed = f"an http(s) URL or a base64 data URI of the {what}{path_too}"
    if not isinstance(media, str) or not media.strip():
        raise invalid(name, media, allowed)
    if media.lower().startswith("data:"):
        _check_data_uri(name, media, what)
    elif not is_web_url(media) and (what == "video" or media.lower().startswith(("http:", "https:"))):
        raise invalid(name, media, allowed)
    return media


def _check_data_uri(name: str, uri: str, what: str) -> None:
    head, comma, content = uri.partition(",")
    allowed = f"data:{what}/…;base64,<base64 of the {what}>"
    if not comma or not head.lower().startswith(f"data:{what}/") or not head.lower().endswith(";base64"):
        raise invalid(name, uri, allowed)
    if what == "image" and len(content) > MAX_IMAGE_BYTES * 4 // 3 + 4:
        raise invalid(name, uri, f"an image of up to {MAX_IMAGE_BYTES // 1024**2} MiB")
    try:
        decoded = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(name, uri, allowed) from None
    if not decoded:
        raise invalid(name, uri, allowed)


def is_path(media: object) -> bool:
    """Whether a medium is named by a path, which is to be read before it is sent."""
    return isinstance(media, str) and not media.lower().startswith("data:") and not is_web_url(media)


def wire_media(media: Media | None) -> dict[str, str] | None:
    """A medium as the API takes it."""
    if media is None:
        return None
    return {"url": media} if isinstance(media, str) else dict(media)


def without_query(url: object) -> str:
    """A URL without what may be a signature."""
    return str(url).split("?", 1)[0].split("#", 1)[0]


def validate_seconds(name: str, value: object) -> float:
    """Return an interval or timeout in seconds.

    :param value: seconds, or a timedelta.
    :raises InvalidRequestError: names the argument and the value.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise invalid(name, value, "a number of seconds above 0, or a timedelta")
    return float(seconds)
