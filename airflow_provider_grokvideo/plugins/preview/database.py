"""Read the records of task instances from Airflow's database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, false, or_, select
from sqlalchemy.orm import Session, aliased

from airflow_provider_grokvideo.plugins.preview.records import PACKAGE_PREFIX, TaskRecord

PAGE_SIZE = 60
"""Maximum number of task instances in one response."""
_OPERATORS_CACHE_SIZE = 128

Operators = Mapping[str, tuple[str, Mapping[str, Any]]]
"""By task id: the module of the operator class, and the arguments that are not templates."""

_operators_cache: dict[UUID, Operators] = {}


class NotFound(Exception):
    """The run or the task instance does not exist. The text says which."""


def check_run(dag_id: str, run_id: str) -> None:
    """Check that a run exists.

    :raises NotFound: it does not.
    """
    with create_session(scoped=False) as session:
        _check_run(session, dag_id, run_id)


def get_record(dag_id: str, run_id: str, task_id: str, map_index: int) -> TaskRecord:
    """Return the record of one task instance of any operator.

    :raises NotFound: the task instance does not exist.
    """
    # Not a FastAPI dependency: the session would stay open while a video plays.
    with create_session(scoped=False) as session:
        _check_run(session, dag_id, run_id)
        condition = and_(TaskInstance.task_id == task_id, TaskInstance.map_index == map_index)
        for record in _select_records(session, dag_id, run_id, condition, 0, 1):
            return record
    raise NotFound("there is no such task instance")


def list_records(dag_id: str, run_id: str, offset: int) -> tuple[list[TaskRecord], bool]:
    """Return one page of a run's task instances of this package, and whether more follow.

    :raises NotFound: the run does not exist.
    """
    with create_session(scoped=False) as session:
        _check_run(session, dag_id, run_id)
        condition = _own_tasks_condition(session, dag_id, run_id)
        found = list(_select_records(session, dag_id, run_id, condition, offset, PAGE_SIZE + 1))
    return found[:PAGE_SIZE], len(found) > PAGE_SIZE


def parse_operators(data: Any) -> Operators:
    """Return the operators of a serialized DAG. This loads no code of the DAG."""
    operators: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for entry in data["dag"]["tasks"]:
        task = entry.get("__var", entry)
        arguments = {**task, **task.get("partial_kwargs", {})} if task.get("_is_mapped") else task
        module = task.get("_task_module", "")
        is_own = module.startswith(PACKAGE_PREFIX)
        plain = {key: value for key, value in arguments.items() if is_own and _is_plain(value)}
        operators[task["task_id"]] = (module, plain)
    return operators


def _check_run(session: Session, dag_id: str, run_id: str) -> None:
    if session.scalar(select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)) is None:
        raise NotFound("there is no such run")


def _select_records(
    session: Session, dag_id: str, run_id: str, condition: Any, offset: int, limit: int
) -> Iterator[TaskRecord]:
    ti, rendered = TaskInstance, RenderedTaskInstanceFields
    return_value, request_id, outcome = aliased(XComModel), aliased(XComModel), aliased(XComModel)

    def same_task(table: Any) -> Any:
        return and_(
            table.dag_id == ti.dag_id,
            table.run_id == ti.run_id,
            table.task_id == ti.task_id,
            table.map_index == ti.map_index,
        )

    columns: list[Any] = [ti.task_id, ti.map_index, ti.state, ti.try_number, ti.dag_version_id, ti._rendered_map_index]
    columns += [rendered.rendered_fields, return_value.value, request_id.value, outcome.value]
    rows = session.execute(
        select(*columns)
        .outerjoin(rendered, same_task(rendered))
        .outerjoin(return_value, and_(same_task(return_value), return_value.key == "return_value"))
        .outerjoin(request_id, and_(same_task(request_id), request_id.key == "request_id"))
        .outerjoin(outcome, and_(same_task(outcome), outcome.key == "outcome"))
        .where(ti.dag_id == dag_id, ti.run_id == run_id, condition)
        .order_by(ti.task_id, ti.map_index)
        .offset(offset)
        .limit(limit)
    )
    for task_id, map_index, state, try_number, version, label, fields, *xcoms in rows.all():
        module, plain_arguments = _get_operators(session, version).get(task_id, ("", {}))
        yield TaskRecord(
            task_id=task_id,
            map_index=map_index,
            state=state and str(getattr(state, "value", state)),
            operator_module=module,
            label=label,
            # Airflow deletes rendered fields after some runs; the arguments that are not templates stay known.
            fields={**plain_arguments, **(fields or {})},
            return_value_xcom=xcoms[0],
            request_id_xcom=xcoms[1],
            outcome_xcom=xcoms[2],
            try_number=try_number,
        )


def _own_tasks_condition(session: Session, dag_id: str, run_id: str) -> Any:
    """Return the SQL condition for task instances of this package, each in the DAG version that it ran."""
    ti = TaskInstance
    versions = session.scalars(
        select(ti.dag_version_id).where(ti.dag_id == dag_id, ti.run_id == run_id).distinct()
    ).all()
    conditions = []
    for version in versions:
        operators = _get_operators(session, version)
        own = [task_id for task_id, (module, _) in operators.items() if module.startswith(PACKAGE_PREFIX)]
        if own:
            conditions.append(and_(ti.dag_version_id == version, ti.task_id.in_(own)))
    return or_(false(), *conditions)


def _get_operators(session: Session, version: UUID | None) -> Operators:
    """Return the operators of a DAG version. They do not change once a task instance has the version."""
    if version is None:
        return {}
    operators = _operators_cache.get(version)
    if operators is None:
        stored = session.scalar(select(SerializedDagModel).where(SerializedDagModel.dag_version_id == version))
        if stored is None:
            return {}
        while len(_operators_cache) >= _OPERATORS_CACHE_SIZE:
            # Another thread may remove the same one.
            _operators_cache.pop(next(iter(_operators_cache)), None)
        operators = _operators_cache[version] = parse_operators(stored.data)
    return operators


def _is_plain(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and "{{" not in value and "{%" not in value)
