"""Decide what the card of a task instance shows. The functions are pure.

Users and the API can write most of the values, so each one is checked before a page gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_grokvideo.api.text import clean, is_video_url, shown_id
from airflow_provider_grokvideo.plugins.preview.access import AccessDenied, Location, authorize_playback
from airflow_provider_grokvideo.plugins.preview.records import TaskRecord, text_or_none

_MAX_NUMBER = 2**53
"""The largest integer that a browser represents exactly."""
_MAX_TEXT = 10_000
_MAX_AMOUNT_TEXT = 400
_PICO_USD = Decimal(10) ** -12
_DYNAMIC_PROMPT = "DYNAMIC (set during execution)"
"""Airflow stores this as the prompt of a decorated task, because the function returns the prompt at run time."""
_UNFINISHED_STATES = {None, "scheduled", "queued", "running", "restarting", "deferred", "up_for_reschedule"}
_STATES = {"failed": "failed", "up_for_retry": "retrying"}


def build_card(record: TaskRecord, roots: Sequence[Location]) -> dict[str, Any]:
    """Return the content of a card as JSON primitives.

    :param roots: directories whose files may all be played.
    """
    result = record.result or {}
    state = display_state(record)
    video, note = None, clean(text_or_none(record.outcome.get("error_message")) or "") or None
    if isinstance(result.get("path"), str):
        try:
            authorize_playback(record, roots)
            video = {"kind": "saved"}
        except AccessDenied as denied:
            note = f"Not shown: {denied}."
    elif state == "done" and is_video_url(result.get("video_url")):
        video = {"kind": "remote", "url": result["video_url"]}
    prompt = record.fields.get("prompt")
    return {
        "task_id": record.task_id,
        "map_index": record.map_index,
        "label": _page_text(record.label),
        "airflow_state": record.state,
        "try_number": record.try_number,
        "state": state,
        "prompt": None if prompt == _DYNAMIC_PROMPT else _page_text(prompt),
        "model": _page_text(result.get("model")) or _page_text(record.fields.get("model")),
        "duration": _number(result.get("duration")) or _number(record.fields.get("duration")),
        "cost_usd": _dollars(result.get("cost_usd")) or _dollars(record.outcome.get("cost_usd")),
        "size_bytes": _number(result.get("size_bytes")),
        "elapsed_seconds": _number(result.get("elapsed_seconds")),
        "request_id": record.request_id and shown_id(record.request_id),
        "path": _page_text(result.get("path")),
        "video": video,
        "note": note,
    }


def display_state(record: TaskRecord) -> str:
    """Return the state of the video.

    ``waiting, submitting, rendering, submitted, done, failed, moderated, expired, retrying`` or ``skipped``.
    """
    if record.state == "success":
        return "submitted" if record.result and record.result.get("status") == "pending" else "done"
    if record.state in _UNFINISHED_STATES:
        if record.request_id:
            return "rendering"
        return "submitting" if record.state in {"running", "deferred"} else "waiting"
    status = record.outcome.get("status")
    if record.state == "failed" and status in ("moderated", "expired"):
        return str(status)
    return _STATES.get(record.state or "", "skipped")


def _page_text(value: Any) -> str | None:
    """Return a text of limited length that can be encoded: a user's text may contain lone surrogates."""
    text = text_or_none(value)
    return text and text[:_MAX_TEXT].encode(errors="replace").decode()


def _number(value: Any) -> int | float | None:
    """Return a number that JSON and a browser can represent."""
    if isinstance(value, str) and len(value) < 16 and value.isascii() and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -_MAX_NUMBER <= value <= _MAX_NUMBER else None


def _dollars(value: Any) -> str | None:
    """Return an amount of US dollars as a decimal text without an exponent, rounded to the picodollar."""
    try:
        amount = Decimal(value) if isinstance(value, str) and len(value) < _MAX_AMOUNT_TEXT else Decimal("NaN")
        return format(amount.quantize(_PICO_USD).normalize(), "f") if 0 <= amount < _MAX_NUMBER else None
    except InvalidOperation:
        return None
