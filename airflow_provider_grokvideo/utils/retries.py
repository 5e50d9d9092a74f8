"""Repeated attempts of free calls: polls of finished generations and downloads."""

from __future__ import annotations

import tenacity

ATTEMPTS = 5
"""Maximum number of attempts; after that, the task's own retry takes over."""
PAUSE = 1.0
"""Seconds before the second attempt. They double up to ``MAX_PAUSE``, and are jittered."""
MAX_PAUSE = 30.0


def attempts(*errors: type[Exception]) -> tenacity.Retrying:
    """Return the attempts to iterate over; one that ends with one of these errors is followed by another."""
    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=PAUSE, max=MAX_PAUSE) + tenacity.wait_random(0, PAUSE),
        retry=tenacity.retry_if_exception_type(errors),
        reraise=True,
    )
