"""Whether and when a submission that was certainly not accepted is sent again. Decisions only."""

from __future__ import annotations

import random
from collections.abc import Callable

from airflow_provider_grokvideo.exceptions import GrokVideoError, RateLimitError, TransportError

SUBMISSION_TIMEOUT = 600.0
"""Seconds for which a submission is tried altogether."""
DELIVERY_ATTEMPTS = 5
"""How often an API that cannot be reached is tried before it is left to the task's own retry."""
LONGEST_PAUSE = 60.0


def pause_before_resubmitting(
    error: GrokVideoError,
    *,
    attempt: int,
    now: float,
    give_up_at: float,
    uniform: Callable[[float, float], float] = random.uniform,  # noqa: S311
) -> float | None:
    """Seconds to wait before the same submission is sent again, or ``None`` to give up.

    :param error: why it was not accepted. ``SubmissionUnknownError`` is never sent again.
    :param attempt: how many were sent, this one included.
    :param now: seconds since the epoch.
    :param give_up_at: seconds since the epoch after which nothing is sent.
    """
    backoff = min(2.0 ** (attempt - 1), LONGEST_PAUSE)
    if isinstance(error, RateLimitError):
        pause = backoff if error.retry_after is None else error.retry_after
    elif isinstance(error, TransportError) and not error.delivered and attempt < DELIVERY_ATTEMPTS:
        pause = backoff
    else:
        return None
    pause += uniform(0, max(pause, 1.0) * 0.25)
    return pause if now + pause <= give_up_at else None
