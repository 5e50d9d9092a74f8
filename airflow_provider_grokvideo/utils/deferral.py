"""Times around the deferral of a task."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import conf

TIMEOUT_MARGIN = 60.0
"""Seconds by which Airflow's own limit exceeds the timeout of a wait that starts in the triggerer, so that the
trigger reports its timeout first."""
_SCHEDULER_LAG = 5.0
"""Seconds from the moment a worker notices the end of a task's process until the scheduler reads it, with margin."""


def min_deferral() -> float:
    """Return the minimum seconds for which a task must stay deferred.

    A scheduler that reads "the process of this task has ended" only after it has queued the deferred task again fails
    the task (apache/airflow#71580, #72716). Every second worker notices the end of its process one heartbeat late.
    """
    heartbeat: float = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)
    return heartbeat + _SCHEDULER_LAG
