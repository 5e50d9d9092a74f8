"""A run with many task instances in Airflow's metadata database, for the pages and for their benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import String, event, insert
from sqlalchemy.engine import Engine

OPERATOR = "airflow_provider_grokvideo.operators.grokvideo"
SENSOR = "airflow_provider_grokvideo.sensors.grokvideo"
DAG_ID, RUN_ID = "gallery", "manual__1"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def create_run(engine: Engine, tasks: dict[str, str], instances: list[dict[str, Any]]) -> None:
    """Create the tables that the pages read, and one run of one DAG.

    :param tasks: the module of each task's operator.
    :param instances: of each task instance its ``task_id``, ``map_index``, ``state`` and whether it is ``resuming``;
        its ``fields`` and its ``xcoms``.
    """
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from airflow.models.dagrun import DagRun
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel

    models = (DagRun, RenderedTaskInstanceFields, SerializedDagModel, TaskInstance, XComModel)
    # The foreign keys of a table name others.
    import_all_models()
    Base.metadata.create_all(engine, [model.__table__ for model in models])
    version = uuid4()
    # Airflow 3.1 stores this id as a text.
    is_text = isinstance(TaskInstance.__table__.c.id.type, String)
    serialized = {"task_id": "", "prompt": "A lake", "model": "grok-imagine-video"}
    dag = {
        "dag": {
            "tasks": [
                {"__var": {**serialized, "task_id": task_id, "_task_module": tasks[task_id]}} for task_id in tasks
            ]
        }
    }
    ids = {"dag_id": DAG_ID, "run_id": RUN_ID}
    rows: dict[Any, list[dict[str, Any]]] = {model: [] for model in models}
    rows[DagRun].append(
        {**ids, "id": 1, "log_template_id": None, "run_type": "manual", "state": "running", "run_after": _NOW}
    )
    rows[SerializedDagModel].append(
        {"id": uuid4(), "dag_id": DAG_ID, "data": dag, "dag_hash": "x", "dag_version_id": version}
    )
    for given in instances:
        task = {**ids, "task_id": given["task_id"], "map_index": given.get("map_index", -1)}
        row_id = str(uuid4()) if is_text else uuid4()
        row = {**task, "id": row_id, "state": given["state"], "try_number": 1, "dag_version_id": version}
        row |= {
            "pool": "default_pool",
            "pool_slots": 1,
            "next_method": "execute_complete" if given.get("resuming") else None,
        }
        rows[TaskInstance].append(row)
        if "fields" in given:
            rows[RenderedTaskInstanceFields].append({**task, "rendered_fields": given["fields"]})
        for key, value in given.get("xcoms", {}).items():
            rows[XComModel].append({**task, "dag_run_id": 1, "key": key, "value": json.dumps(value), "timestamp": _NOW})
    with engine.begin() as connection:
        for model, values in rows.items():
            if values:
                connection.execute(insert(model.__table__), values)


@contextmanager
def recorded_queries(engine: Engine) -> Iterator[list[str]]:
    """Yield the list of the statements that are executed in the ``with`` block."""
    statements: list[str] = []

    def record(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", record)
