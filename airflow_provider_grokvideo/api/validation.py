"""Checks of a request's fields. Each returns the value to send, or raises ``InvalidRequestError``. No I/O."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from itertools import islice
from numbers import Number
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_grokvideo.api.media import is_web_url, path_text, validate_media, without_query
from airflow_provider_grokvideo.api.models import (
    ASPECT_RATIOS,
    DEFAULT_MODEL,
    DURATIONS,
    MAX_KEYFRAMES,
    MAX_REFERENCE_AUDIOS,
    MAX_REFERENCE_IMAGES,
    MODELS,
    STORED_SECONDS,
    Kind,
    Model,
    find_model,
)
from airflow_provider_grokvideo.api.redaction import invalid_field

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.request import VideoRequest

T = TypeVar("T")

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "duration": ("seconds",),
    "image": ("image_url", "image_file_id", "input_reference"),
    "last_frame": ("last_frame_url", "last_frame_file_id"),
    "reference_images": ("reference_image_urls", "reference_image_file_ids"),
    "upload_url": ("output",),
    "video": ("video_url", "video_file_id"),
}
"""Other names of fields in the API or in xAI's clients."""
_FULL_MODEL = "grok-imagine-video-1.5"
_NUMBER = re.compile(r"\d{1,40}(\.\d{0,40})?|\.\d{1,40}")


# --- one value --------------------------------------------------------------------------------------


def validate_text(name: str, value: object) -> None:
    """Check that a value is ``None`` or a text."""
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise invalid_field(name, value, "Use a text that is not empty, or leave it out.")


def validate_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check that a value is ``None`` or one of the allowed texts."""
    if value is not None and not (isinstance(value, str) and value in allowed):
        raise invalid_field(name, value, f"Use one of {', '.join(allowed)}.")


def validate_flag(name: str, value: object) -> bool | None:
    """Return a boolean, also from the text ``true`` or ``false``, which a template renders."""
    word = value.strip().lower() if isinstance(value, str) else value
    flag = {"true": True, "false": False}.get(word) if isinstance(word, str) else word
    if flag is None and value is None:
        return None
    if not isinstance(flag, bool):
        raise invalid_field(name, value, "Use True or False.")
    return flag


def to_number(value: object) -> Decimal | None:
    """Return a finite number of any numeric type, or from a text, as a decimal; ``None`` for other values."""
    if isinstance(value, str):
        value = value.strip()
        return Decimal(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, Number) or isinstance(value, complex):
        return None
    try:
        number = value if isinstance(value, Decimal) else Decimal(repr(float(value)))  # type: ignore[arg-type]
    except (InvalidOperation, ValueError, TypeError, OverflowError):
        return None
    return number if number.is_finite() else None


def validate_whole(name: str, value: object, shortest: int, longest: int) -> int:
    """Return a whole number within limits, given as any type of number or as text."""
    number = to_number(value)
    if number is None or not shortest <= number <= longest or number != int(number):
        raise invalid_field(name, value, f"Use whole seconds from {shortest} to {longest}.")
    return int(number)


def validate_seconds(name: str, value: object) -> float:
    """Return an interval or timeout in seconds, given as a number or as a ``timedelta``.

    :raises InvalidRequestError: it is not above 0; names the argument and the value.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    seconds = None if isinstance(number, str) else to_number(number)
    if seconds is None or seconds <= 0:
        raise invalid_field(name, value, "Use a number of seconds above 0, or a timedelta.")
    return float(seconds)


def validate_list(name: str, value: object, longest: int, what: str, item: Callable[[str, Any], T]) -> tuple[T, ...]:
    """Return the checked items of any list-like value: list, tuple, lazy XCom sequence, generator.

    The order has a meaning, so a set is refused.

    :param item: checks one item, from its name and value.
    """
    advice = f"Use a list of up to {longest} {what}."
    unordered = isinstance(value, str | bytes | bytearray | Mapping | Set) or path_text(value) is not None
    if unordered or not isinstance(value, Iterable):
        raise invalid_field(name, value, advice)
    items = tuple(islice(value, longest + 1))
    if len(items) > longest:
        raise invalid_field(name, value if isinstance(value, list | tuple) else items, advice)
    return tuple(item(f"{name}[{index}]", one) for index, one in enumerate(items))


# --- fields -----------------------------------------------------------------------------------------


def validate_duration(kind: Kind, value: object) -> int | None:
    """Return the duration to request; the default if none is given."""
    if kind == "edit":
        if value is not None:
            raise invalid_field("duration", value, "Leave it out: an edit keeps the duration of its video.")
        return None
    limits = DURATIONS[kind]
    return limits.default if value is None else validate_whole("duration", value, limits.shortest, limits.longest)


def validate_image(name: str, value: object) -> str | Mapping[str, str]:
    """Return an image."""
    return validate_media(name, value, "image")


def validate_images(value: object) -> tuple[str | Mapping[str, str], ...]:
    """Return the reference images."""
    return validate_list("reference_images", value, MAX_REFERENCE_IMAGES, "images", validate_image)


def validate_keyframes(value: object, duration: int) -> tuple[dict[str, Any], ...]:
    """Return the keyframes, each ``{"image": …, "timestamp_s": seconds}``.

    :param duration: of the video; a keyframe must be between its start and end.
    """
    form = "{'image': …, 'timestamp_s': seconds}"

    def keyframe(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or set(value) != {"image", "timestamp_s"}:
            raise invalid_field(name, value, f"Use {form}.")
        at = to_number(value["timestamp_s"])
        if at is None or not 0 < at < duration:
            raise invalid_field(
                f"{name}.timestamp_s",
                value["timestamp_s"],
                f"Use seconds above 0 and below the duration of {duration}. For both ends, use image and last_frame.",
            )
        return {"image": validate_image(f"{name}.image", value["image"]), "timestamp_s": float(at)}

    return validate_list("keyframes", value, MAX_KEYFRAMES, f"keyframes {form}", keyframe)


def validate_audios(value: object) -> tuple[dict[str, str], ...]:
    """Return the reference audios, each ``{"voice_id": …}`` or ``{"url": …}``."""
    form = "{'voice_id': …} or {'url': …}"

    def audio(name: str, value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping) or set(value) not in ({"voice_id"}, {"url"}):
            raise invalid_field(name, value, f"Use {form}.")
        if "url" in value:
            return {"url": str(validate_media(name, value, "audio"))}
        if not isinstance(value["voice_id"], str) or not value["voice_id"].strip():
            raise invalid_field(f"{name}.voice_id", value["voice_id"], "Use a text that is not empty.")
        return {"voice_id": value["voice_id"]}

    return validate_list("reference_audios", value, MAX_REFERENCE_AUDIOS, f"audios {form}", audio)


def validate_storage_options(value: object) -> dict[str, Any] | None:
    """Return how xAI stores the finished video: ``{"filename", "expires_after", "public_url"}``, each optional."""
    known = ("filename", "expires_after", "public_url")
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        raise invalid_field("storage_options", value, f"Use a mapping of {', '.join(known)}.")
    checked: dict[str, Any] = {}
    if value.get("filename") is not None:
        validate_text("storage_options['filename']", value["filename"])
        checked["filename"] = value["filename"]
    if value.get("expires_after") is not None:
        checked["expires_after"] = _lifetime("storage_options['expires_after']", value["expires_after"])
    public = value.get("public_url")
    if isinstance(public, Mapping):
        if not set(public) <= {"expires_after"}:
            raise invalid_field(
                "storage_options['public_url']", public, "Use True, False or {'expires_after': seconds}."
            )
        name = "storage_options['public_url']['expires_after']"
        given = public.get("expires_after")
        checked["public_url"] = {} if given is None else {"expires_after": _lifetime(name, given)}
    elif public is not None:
        checked["public_url"] = validate_flag("storage_options['public_url']", public)
    return checked or None


def _lifetime(name: str, value: object) -> int:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return validate_whole(name, seconds, *STORED_SECONDS)


def validate_upload_url(value: object) -> None:
    """Check that a value is ``None`` or an http(s) URL."""
    if value is not None and not is_web_url(value):
        raise invalid_field("upload_url", without_query(value), "Use an http(s) URL that is signed for PUT.")


def validate_extra(extra: object, fields: Iterable[str]) -> dict[str, Any] | None:
    """Return the further fields of a request.

    :param fields: names of the request's own fields, which ``extra`` cannot override, not even by another name.
    """
    if extra is None:
        return None
    if not isinstance(extra, Mapping) or not all(isinstance(key, str) for key in extra):
        raise invalid_field("extra", extra, "Use a mapping of further fields of the request.")
    names = {_plain(name): name for name in fields}
    names |= {_plain(alias): name for name, aliases in _ALIASES.items() for alias in aliases}
    for key in extra:
        field = names.get(_plain(key))
        if field is not None:
            raise invalid_field(
                f"extra[{key!r}]", extra[key], f"Use {field}: extra takes only fields without an argument of their own."
            )
    try:
        json.dumps(dict(extra), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid_field("extra", extra, f"Use values that JSON can hold ({error}).") from None
    if "size" in extra:
        warnings.warn("The API deprecates size; use aspect_ratio and resolution instead.", FutureWarning, stacklevel=4)
    return dict(extra) or None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


# --- what one model or address offers ---------------------------------------------------------------


def validate_for_model(request: VideoRequest, *, xai: bool) -> None:
    """Check that the model and the API offer what a request needs, as far as that is known.

    :param request: a request with a model.
    :param xai: whether the address is xAI's own API rather than CometAPI's.
    :raises InvalidRequestError: the message contains the field, the value, the limit, and what to use instead.
    """
    name = request.model_name
    model = find_model(name)
    if model is not None:
        _validate_known(request, model, name)
    if not xai:
        _validate_for_cometapi(request)


def _validate_known(request: VideoRequest, model: Model, name: str) -> None:
    if request.kind not in model.kinds:
        raise invalid_field("model", name, f"Use {DEFAULT_MODEL}: no other model offers an {request.kind}.")
    if request.kind != "generation":
        return
    if request.resolution is not None and request.resolution not in model.resolutions:
        others = ", ".join(one.name for one in MODELS.values() if request.resolution in one.resolutions)
        advice = (
            f"Use {' or '.join(model.resolutions)} on {name}, or a model that makes {request.resolution}: {others}."
        )
        raise invalid_field("resolution", request.resolution, advice)
    for field in ("last_frame", "keyframes"):
        if getattr(request, field) and not model.frames:
            raise invalid_field(field, getattr(request, field), _needs_full_model(name))
    if request.reference_images:
        _validate_references(request, model, name)


def _needs_full_model(name: str) -> str:
    return f"{name} does not take it. Use {_FULL_MODEL}, or leave it out."


def _validate_references(request: VideoRequest, model: Model, name: str) -> None:
    references = request.reference_images
    if not model.reference_images:
        raise invalid_field("reference_images", references, _needs_full_model(name))
    if request.image is not None and not model.image_with_references:
        raise invalid_field(
            "reference_images",
            references,
            f"{name} does not take it beside image. Use {_FULL_MODEL}, or leave out one of the two.",
        )
    if request.resolution is not None and request.resolution not in model.reference_resolutions:
        advice = f"Use {' or '.join(model.reference_resolutions)} with reference_images."
        raise invalid_field("resolution", request.resolution, advice)
    if int(request.duration or 0) > model.reference_seconds:
        raise invalid_field(
            "duration", request.duration, f"Use 1 to {model.reference_seconds} seconds with reference_images on {name}."
        )


def _validate_for_cometapi(request: VideoRequest) -> None:
    if request.aspect_ratio is not None and request.aspect_ratio not in ASPECT_RATIOS:
        advice = f"Use one of {', '.join(ASPECT_RATIOS)} on CometAPI: only xAI has more."
        raise invalid_field("aspect_ratio", request.aspect_ratio, advice)
    if request.prompt is None:
        raise invalid_field("prompt", None, "Use a text that is not empty: only xAI animates an image without one.")
    for name, media in {**request.images, "video": request.video}.items():
        if isinstance(media, Mapping):
            raise invalid_field(name, media, "Use a URL or data URI on CometAPI: only xAI stores files.")
