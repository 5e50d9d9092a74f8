"""Decision on when to submit again after the API certainly did not accept a submission. No I/O."""

from __future__ import annotations

import random
from collections.abc import Callable

from airflow_provider_grokvideo.exceptions import GrokVideoError, RateLimitError, TransportError

SUBMISSION_TIMEOUT = 600.0
"""Maximum seconds from the first attempt of a submission to the last."""
MAX_ATTEMPTS = 20
"""Maximum number of attempts while the API answers with a rate limit."""
MAX_UNREACHED_ATTEMPTS = 5
"""Maximum number of attempts while the API cannot be reached. After that, the task's own retries apply."""
MAX_BACKOFF = 60.0
"""Maximum seconds between two attempts, unless the API asks for more."""


def submit_retry_delay(
    error: GrokVideoError,
    *,
    attempt: int,
    now: float,
    deadline: float,
    uniform: Callable[[float, float], float] = random.uniform,  # noqa: S311
) -> float | None:
    """Return the seconds until the next attempt of a submission, or ``None`` to stop.

    A short ``Retry-After`` does not shorten the backoff: with many tasks it would cause a storm.

    :param error: of this attempt. After ``SubmissionUnknownError`` there is no other attempt.
    :param attempt: number of attempts, this one included.
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
