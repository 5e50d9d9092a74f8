"""Events of triggers: from a wait to its event, and from the event to a generation or an error."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.protocol import unknown_generation
from airflow_provider_grokvideo.api.text import shown_id
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationNotFoundError,
    GenerationTimeoutError,
    GrokVideoError,
    RequestRejectedError,
    sentence,
)
from airflow_provider_grokvideo.utils import metrics

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.api.polling import Stop
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

log = logging.getLogger(__name__)

STATUSES = ("done", "failed", "expired", "moderated", "timeout", "error")
"""Values of ``status`` in the one event of a trigger."""

_ERRORS: Mapping[str, type[GrokVideoError]] = {
    kind.__name__: kind for kind in (AuthenticationError, GenerationNotFoundError, RequestRejectedError)
}


def to_event(stop: Stop, request_id: str, generation: Generation | None, polls: int) -> dict[str, Any]:
    """Return the one event of a trigger: JSON primitives without secrets.

    It has no ``video_url``: Airflow writes events into the task's log, and whoever has the URL has the video.
    """
    event: dict[str, Any] = {"status": stop.outcome, "request_id": shown_id(request_id), "polls": polls}
    if stop.error is not None:
        event |= {"error_type": type(stop.error).__name__, "error_message": str(stop.error)}
    if generation is not None:
        event |= {"raw_status": generation.raw_status, "progress": generation.progress}
        if stop.outcome == "final":
            cost = generation.cost_usd
            event |= {
                "status": generation.state,
                "duration": generation.duration,
                "model": generation.model,
                "cost_usd": None if cost is None else format(cost, "f"),
                "error_code": generation.error_code,
                "error_message": generation.error_message,
            }
    return event


def from_event(event: Mapping[str, Any], *, timeout: float, conn_id: str) -> Generation:
    """Return the final generation that an event reports, without its URL.

    :param timeout: seconds that the wait was allowed, for the message.
    :param conn_id: the Airflow connection, for the message.
    :raises GrokVideoError: the event reports a timeout or an error, or is not from a trigger of this package.
    """
    status = event.get("status")
    request_id = event.get("request_id")
    if status not in STATUSES or not isinstance(request_id, str):
        raise GrokVideoError(f"The trigger sent an event that this package does not know: {dict(event)!r}.")
    if status == "timeout":
        raise timeout_error(request_id, timeout, event.get("raw_status"), event.get("progress"))
    if status == "error":
        raise _wait_error(request_id, str(event.get("error_type")), event.get("error_message"), conn_id)
    cost = event.get("cost_usd")
    return Generation(
        request_id,
        status,
        duration=event.get("duration"),
        model=event.get("model"),
        cost_usd=None if cost is None else Decimal(cost),
        error_code=event.get("error_code") or "",
        error_message=event.get("error_message") or "",
    )


def generation_from_event(hook: GrokVideoHook, event: Mapping[str, Any], timeout: float) -> Generation:
    """Return the final generation that a trigger's event reports, with its current URL.

    After a timeout or an error the generation is polled once more, so that a finished video is never reported as a
    failure.

    :param timeout: seconds that the wait was allowed, for the message.
    :raises GrokVideoError: the event reports a timeout or an error, and the generation is not final.
    """
    metrics.polled(event.get("polls") or 0)
    try:
        generation = from_event(event, timeout=timeout, conn_id=hook.grokvideo_conn_id)
    except GrokVideoError:
        latest = _poll_final(hook, event.get("request_id"))
        if latest is None:
            raise
        log.info(
            "The wait ended with %r, and the API now reports the generation as %s", event.get("status"), latest.state
        )
        return latest
    return hook.get_finished(generation.request_id) if generation.state == "done" else generation


def is_stale_event(context: Context, try_number: int | None) -> bool:
    """Return whether an event is of an earlier attempt: Airflow 3.0 delivers it to a retry (apache/airflow#56704).

    :param try_number: of the attempt that deferred, ``None`` if it is not known.
    """
    is_stale = try_number is not None and try_number != context["ti"].try_number
    if is_stale:
        log.info("The trigger's event is of attempt %s and is ignored", try_number)
    return is_stale


def stop_error(
    stop: Stop, request_id: str, generation: Generation | None, *, timeout: float, conn_id: str
) -> GrokVideoError:
    """Return the error of a wait that ended without a final generation.

    :param generation: as of the last successful poll.
    :param timeout: seconds that the wait was allowed, for the message.
    :param conn_id: the Airflow connection, for the message.
    """
    request_id = shown_id(request_id)
    if stop.error is not None:
        return _wait_error(request_id, type(stop.error).__name__, stop.error, conn_id)
    raw_status, progress = (generation.raw_status, generation.progress) if generation else (None, None)
    return timeout_error(request_id, timeout, raw_status, progress)


def timeout_error(
    request_id: str, timeout: float, raw_status: str | None, progress: int | None
) -> GenerationTimeoutError:
    """Return the error of a wait that reached its timeout before the generation was final."""
    known = [raw_status or "", "" if progress is None else f"{progress} %"]
    last = ", ".join(filter(None, known))
    status = f"last status: {last}" if last else "no status received yet"
    return GenerationTimeoutError(
        f"Generation {request_id} is not done after {timeout:g} s ({status}). It continues and is billed. A retry "
        "waits for it again and does not pay again.",
        request_id=request_id,
    )


def _wait_error(request_id: str, error_type: str, message: object, conn_id: str) -> GrokVideoError:
    kind = _ERRORS.get(error_type, GrokVideoError)
    if kind is GenerationNotFoundError:
        return kind(unknown_generation(request_id, f"connection {conn_id!r}"))
    text = sentence(str(message))
    if not request_id.strip():
        return kind(text)
    about = "" if request_id in text else f" for generation {request_id}"
    return kind(f"The wait{about} ended. {text} The generation is billed, and the next attempt resumes it.")


def _poll_final(hook: GrokVideoHook, request_id: object) -> Generation | None:
    """Return the generation if it is final now."""
    if not isinstance(request_id, str):
        return None
    try:
        generation = hook.get_generation(request_id)
    except GrokVideoError as error:
        log.info("Generation %s could not be polled once more: %s", request_id, error)
        return None
    return generation if generation.is_final else None
