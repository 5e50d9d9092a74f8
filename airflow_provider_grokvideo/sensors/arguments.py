"""Checks of the sensor's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_provider_grokvideo.api.redaction import invalid_field
from airflow_provider_grokvideo.api.validation import validate_seconds

POLL_INTERVAL = 5.0
"""Seconds between two polls if neither ``poll_interval`` nor ``poke_interval`` is given."""


def checked_id(given: object) -> str:
    """Return an id without the white space around it.

    :raises InvalidRequestError: the value is not an id.
    """
    if isinstance(given, str) and given.strip() and given.strip() != "None":
        return given.strip()
    if isinstance(given, Mapping) and "request_id" in given:
        raise invalid_field("request_id", given, "This is the whole result. Use its key request_id.")
    advice = (
        'Use the id of a generation, or the XCom "request_id" of the task that submits, e.g. '
        '{{ ti.xcom_pull(task_ids="submit", key="request_id") }}.'
    )
    if given is None or isinstance(given, str):
        advice = f"It is empty, so the XCom that it comes from was not found. {advice}"
    raise invalid_field("request_id", given, advice)


def intervals(poll: float | timedelta | None, kwargs: dict[str, Any]) -> tuple[float, float]:
    """Return ``poll_interval`` and ``poke_interval`` in seconds. One of them sets both; the default is 5.

    :param poll: ``poll_interval``, from the sensor or from ``default_args``, which Airflow does not distinguish.
    :param kwargs: the sensor's other arguments; ``poke_interval`` is removed.
    """
    defaults = kwargs.get("default_args") or {}
    poke = kwargs.pop("poke_interval", None)
    if poll is not None and poll == defaults.get("poll_interval"):
        poll = None
    polls = [("poll_interval", poll), ("poke_interval", poke)]
    by_default = [(name, defaults.get(name)) for name in ("poll_interval", "poke_interval")]
    poll_seconds = _first_given([*polls, *by_default])
    return poll_seconds, _first_given([*reversed(polls), *reversed(by_default)])


def _first_given(candidates: list[tuple[str, Any]]) -> float:
    seconds = [validate_seconds(name, value) for name, value in candidates if value is not None]
    return seconds[0] if seconds else POLL_INTERVAL
