"""Parser of poll responses in all known envelopes.

xAI answers ``{status, video, usage, …}``. CometAPI answers the same or wraps it as
``{code, message, data: {task_id, status, fail_reason, progress, data: {…}}}``, where ``fail_reason`` contains the
video's URL on success. A pending job can be ``{}``, a bare ``{"request_id": …}`` or ``data: null``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from airflow_provider_grokvideo.api.text import ERROR_LIMIT, NAME_LIMIT, clean, holds_key, is_video_url, shown_id
from airflow_provider_grokvideo.exceptions import ServerError

State = Literal["pending", "done", "failed", "expired", "moderated"]

TICKS_PER_USD = Decimal(10) ** 10
NO_VIDEO_URL = "no_video_url"
"""``error_code`` of a generation that is done at the API but has no video URL."""

_STATES: Mapping[str, State] = {
    **dict.fromkeys(
        ("pending", "queued", "processing", "in_progress", "running", "submitted", "not_start", "created"),
        "pending",
    ),
    **dict.fromkeys(("done", "completed", "complete", "succeeded", "success"), "done"),
    **dict.fromkeys(("failed", "failure", "error", "cancelled", "canceled"), "failed"),
    "expired": "expired",
    **dict.fromkeys(("moderated", "content_moderated", "content_filtered"), "moderated"),
}
_URL_KEYS = ("url", "video_url", "result_url", "public_url", "output_url", "download_url")
_DEEPEST = 8
"""Maximum number of layers and lists that are searched. No known response is nested deeper."""
_LONGEST_SECONDS = 24 * 3600.0
_MOST_TICKS = 10**16
"""Maximum price: a million US dollars. A higher value, or one that is not a number, is ignored."""
_VIDEO_KEYS = ("video", "output", "result", "videos", "file_output", "data", "unsigned_urls")


@dataclass(frozen=True)
class Generation:
    """One generation as the API last reported it. Its texts are sanitised, see :mod:`.text`.

    :param request_id: the id that the submission returned.
    :param state: ``done`` only with a ``video_url``; an unknown status is ``pending``.
    :param progress: percent, 0 to 100, if the API reports it.
    :param video_url: temporary URL of the finished video.
    :param duration: seconds of video.
    :param model: the model that was used.
    :param cost_usd: ``usage.cost_in_usd_ticks`` in US dollars, on failures too.
    :param error_code: the API's error code, or ``""``.
    :param error_message: the API's reason.
    :param raw_status: the status as in the response, or ``""``.
    """

    request_id: str
    state: State
    progress: int | None = None
    video_url: str | None = None
    duration: float | None = None
    model: str | None = None
    cost_usd: Decimal | None = None
    error_code: str = ""
    error_message: str = ""
    raw_status: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the state cannot change any more."""
        return self.state != "pending"

    @property
    def is_status_unknown(self) -> bool:
        """Whether the API used a status that this package does not know."""
        return bool(self.raw_status) and _normal(self.raw_status) not in _STATES


def read_generation(request_id: str, document: object, key: str = "") -> Generation:
    """Return the generation in the JSON document of a poll.

    :param request_id: the polled id.
    :param document: the parsed body, ``None`` for an empty one.
    :param key: the API key, which is removed from all texts.
    :raises ServerError: the document is not an object.
    """
    request_id = shown_id(request_id, key)
    if document is None:
        return Generation(request_id, "pending")
    if not isinstance(document, Mapping):
        raise ServerError(
            f"it sent a {type(document).__name__}",
            what="The API did not answer with a JSON object",
            request_id=request_id,
        )
    layers = _layers(document)
    statuses = [status for layer in layers if (status := clean(_text(layer.get("status")), key, NAME_LIMIT))]
    states = [_STATES.get(_normal(status)) for status in statuses]
    if states and all(state == "pending" for state in states):
        # Most polls: there is no video, error or price to search for.
        return Generation(
            request_id, "pending", progress=_progress(layers), model=_model(layers, key), raw_status=statuses[0]
        )
    video_url = _video_url(layers)
    if video_url and holds_key(video_url, key):
        video_url = None
    code, message = _error(layers)
    error_code, error_message = clean(code, key, NAME_LIMIT), clean(message, key)
    state = _state(states, video_url, error_code or error_message)
    generation = Generation(
        request_id,
        state,
        progress=_progress(layers),
        video_url=video_url,
        duration=_duration(layers),
        model=_model(layers, key),
        cost_usd=_cost(layers),
        raw_status=statuses[0] if statuses else "",
    )
    if state in {"failed", "expired", "moderated"}:
        generation = replace(generation, video_url=None, error_code=error_code, error_message=error_message)
    return _settle_moderation(generation, layers)


def is_moderation(code: str, message: str) -> bool:
    """Return whether the words of an error mean that content moderation rejected the video."""
    words = f"{code} {message}".lower()
    return "moderat" in words or "content policy" in words or "content_policy" in words


def read_error(document: object, key: str = "") -> tuple[str, str]:
    """Return code and message of ``{error: {code, message}}``, ``{code, error}`` or ``{code, message}``.

    :param key: the API key, which is removed from all texts.
    """
    if not isinstance(document, Mapping):
        return "", ""
    code, message = _error([document])
    message = message or _text(document.get("message")) or _text(document.get("detail"))
    return clean(code or _code(document), key, NAME_LIMIT), clean(message, key, ERROR_LIMIT)


def _state(states: list[State | None], video_url: str | None, error: str) -> State:
    # A gateway also reports an expired generation as FAILURE.
    finals: tuple[State, ...] = ("moderated", "expired", "failed")
    for final in finals:
        if final in states:
            return final
    if video_url and (not states or "done" in states):
        return "done"
    claims_done = "done" in states and "pending" not in states
    return "failed" if claims_done or (error and not states) else "pending"


def _settle_moderation(generation: Generation, layers: list[Mapping[str, Any]]) -> Generation:
    refused = any(media.get("respect_moderation") is False for layer in layers for media in _media(layer))
    if generation.state == "done" and refused:
        return replace(
            generation,
            state="moderated",
            video_url=None,
            error_code=generation.error_code or "content_moderated",
            error_message=generation.error_message or "the generated video was rejected by content moderation",
        )
    if generation.state != "failed":
        return generation
    if refused or is_moderation(generation.error_code, generation.error_message):
        return replace(
            generation,
            state="moderated",
            error_message=generation.error_message or "the generated video was rejected by content moderation",
        )
    if generation.error_code or generation.error_message:
        return generation
    if _STATES.get(_normal(generation.raw_status)) != "done":
        return generation
    return replace(
        generation, error_code=NO_VIDEO_URL, error_message="the API reports it as done and names no usable video URL"
    )


def _layers(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the objects that can describe the generation, innermost first."""
    layers = [document]
    while len(layers) < _DEEPEST:
        task = layers[-1].get("data")
        if not isinstance(task, Mapping) or not ({"task_id", "status", "request_id", "video"} & set(task)):
            break
        layers.append(task)
    return layers[::-1]


def _video_url(layers: list[Mapping[str, Any]]) -> str | None:
    for layer in layers:
        for key in _VIDEO_KEYS:
            if url := _url_in(layer.get(key)):
                return url
    for layer in layers:
        if url := _url_in({key: layer.get(key) for key in _URL_KEYS}):
            return url
    for layer in layers:
        if _STATES.get(_normal(_text(layer.get("status")))) == "done" and is_video_url(layer.get("fail_reason")):
            return str(layer["fail_reason"])
    return None


def _url_in(value: object, depth: int = 0) -> str | None:
    if is_video_url(value):
        return str(value)
    if depth == _DEEPEST:
        return None
    if isinstance(value, list):
        return next((url for item in value[:100] if (url := _url_in(item, depth + 1))), None)
    if isinstance(value, Mapping):
        named = next((str(value[key]) for key in _URL_KEYS if is_video_url(value.get(key))), None)
        stored = value.get("file_output")
        return named or (_url_in(stored, depth + 1) if isinstance(stored, Mapping) else None)
    return None


def _error(layers: list[Mapping[str, Any]]) -> tuple[str, str]:
    for layer in layers:
        error = layer.get("error")
        if isinstance(error, Mapping):
            code, message = _text(error.get("code")), _text(error.get("message"))
            if code or message:
                return code, message
        elif _text(error):
            return _code(layer), _text(error)
    for layer in layers:
        reason = _text(layer.get("fail_reason"))
        if reason and not _is_web_address(reason):
            return _code(layer), reason
    return "", ""


def _code(layer: Mapping[str, Any]) -> str:
    code = _text(layer.get("code"))
    return "" if code.lower() in {"success", "ok", "0", "200"} else code


def _media(layer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return the objects of a layer that can describe its video, the layer itself included."""
    yield layer
    for key in _VIDEO_KEYS:
        value = layer.get(key)
        for media in value if isinstance(value, list) else [value]:
            if isinstance(media, Mapping):
                yield media


def _is_web_address(reason: str) -> bool:
    return reason[:8].lower().startswith(("http://", "https://")) and not any(map(str.isspace, reason))


def _model(layers: list[Mapping[str, Any]], key: str) -> str | None:
    return next((model for layer in layers if (model := clean(_text(layer.get("model")), key, NAME_LIMIT))), None)


def _progress(layers: list[Mapping[str, Any]]) -> int | None:
    for layer in layers:
        number = _number(layer.get("progress"))
        if number is not None:
            return max(0, min(100, int(number)))
    return None


def _duration(layers: list[Mapping[str, Any]]) -> float | None:
    for layer in layers:
        video = layer.get("video")
        in_video = video.get("duration") if isinstance(video, Mapping) else None
        for value in (in_video, layer.get("duration"), layer.get("seconds")):
            number = _number(value)
            if number is not None and 0 <= number <= _LONGEST_SECONDS:
                return int(number) if number == int(number) else number
    return None


def _cost(layers: list[Mapping[str, Any]]) -> Decimal | None:
    for layer in layers:
        usage = layer.get("usage")
        ticks = _number(usage.get("cost_in_usd_ticks")) if isinstance(usage, Mapping) else None
        if ticks is not None and 0 <= ticks <= _MOST_TICKS:
            return Decimal(int(ticks)) / TICKS_PER_USD
    return None


def _number(value: object) -> float | None:
    """Return a finite number, also from ``"30%"``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value.strip().removesuffix("%") if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if type(value) is int and abs(value) < 10**9 else ""


def _normal(status: str) -> str:
    return status.lower().replace("-", "_").replace(" ", "_")
