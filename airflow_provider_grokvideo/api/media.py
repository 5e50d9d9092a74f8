"""Images, videos and audio in a request: URL, data URI, stored file, or path."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from airflow_provider_grokvideo.api.redaction import invalid_field

Media = str | Mapping[str, Any] | os.PathLike[str]
MediaKind = Literal["image", "video", "audio"]

MAX_IMAGE_BYTES = 15 * 1024 * 1024
"""In base64 this is 20 MiB, the largest message of xAI's own clients."""
USE_SMALLER_IMAGE = f"Use an image of up to {MAX_IMAGE_BYTES // 1024**2} MiB."

_ACCEPTED_IMAGES = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp"}
_FTYP_IMAGES = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1"), "HEIC")
_IMAGE_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"<svg", "SVG"),
)
_IMAGE_HEAD = 32
"""Number of bytes that identify the format."""


def image_format(head: bytes) -> str | None:
    """Return the name of an image's format by its first bytes, or ``None``."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _FTYP_IMAGES.get(head[8:12])
    return next((name for start, name in _IMAGE_STARTS if head.startswith(start)), None)


def image_data_uri(content: bytes, *, name: str = "image", given: str = "") -> str:
    """Return the data URI of an image, with the type of its content.

    :raises InvalidRequestError: the content is not a JPEG, PNG or WebP image, or is too large.
    """
    if len(content) > MAX_IMAGE_BYTES:
        raise invalid_field(name, given, USE_SMALLER_IMAGE)
    mime_type = _image_type(name, given, content)
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def _image_type(name: str, given: str, content: bytes) -> str:
    found = image_format(content[:_IMAGE_HEAD])
    if found in _ACCEPTED_IMAGES:
        return _ACCEPTED_IMAGES[found]
    about = f"Its content is {found}." if found else "Its content is not an image in a known format."
    raise invalid_field(name, given, f"{about} Convert it to JPEG, PNG or WebP.")


def is_web_url(value: object) -> bool:
    """Return whether a value is an absolute http(s) URL."""
    if not isinstance(value, str) or any(character.isspace() for character in value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False


def path_text(value: object) -> str | None:
    """Return the text of a path object, or ``None`` for anything else.

    ``ObjectStoragePath`` and other paths of universal_pathlib are not ``os.PathLike`` in all versions; their text
    contains the store and its connection.
    """
    if isinstance(value, str | bytes | Mapping):
        return None
    if isinstance(getattr(value, "protocol", None), str) and hasattr(value, "path"):
        return str(value)
    return os.fsdecode(value) if isinstance(value, os.PathLike) else None


def validate_media(name: str, media: object, what: MediaKind) -> str | Mapping[str, str]:
    """Return the media as text or ``{"file_id": …}``; ``{"url": …}`` as the URL alone, a path object as its text.

    :raises InvalidRequestError: it is not a medium.
    """
    if isinstance(media, Mapping):
        if set(media) == {"url"}:
            name, media = f"{name}.url", media["url"]
        elif what != "audio" and set(media) == {"file_id"} and _is_text(media["file_id"]):
            return {"file_id": media["file_id"]}
        else:
            raise invalid_field(name, media, "Use {'url': …} or {'file_id': …}.")
    media = path_text(media) or media
    advice = (
        "Use an http(s) URL, a base64 data URI or a path of the image."
        if what == "image"
        else f"Use an http(s) URL or a base64 data URI of the {what}, not a path: the API fetches it itself."
    )
    if not isinstance(media, str) or not media.strip():
        raise invalid_field(name, media, advice)
    if media.lower().startswith("data:"):
        _check_data_uri(name, media, what)
    elif not is_web_url(media) and (what != "image" or media.lower().startswith(("http:", "https:"))):
        raise invalid_field(name, media, advice)
    return media


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check_data_uri(name: str, uri: str, what: MediaKind) -> None:
    head, comma, content = uri.partition(",")
    advice = f"Use data:{what}/…;base64,<base64 of the {what}>."
    if not comma or not head.lower().startswith(f"data:{what}/") or not head.lower().endswith(";base64"):
        raise invalid_field(name, uri, advice)
    if what == "image" and len(content) > MAX_IMAGE_BYTES * 4 // 3 + 4:
        raise invalid_field(name, uri, USE_SMALLER_IMAGE)
    try:
        decoded = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise invalid_field(name, uri, advice) from None
    if not decoded:
        raise invalid_field(name, uri, advice)
    if what == "image":
        _image_type(name, uri, decoded)


def is_path(media: object) -> bool:
    """Return whether a medium is a path, whose content must be read before the submission."""
    return isinstance(media, str) and not media.lower().startswith("data:") and not is_web_url(media)


def media_to_json(media: object) -> dict[str, Any] | None:
    """Return a validated medium in the form of the API."""
    if media is None:
        return None
    return dict(media) if isinstance(media, Mapping) else {"url": str(media)}


def without_query(url: object) -> str:
    """Return a URL without query and fragment, which can contain a signature."""
    return str(url).split("?", 1)[0].split("#", 1)[0]
