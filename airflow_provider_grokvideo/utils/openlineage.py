"""Datasets and run facet of a task for OpenLineage. Only Airflow's OpenLineage provider, if installed, calls it."""

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
    """Mixin of operators and sensor that report to OpenLineage."""

    run_summary: Mapping[str, Any] | None = None
    """The task's result, or the summary of a generation without a video; set before the task ends."""

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the datasets and the run facet of a task that succeeded."""
        return lineage_of(self, self.run_summary or {})

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the datasets and the run facet of a task that failed."""
        return lineage_of(self, self.run_summary or {})


def lineage_of(operator: Any, run_summary: Mapping[str, Any]) -> OperatorLineage[Any, Any]:
    """Return the datasets and the run facet of a task.

    :param operator: its arguments name the inputs.
    :param run_summary: the task's result, or the summary of a generation without a video.
    """
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    from airflow_provider_grokvideo.utils.openlineage_facet import GrokVideoRunFacet

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
    """Return namespace and name of a file by OpenLineage's naming conventions.

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
        # A file name on a store may contain these characters; in a URL they may start a signature.
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
        # Nobody else can name a data URI, or a file that xAI stores, as a dataset.
        if media and not media.lower().startswith("data:"):
            yield InputDataset(*dataset_name(media))


def _address(media: Any) -> str:
    """Return the path or URL of a medium, ``""`` if it has none."""
    if isinstance(media, Mapping):
        media = media.get("url")
    return str(media).strip() if isinstance(media, str | PathLike) or hasattr(media, "as_uri") else ""
