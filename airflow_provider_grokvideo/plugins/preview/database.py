"""Read the records of task instances from Airflow's database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, false, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from airflow_provider_grokvideo.plugins.preview.records import PACKAGE_PREFIX, TaskRecord, decode_xcom

PAGE_SIZE = 200
"""Number of task instances that a gallery shows first, and more at each "Show more"."""
MAX_PAGE_SIZE = 10_000
_OPERATORS_CACHE_SIZE = 128

Operators = Mapping[str, tuple[str, Mapping[str, Any]]]
"""By task id: the module of the operator class, and the arguments that are not templates."""

_operators_cache: dict[UUID | None, Operators] = {}


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
        condition = and_(TaskInstance.task_id == task_id, TaskInstance.map_index == map_index)
        for record in _select_records(session, dag_id, run_id, condition, 1):
            return record
    raise NotFound("there is no such task instance")


def list_records(dag_id: str, run_id: str, limit: int = PAGE_SIZE) -> tuple[list[TaskRecord], bool]:
    """Return a run's first task instances of this package, and whether there are more.

    The tasks that submitted what a sensor among them waits for are returned as well.

    :raises NotFound: the run does not exist.
    """
    with create_session(scoped=False) as session:
        _check_run(session, dag_id, run_id)
        condition = _own_tasks_condition(session, dag_id, run_id)
        found = _select_records(session, dag_id, run_id, condition, limit + 1)
        records, more = found[:limit], len(found) > limit
        known = {record.request_id for record in records if not record.is_sensor}
        wanted = {record.request_id for record in records if record.is_sensor and record.request_id} - known
        return [*records, *(_select_submitters(session, dag_id, run_id, wanted) if more else [])], more


def find_submitter(dag_id: str, run_id: str, request_id: str) -> TaskRecord | None:
    """Return the record of the run's task that submitted a generation."""
    with create_session(scoped=False) as session:
        for record in _select_submitters(session, dag_id, run_id, {request_id}):
            return record
    return None


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


def _select_records(session: Session, dag_id: str, run_id: str, condition: Any, limit: int) -> list[TaskRecord]:
    ti, rendered = TaskInstance, RenderedTaskInstanceFields
    return_value, request_id, outcome = aliased(XComModel), aliased(XComModel), aliased(XComModel)

    def same_task(table: Any) -> Any:
        return and_(
            table.dag_id == ti.dag_id,
            table.run_id == ti.run_id,
            table.task_id == ti.task_id,
            table.map_index == ti.map_index,
        )

    columns: list[Any] = [ti.task_id, ti.map_index, ti.state, ti.try_number, ti.next_method]
    columns += [ti.dag_version_id, ti._rendered_map_index]
    columns += [rendered.rendered_fields, return_value.value, request_id.value, outcome.value]
    rows = session.execute(
        select(*columns)
        .outerjoin(rendered, same_task(rendered))
        .outerjoin(return_value, and_(same_task(return_value), return_value.key == "return_value"))
        .outerjoin(request_id, and_(same_task(request_id), request_id.key == "request_id"))
        .outerjoin(outcome, and_(same_task(outcome), outcome.key == "outcome"))
        .where(ti.dag_id == dag_id, ti.run_id == run_id, condition)
        .order_by(ti.task_id, ti.map_index)
        .limit(limit)
    ).all()
    operators = _load_operators(session, {row.dag_version_id for row in rows})
    records = []
    for task_id, map_index, state, try_number, next_method, version, label, fields, *xcoms in rows:
        module, plain_arguments = operators[version].get(task_id, ("", {}))
        record = TaskRecord(
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
            is_resuming=next_method is not None,
        )
        records.append(record)
    return records


def _select_submitters(session: Session, dag_id: str, run_id: str, request_ids: Collection[Any]) -> list[TaskRecord]:
    """Return the records of the run's tasks that submitted these generations."""
    if not request_ids:
        return []
    ti, xcom = TaskInstance, XComModel
    # Databases compare JSON in different ways, so Python compares the ids.
    ids = select(xcom.task_id, xcom.map_index, xcom.value).where(
        xcom.dag_id == dag_id, xcom.run_id == run_id, xcom.key == "request_id"
    )
    tasks = [tuple(task) for *task, value in session.execute(ids) if decode_xcom(value) in request_ids]
    if not tasks:
        return []
    condition = tuple_(ti.task_id, ti.map_index).in_(tasks)
    found = _select_records(session, dag_id, run_id, condition, len(tasks))
    return [record for record in found if record.is_own and not record.is_sensor]


def _own_tasks_condition(session: Session, dag_id: str, run_id: str) -> Any:
    """Return the SQL condition for task instances of this package, each in the DAG version that it ran."""
    ti = TaskInstance
    versions = session.scalars(
        select(ti.dag_version_id).where(ti.dag_id == dag_id, ti.run_id == run_id).distinct()
    ).all()
    conditions = []
    for version, operators in _load_operators(session, versions).items():
        own = [task_id for task_id, (module, _) in operators.items() if module.startswith(PACKAGE_PREFIX)]
        if own:
            conditions.append(and_(ti.dag_version_id == version, ti.task_id.in_(own)))
    return or_(false(), *conditions)


def _load_operators(session: Session, versions: Iterable[UUID | None]) -> dict[UUID | None, Operators]:
    """Return the operators of DAG versions, by one query. They do not change once a task instance has the version."""
    operators: dict[UUID | None, Operators] = {version: _operators_cache.get(version, {}) for version in versions}
    missing = [version for version in operators if version is not None and version not in _operators_cache]
    if missing:
        stored = session.scalars(select(SerializedDagModel).where(SerializedDagModel.dag_version_id.in_(missing)))
        for dag in stored:
            operators[dag.dag_version_id] = _operators_cache[dag.dag_version_id] = parse_operators(dag.data)
        while len(_operators_cache) > _OPERATORS_CACHE_SIZE:
            # Another thread may remove the same one.
            _operators_cache.pop(next(iter(_operators_cache)), None)
    return operators


def _is_plain(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and "{{" not in value and "{%" not in value)
