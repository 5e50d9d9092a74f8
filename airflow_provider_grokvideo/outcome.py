"""How a wait ended: as a trigger's event, as an error of a task, or as its result. Operators and sensor share it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationError,
    GenerationExpiredError,
    GenerationFailedError,
    GenerationModeratedError,
    GenerationNotFoundError,
    GenerationTimeoutError,
    GrokVideoError,
    RequestRejectedError,
    is_final_failure,
)

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.api.polling import Stop
    from airflow_provider_grokvideo.storage import Landed

STATUSES = ("done", "failed", "expired", "moderated", "timeout", "error")
"""What the one event of a trigger may say."""

_ENDINGS: Mapping[str, type[GenerationError]] = {
    "failed": GenerationFailedError,
    "expired": GenerationExpiredError,
    "moderated": GenerationModeratedError,
}
_ERRORS: Mapping[str, type[GrokVideoError]] = {
    kind.__name__: kind for kind in (AuthenticationError, GenerationNotFoundError, RequestRejectedError)
}


def to_event(stop: Stop, request_id: str, generation: Generation | None, polls: int) -> dict[str, Any]:
    """The one event of a trigger: JSON primitives, no secrets.

    The video's URL is one: whoever has it has the video, and Airflow writes events into the task's log.
    """
    from airflow_provider_grokvideo.api.text import shown_id

    event: dict[str, Any] = {"status": stop.outcome, "request_id": shown_id(request_id), "polls": polls}
    if stop.error is not None:
        event |= {"error_type": type(stop.error).__name__, "error_message": str(stop.error)}
    if generation is not None:
        event |= {"raw_status": generation.raw_status, "progress": generation.progress}
        if stop.outcome == "final":
            event |= {
                "status": generation.state,
                "duration": generation.duration,
                "model": generation.model,
                "cost_usd": _cost(generation),
                "error_code": generation.error_code,
                "error_message": generation.error_message,
            }
    return event


def from_event(event: Mapping[str, Any], timeout: float) -> Generation:
    """The final generation that an event reports; where it is done, still without its URL.

    :param timeout: seconds that the wait was allowed, for the message.
    :raises GrokVideoError: what the event reports instead.
    """
    from airflow_provider_grokvideo.api.generation import Generation

    status = event.get("status")
    request_id = event.get("request_id")
    if status not in STATUSES or not isinstance(request_id, str):
        raise GrokVideoError(f"the trigger sent an event that is none of its own: {dict(event)!r}")
    if status == "timeout":
        raise timeout_error(request_id, timeout, event.get("raw_status"), event.get("progress"))
    if status == "error":
        message = f"waiting for {request_id} ended: {event.get('error_message')}"
        raise _ERRORS.get(str(event.get("error_type")), GrokVideoError)(message)
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


def timeout_error(
    request_id: str, timeout: float, raw_status: str | None, progress: int | None
) -> GenerationTimeoutError:
    """The error of a wait that ended before its generation did."""
    last = f"{raw_status or 'nothing'}{'' if progress is None else f', {progress} %'}"
    return GenerationTimeoutError(
        f"{request_id} is not done after {timeout:g} s (the API last said: {last}). It goes on and is billed; "
        "a retry waits for it again and does not pay again",
        request_id=request_id,
    )


def ending_error(generation: Generation) -> GenerationError:
    """The error of a generation that ended without a video."""
    cost = _cost(generation)
    reason = generation.error_message or "the API gives no reason"
    if generation.state == "moderated":
        advice = "The same prompt will be rejected again: change it and clear the task"
    elif generation.state == "failed" and is_final_failure(generation.error_code):
        advice = "The same request will fail again: change it and clear the task"
    else:
        advice = "A retry checks once more; if the generation has still failed, it submits and pays for a new one"
    return _ENDINGS[generation.state](
        f"generation {generation.request_id} {_WORDS[generation.state]}: {reason}"
        f"{f' (code {generation.error_code})' if generation.error_code else ''}"
        f"{f'; it cost {cost} USD' if cost is not None else ''}. {advice}",
        request_id=generation.request_id,
        code=generation.error_code,
        cost_usd=cost,
    )


def failure_summary(generation: Generation) -> dict[str, Any]:
    """What is to be known of a generation that ended without a video: the XCom ``outcome``."""
    return {
        "request_id": generation.request_id,
        "status": generation.state,
        "model": generation.model,
        "cost_usd": _cost(generation),
        "error_code": generation.error_code,
        "error_message": generation.error_message,
    }


def to_result(generation: Generation, landed: Landed | None, *, model: str, elapsed_seconds: float) -> dict[str, Any]:
    """The small JSON object that a task returns; never the video itself.

    :param landed: ``None`` where nothing was landed.
    :param model: the model that was asked for, where the API does not say.
    """
    return {
        "request_id": generation.request_id,
        "status": generation.state,
        "model": generation.model or model,
        "video_url": generation.video_url,
        "duration": generation.duration,
        "cost_usd": _cost(generation),
        "path": landed.path if landed else None,
        "size_bytes": landed.size_bytes if landed else None,
        "sha256": landed.sha256 if landed else None,
        "content_type": landed.content_type if landed else None,
        "elapsed_seconds": round(elapsed_seconds, 3),
    }


def to_airflow_exception(error: GrokVideoError, *, paid_for: bool = False) -> Exception:
    """The error as a task raises it: one that a retry cannot mend forbids the retry.

    :param paid_for: whether a generation is under way. A retry resumes it free of charge, so that all but a
        verdict on the generation itself is worth one.
    """
    final = not error.retryable and (isinstance(error, GenerationError) or not paid_for)
    return AirflowFailException(str(error)) if final else error


_WORDS = {"failed": "failed", "expired": "expired", "moderated": "was refused by content moderation"}


def _cost(generation: Generation) -> str | None:
    return None if generation.cost_usd is None else format(generation.cost_usd, "f")
