"""When a submission that was certainly not accepted is sent again. Decisions only."""

from __future__ import annotations

import random
from collections.abc import Callable

from airflow_provider_grokvideo.exceptions import GrokVideoError, RateLimitError, TransportError

SUBMISSION_TIMEOUT = 600.0
"""Seconds for which a submission is tried altogether."""
MAX_ATTEMPTS = 20
"""How often a submission is sent to an API that answers with a rate limit."""
MAX_UNREACHED_ATTEMPTS = 5
"""How often an API that cannot be reached is tried before the task's own retry takes over."""
MAX_BACKOFF = 60.0


def submit_retry_delay(
    error: GrokVideoError,
    *,
    attempt: int,
    now: float,
    deadline: float,
    uniform: Callable[[float, float], float] = random.uniform,  # noqa: S311
) -> float | None:
    """Return the seconds to wait before the same submission is sent again, or ``None`` to give up.

    A short ``Retry-After`` does not shorten the backoff: with many tasks it would cause a storm.

    :param error: why it was not accepted. ``SubmissionUnknownError`` is never sent again.
    :param attempt: how many were sent, this one included.
    :param now: seconds since the epoch.
    :param deadline: seconds since the epoch after which nothing is sent.
    """
    backoff = min(2.0 ** min(attempt - 1, 30), MAX_BACKOFF)
    if isinstance(error, RateLimitError) and attempt < MAX_ATTEMPTS:
        delay = max(error.retry_after or 0.0, backoff)
    elif isinstance(error, TransportError) and not error.delivered and attempt < MAX_UNREACHED_ATTEMPTS:
        delay = backoff
    else:
        return None
    delay += uniform(0.0, delay * 0.25)
    return delay if now + delay <= deadline else None
