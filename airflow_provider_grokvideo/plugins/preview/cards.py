"""Decide what the cards of task instances show. The functions are pure.

Users and the API can write most of the values, so each one is checked before a page gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from airflow_provider_grokvideo.api.text import clean, is_video_url, shown_id
from airflow_provider_grokvideo.plugins.preview.access import AccessDenied, Location, authorize_playback
from airflow_provider_grokvideo.plugins.preview.records import TaskRecord, text_or_none

T = TypeVar("T")

_MAX_NUMBER = 2**53
"""The largest integer that a browser represents exactly."""
_MAX_TEXT = 10_000
_MAX_AMOUNT_TEXT = 400
_PICO_USD = Decimal(10) ** -12
_DYNAMIC_PROMPT = "DYNAMIC (set during execution)"
"""Airflow stores this as the prompt of a decorated task until its function has returned the prompt."""
_STATES = {"failed": "failed", "up_for_retry": "retrying"}


def build_cards(records: Sequence[TaskRecord], roots: Sequence[Location]) -> list[dict[str, Any]]:
    """Return the cards of a run: one for each generation, and for each task that has none.

    A sensor shares the card of the task that submitted its generation.

    :param records: in the order of the cards.
    :param roots: directories whose files may all be played.
    """
    groups: dict[Any, list[TaskRecord]] = {}
    for record in records:
        # An edited XCom may give two submissions one id.
        is_first = record.is_sensor or all(other.is_sensor for other in groups.get(record.request_id, ()))
        key = record.request_id if record.request_id and is_first else (record.task_id, record.map_index)
        groups.setdefault(key, []).append(record)
    return [_build_shared_card(group, roots) for group in groups.values()]


def build_card(record: TaskRecord, roots: Sequence[Location], submitter: TaskRecord | None = None) -> dict[str, Any]:
    """Return the content of a card as JSON primitives.

    :param roots: directories whose files may all be played.
    :param submitter: the task that submitted the generation of a sensor.
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
    fields = {**record.fields, **(_request_fields(submitter) if submitter else {})}
    submitted = (submitter and submitter.result) or {}
    prompt = fields.get("prompt")
    return {
        **_task(record),
        "tasks": [_task(task) for task in (submitter, record) if task],
        "airflow_state": record.state,
        "state": state,
        "prompt": None if prompt == _DYNAMIC_PROMPT else _page_text(prompt),
        "model": _first(
            _page_text, result.get("model"), record.outcome.get("model"), submitted.get("model"), fields.get("model")
        ),
        "duration": _first(_number, result.get("duration"), fields.get("duration")),
        "cost_usd": _dollars(result.get("cost_usd")) or _dollars(record.outcome.get("cost_usd")),
        "size_bytes": _number(result.get("size_bytes")),
        "elapsed_seconds": _number(result.get("elapsed_seconds")),
        "request_id": record.request_id and shown_id(record.request_id),
        "path": _page_text(result.get("path")),
        "video": video,
        "note": note,
    }


def display_state(record: TaskRecord) -> str:
    """Return the state of the video, as far as Airflow knows it.

    ``waiting, submitting, rendering, submitted, done, failed, moderated, expired, retrying`` or ``skipped``.
    """
    if record.state == "success":
        return "submitted" if record.result and record.result.get("status") == "pending" else "done"
    if record.is_under_way:
        return "rendering" if record.request_id else "submitting"
    if record.state in {None, "scheduled", "queued", "restarting"}:
        return "waiting"
    status = record.outcome.get("status")
    if record.state == "failed" and status in ("moderated", "expired"):
        return str(status)
    return _STATES.get(record.state or "", "skipped")


def polled_state(record: TaskRecord, api_state: str) -> tuple[str, str | None]:
    """Return the state of the video with what the API says, and advice if the task stopped before its generation.

    :param api_state: the state of the generation, or ``unknown``.
    :return: the states of ``display_state``, ``saving`` or ``late``; the latter is done, and no task has saved it.
    """
    state = display_state(record)
    is_unsuccessful = api_state in {"failed", "moderated", "expired"}
    if state == "rendering" and api_state == "done":
        return "saving", None
    if state in {"rendering", "submitted", "failed"} and is_unsuccessful:
        return api_state, None
    # A task that has recorded how its generation ended has not stopped before it.
    if state not in {"failed", "retrying"} or record.outcome or api_state not in {"done", "pending"}:
        return state, None
    return ("late" if state == "failed" and api_state == "done" else state), _advice(record, api_state)


def _advice(record: TaskRecord, api_state: str) -> str:
    """Return what a user can do about a generation whose task stopped before it had the video."""
    if record.state == "up_for_retry":
        return "The next attempt resumes this generation and does not pay again."
    fact = "The video is finished at the API." if api_state == "done" else "The generation continues at the API."
    if record.is_sensor:
        return f"{fact} To get it, clear this task. A sensor costs nothing."
    return (
        f"{fact} It is billed. To get it without paying again, clear this task and leave its request unchanged, or "
        "wait for it with a GrokVideoSensor."
    )


def _build_shared_card(records: Sequence[TaskRecord], roots: Sequence[Location]) -> dict[str, Any]:
    if len(records) == 1:
        return build_card(records[0], roots)
    submitter = next((record for record in records if not record.is_sensor), None)
    sensors = [record for record in records if record.is_sensor]
    shown = max(sensors, key=_priority)
    if submitter is None:
        return build_card(shown, roots)
    # The submitting task may have waited and saved the video itself.
    if _priority(submitter) > _priority(shown):
        card = build_card(submitter, roots)
        return {**card, "tasks": [*card["tasks"], *map(_task, sensors)]}
    return {**build_card(shown, roots, submitter), "tasks": [_task(record) for record in (submitter, *sensors)]}


def _priority(record: TaskRecord) -> tuple[int, bool]:
    """Return how much a record says about a generation that several tasks share: most of all, where its video is."""
    state = display_state(record)
    order = ["skipped", "submitted", "failed", "retrying", "rendering", "done"]
    return order.index("failed" if state in {"moderated", "expired"} else state), bool(
        (record.result or {}).get("path")
    )


def _task(record: TaskRecord) -> dict[str, Any]:
    return {
        "task_id": record.task_id,
        "map_index": record.map_index,
        "label": _page_text(record.label),
        "try_number": record.try_number,
    }


def _request_fields(record: TaskRecord) -> dict[str, Any]:
    return {name: record.fields[name] for name in ("prompt", "model", "duration") if name in record.fields}


def _first(convert: Callable[[Any], T | None], *values: Any) -> T | None:
    """Return the first value that can be shown."""
    return next(filter(None, map(convert, values)), None)


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
