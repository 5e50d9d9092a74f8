"""Metrics that a worker sends through Airflow's Stats. The names are public; see docs/metrics.md.

``grokvideo.submitted``, ``grokvideo.unknown_submission``, ``grokvideo.finished.<state>`` and ``grokvideo.polls`` count;
``grokvideo.cost_micro_usd`` counts millionths of a US dollar, on failures too; ``grokvideo.generation_seconds`` times
from the submission to the end.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import Stats

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.generation import Generation

_MICRO = 1_000_000
_STATES = frozenset({"done", "failed", "expired", "moderated"})
"""The only states that a metric's name contains: text of the API never becomes part of a name."""
_LONGEST = 365 * 24 * 3600.0


def submitted() -> None:
    """Count a generation that the API has accepted."""
    Stats.incr("grokvideo.submitted")


def submission_unknown() -> None:
    """Count a submission with an unknown outcome."""
    Stats.incr("grokvideo.unknown_submission")


def polled(times: int) -> None:
    """Count the polls of a wait that has ended."""
    Stats.incr("grokvideo.polls", times)


def finished(generation: Generation, seconds: float) -> None:
    """Count a final generation by state, with its duration and cost.

    :param seconds: since its submission, or since its wait started.
    """
    Stats.incr(f"grokvideo.finished.{generation.state if generation.state in _STATES else 'other'}")
    # A damaged start time, NaN included, must not fail a task that has its video.
    Stats.timing("grokvideo.generation_seconds", timedelta(seconds=min(max(0.0, seconds), _LONGEST)))
    if generation.cost_usd:
        Stats.incr("grokvideo.cost_micro_usd", int(generation.cost_usd * _MICRO))
