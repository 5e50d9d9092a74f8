"""What OpenLineage is told of a generation. Optional: only Airflow's OpenLineage provider asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset

FACET = "grokVideo"


class ReportsLineage:
    """Lets an operator or sensor report to OpenLineage. It keeps in ``ending`` what is known when it ends."""

    ending: Mapping[str, Any] | None = None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """What a task that succeeded has read, written and spent."""
        return lineage_of(self, self.ending or {})

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """What a task that failed has read and spent."""
        return lineage_of(self, self.ending or {})


def lineage_of(operator: Any, ending: Mapping[str, Any]) -> OperatorLineage[Any, Any]:
    """The datasets and the run facet of a task.

    :param operator: its arguments name the inputs.
    :param ending: the task's result, or the verdict on a generation without a video.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    from airflow_provider_grokvideo.lineage_facet import GrokVideoRunFacet

    outputs = []
    if ending.get("path"):
        namespace, name = dataset_name(ending["path"])
        size = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(size=ending["size_bytes"])
        outputs = [OutputDataset(namespace, name, outputFacets={"outputStatistics": size})]
    facets = {}
    if ending.get("request_id"):
        known = ("request_id", "status", "model", "duration", "cost_usd")
        values: dict[str, Any] = {key: ending.get(key) for key in known}
        facets = {FACET: GrokVideoRunFacet(**values)}
    return OperatorLineage(inputs=list(_inputs(operator)), outputs=outputs, run_facets=facets)


def dataset_name(uri: str) -> tuple[str, str]:
    """Namespace and name of a file, as OpenLineage's naming conventions have them.

    Neither holds a connection id, a user name or a URL's query.

    :param uri: a path or URL.
    """
    parts = urlsplit(uri if "://" in uri else f"file://{uri}")
    if parts.scheme in {"file", "local"}:
        return "file", parts.path
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", parts.path.lstrip("/")


def _inputs(operator: Any) -> Iterator[InputDataset]:
    from openlineage.client.event_v2 import InputDataset

    references = getattr(operator, "reference_images", None) or ()
    for media in (getattr(operator, "image", None), *references, getattr(operator, "video", None)):
        # A data URI or a file stored at xAI is no dataset that somebody else could name.
        if isinstance(media, str) and not media.startswith("data:"):
            yield InputDataset(*dataset_name(media))
