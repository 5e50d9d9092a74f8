"""How often, and after which pauses, a worker repeats what costs nothing to repeat."""

from __future__ import annotations

import tenacity

ATTEMPTS = 5
"""How often before it is left to the task's own retry."""
PAUSE = 1.0
"""Seconds before the first repetition; they double, up to ``LONGEST_PAUSE``, and are jittered."""
LONGEST_PAUSE = 30.0


def attempts(*errors: type[Exception]) -> tenacity.Retrying:
    """Attempts to iterate over; those that end with one of these errors are followed by another."""
    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=PAUSE, max=LONGEST_PAUSE) + tenacity.wait_random(0, PAUSE),
        retry=tenacity.retry_if_exception_type(errors),
        reraise=True,
    )
