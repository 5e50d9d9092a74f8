"""What OpenLineage is told of a generation. Optional: only Airflow's OpenLineage provider asks for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset

FACET = "grokVideo"
_QUERY = re.compile(r"\?[^/]*=")


class OpenLineageMixin:
    """Lets an operator or sensor report to OpenLineage. It keeps in ``run_summary`` what is known when it ends."""

    run_summary: Mapping[str, Any] | None = None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """What a task that succeeded has read, written and spent."""
        return lineage_of(self, self.run_summary or {})

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """What a task that failed has read and spent."""
        return lineage_of(self, self.run_summary or {})


def lineage_of(operator: Any, run_summary: Mapping[str, Any]) -> OperatorLineage[Any, Any]:
    """The datasets and the run facet of a task.

    :param operator: its arguments name the inputs.
    :param run_summary: the task's result, or the verdict on a generation without a video.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    from airflow_provider_grokvideo.lineage_facet import GrokVideoRunFacet

    outputs = []
    if run_summary.get("path"):
        namespace, name = dataset_name(run_summary["path"])
        size = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(size=run_summary["size_bytes"])
        outputs = [OutputDataset(namespace, name, outputFacets={"outputStatistics": size})]
    facets = {}
    if run_summary.get("request_id"):
        known = ("request_id", "status", "model", "duration", "cost_usd")
        values: dict[str, Any] = {key: run_summary.get(key) for key in known}
        facets = {FACET: GrokVideoRunFacet(**values)}
    return OperatorLineage(inputs=list(_inputs(operator)), outputs=outputs, run_facets=facets)


def dataset_name(uri: str) -> tuple[str, str]:
    """Return namespace and name of a file, as OpenLineage's naming conventions have them.

    Neither holds a connection id, a user name, or a URL's query or fragment.

    :param uri: a path or URL.
    """
    scheme, separator, rest = uri.strip().partition("://")
    if not separator:
        return "file", uri.strip()
    scheme = scheme.lower()
    authority, slash, path = rest.partition("/")
    if scheme in {"file", "local"}:
        return "file", slash + path
    if scheme in {"http", "https"}:
        # A file name on a store may hold these characters; in a URL they begin what may be a signature.
        authority, path = _before_query(authority), _before_query(path)
    elif _QUERY.search(path):
        path = path.split("?", 1)[0]
    return f"{scheme}://{authority.rpartition('@')[2]}", path.lstrip("/")


def _before_query(part: str) -> str:
    return re.split(r"[?#]", part, maxsplit=1)[0]


def _inputs(operator: Any) -> Iterator[InputDataset]:
    from openlineage.client.event_v2 import InputDataset

    summary = getattr(operator, "request_summary", None)
    if summary is not None:
        for uri in summary.inputs:
            yield InputDataset(*dataset_name(uri))
        return
    # The task failed before it had a request.
    references = getattr(operator, "reference_images", None) or ()
    given = [getattr(operator, "image", None), *references, getattr(operator, "video", None)]
    for media in map(_address, given):
        # A data URI or a file stored at xAI is no dataset that somebody else could name.
        if media and not media.lower().startswith("data:"):
            yield InputDataset(*dataset_name(media))


def _address(media: Any) -> str:
    """Return the path or URL of a medium, however it is given; ``""`` where it has none."""
    if isinstance(media, Mapping):
        media = media.get("url")
    return str(media).strip() if isinstance(media, str | PathLike) or hasattr(media, "as_uri") else ""
