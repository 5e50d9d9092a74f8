"""Directory of the ledger's file before Airflow 3.3: the same in every attempt of a task instance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, TemplateSyntaxError, nodes

from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.ledger_stores import DIRECTORY
from airflow_provider_grokvideo.storage import directory, open_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
_STEADY_NAMES = frozenset(
    ("conn", "dag", "data_interval_end", "data_interval_start", "ds", "ds_nodash", "execution_date", "inlets",
     "logical_date", "outlets", "params", "partition_key", "run_id", "task", "task_instance_key_str", "test_mode",
     "triggering_asset_events", "triggering_dataset_events", "ts", "ts_nodash", "ts_nodash_with_tz", "var")
)  # fmt: skip
_OF_TASK_INSTANCE = ("dag_id", "map_index", "run_id", "task", "task_id", "xcom_pull")
_STEADY_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "ti": _OF_TASK_INSTANCE,
    "task_instance": _OF_TASK_INSTANCE,
    "dag_run": (
        "conf", "dag_id", "data_interval_end", "data_interval_start", "execution_date", "logical_date",
        "partition_key", "run_after", "run_id", "run_type",
    ),
    "macros": ("ds_add", "ds_format"),
}  # fmt: skip
"""Names of a template's context, and attributes, that are the same in every attempt of a task instance."""
_UNSTEADY_FILTERS = frozenset({"random"})


def ledger_directories(
    output_path: str | ObjectStoragePath | None,
    *,
    output_template: object,
    output_conn_id: str | None,
    configured: str | None,
    configured_template: object,
    required: bool,
) -> list[str | ObjectStoragePath]:
    """Return the directories of ledger files: the one to use, then those that an earlier attempt may have used.

    :param output_path: as rendered.
    :param output_template: as the DAG author wrote it.
    :param configured: the ``ledger_path`` of the operator, the connection or the configuration, as rendered.
    :param configured_template: as its author wrote it.
    :param required: whether the ledger is in a file, so that it must be found again.
    :raises InvalidRequestError: the directory would differ between attempts.
    """
    # By the text of the path: a directory that is created between two attempts must not move the ledger.
    beside = [directory(output_path, output_conn_id) / DIRECTORY] if output_path else []
    if configured:
        if required and not is_steady(configured_template):
            raise InvalidRequestError(
                f"Not sent: ledger_path={configured_template!r} may differ between the attempts of a task, so that a "
                "retry would pay again. Use a path without try numbers and times."
            )
        return [configured, *beside]
    if is_steady(output_template):
        return [*beside]
    prefix = steady_prefix(str(output_template))
    if prefix:
        return [open_path(prefix, output_conn_id) / DIRECTORY, *beside]
    if required:
        raise InvalidRequestError(
            f"Not sent: output_path={output_template!r} may differ between the attempts of a task, so that a retry "
            "would pay again. Set ledger_path to a directory that stays the same."
        )
    return [*beside]


def is_steady(template: object) -> bool:
    """Return whether a path is the same in every attempt of a task instance."""
    if not isinstance(template, str) or not _TEMPLATE.search(template):
        return True
    try:
        tree = Environment().parse(template)  # noqa: S701  # nothing is rendered
    except TemplateSyntaxError:
        return False
    if any(node.name in _UNSTEADY_FILTERS for node in tree.find_all(nodes.Filter)):
        return False
    steady_uses = {id(node) for node in _steady_attribute_uses(tree)}
    names = list(tree.find_all(nodes.Name))
    assigned = {node.name for node in names if node.ctx != "load"}
    return all(node.name in _STEADY_NAMES | assigned or id(node) in steady_uses for node in names if node.ctx == "load")


def steady_prefix(template: str) -> str:
    """Return the directories before the first template in a path, ``""`` where there are none."""
    before = _TEMPLATE.split(template, maxsplit=1)[0]
    prefix = before[: before.rfind("/") + 1]
    scheme, separator, rest = prefix.partition("://")
    root = rest if separator else scheme
    return prefix if root.strip("/") or (separator and scheme in {"memory"}) else ""


def _steady_attribute_uses(tree: nodes.Template) -> Iterator[Any]:
    """Yield the names that are only used for an attribute that stays the same."""
    uses: list[Any] = [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]
    for use in uses:
        attribute = use.attr if isinstance(use, nodes.Getattr) else getattr(use.arg, "value", None)
        if isinstance(use.node, nodes.Name) and attribute in _STEADY_ATTRIBUTES.get(use.node.name, ()):
            yield use.node
