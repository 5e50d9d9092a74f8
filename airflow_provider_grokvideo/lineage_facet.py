"""The run facet of a generation. Imports OpenLineage's client, and so only where that is installed."""

from __future__ import annotations

from attrs import define
from openlineage.client.facet_v2 import RunFacet


@define(kw_only=True)
class GrokVideoRunFacet(RunFacet):
    """What a task has learnt of its generation.

    :param request_id: the generation.
    :param status: how it ended, or ``pending`` where nobody waited.
    :param model: the model that was used.
    :param duration: seconds of video.
    :param cost_usd: what the API says it cost, as a decimal string.
    """

    request_id: str
    status: str | None = None
    model: str | None = None
    duration: float | None = None
    cost_usd: str | None = None
