"""OpenLineage run facet of a generation. Importable only if OpenLineage's client is installed."""

from __future__ import annotations

from attrs import define
from openlineage.client.facet_v2 import RunFacet


@define(kw_only=True)
class GrokVideoRunFacet(RunFacet):
    """Facts about the generation of a task.

    :param request_id: the generation.
    :param status: its final state, or ``pending`` if the task did not wait.
    :param model: the model that was used.
    :param duration: seconds of video.
    :param cost_usd: what the API says it cost, as a decimal string.
    """

    request_id: str
    status: str | None = None
    model: str | None = None
    duration: float | None = None
    cost_usd: str | None = None
