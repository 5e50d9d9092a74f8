"""Reads what Airflow knows of task instances, from its database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

from airflow_provider_grokvideo.plugins.preview.access import OWN_PACKAGE, Record

PAGE = 60
"""Videos that one answer lists at most."""


class NotFound(Exception):
    """There is no such run or task instance; says which."""


Operators = Mapping[str, tuple[str, Mapping[str, Any]]]
"""By task id: the module of the operator class, and the arguments that need no rendering."""


def check_run(dag_id: str, run_id: str) -> None:
    """Look whether a run exists.

    :raises NotFound: it does not.
    """
    with create_session(scoped=False) as session:
        _check_run(session, dag_id, run_id)


def find(dag_id: str, run_id: str, task_id: str, map_index: int) -> Record:
    """One task instance, of whatever operator.

    :raises NotFound: there is none.
    """
    # Not a FastAPI dependency: a session must not stay open for as long as a video plays.
    with create_session(scoped=False) as session:
        _check_run(session, dag_id, run_id)
        one = and_(TaskInstance.task_id == task_id, TaskInstance.map_index == map_index)
        for record in _records(session, dag_id, run_id, one, 0, 1):
            return record
    raise NotFound("there is no such task instance")


def page(dag_id: str, run_id: str, offset: int) -> tuple[list[Record], bool]:
    """The task instances of a run that make videos, and whether there are more behind them.

    :raises NotFound: there is no such run.
    """
    with create_session(scoped=False) as session:
        _check_run(session, dag_id, run_id)
        own = _own_tasks(session, dag_id, run_id)
        found = list(_records(session, dag_id, run_id, own, offset, PAGE + 1))
    return found[:PAGE], len(found) > PAGE


def _check_run(session: Session, dag_id: str, run_id: str) -> None:
    if session.scalar(select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)) is None:
        raise NotFound("there is no such run")


def _records(session: Session, dag_id: str, run_id: str, which: Any, offset: int, limit: int) -> Iterator[Record]:
    ti, rendered = TaskInstance, RenderedTaskInstanceFields
    returned, pushed, ended = aliased(XComModel), aliased(XComModel), aliased(XComModel)

    def same(table: Any) -> Any:
        return and_(
            table.dag_id == ti.dag_id,
            table.run_id == ti.run_id,
            table.task_id == ti.task_id,
            table.map_index == ti.map_index,
        )

    columns: list[Any] = [ti.task_id, ti.map_index, ti.state, ti.try_number, ti.dag_version_id, ti._rendered_map_index]
    columns += [rendered.rendered_fields, returned.value, pushed.value, ended.value]
    rows = session.execute(
        select(*columns)
        .outerjoin(rendered, same(rendered))
        .outerjoin(returned, and_(same(returned), returned.key == "return_value"))
        .outerjoin(pushed, and_(same(pushed), pushed.key == "request_id"))
        .outerjoin(ended, and_(same(ended), ended.key == "outcome"))
        .where(ti.dag_id == dag_id, ti.run_id == run_id, which)
        .order_by(ti.task_id, ti.map_index)
        .offset(offset)
        .limit(limit)
    )
    for task_id, map_index, state, try_number, version, label, fields, result, request_id, outcome in rows.all():
        module, unrendered = _operators(session, version).get(task_id, ("", {}))
        yield Record(
            task_id=task_id,
            map_index=map_index,
            state=state and str(getattr(state, "value", state)),
            module=module,
            label=label,
            # Airflow forgets rendered fields after some runs; what was a plain text is still known then.
            fields={**unrendered, **(fields or {})},
            returned=result,
            pushed_id=request_id,
            outcome=outcome,
            try_number=try_number,
        )


def _own_tasks(session: Session, dag_id: str, run_id: str) -> Any:
    """A condition: the task instances whose operator is of this provider, in the version that they ran."""
    ti = TaskInstance
    versions = session.scalars(
        select(ti.dag_version_id).where(ti.dag_id == dag_id, ti.run_id == run_id).distinct()
    ).all()
    return or_(
        false(),
        *(
            and_(ti.dag_version_id == version, ti.task_id.in_(names))
            for version in versions
            if (names := _own_names(_operators(session, version)))
        ),
    )


def _own_names(operators: Operators) -> Sequence[str]:
    return [task_id for task_id, (module, _) in operators.items() if module.startswith(OWN_PACKAGE)]


_known: dict[UUID, Operators] = {}
_KNOWN_AT_MOST = 128


def _operators(session: Session, version: UUID | None) -> Operators:
    """The operators of a DAG version, which never change once a task instance has one."""
    if version is None:
        return {}
    if version not in _known:
        stored = session.scalar(select(SerializedDagModel).where(SerializedDagModel.dag_version_id == version))
        if stored is None:
            return {}
        while len(_known) >= _KNOWN_AT_MOST:
            _known.pop(next(iter(_known)))
        _known[version] = read_operators(stored.data)
    return _known[version]


def read_operators(data: Any) -> Operators:
    """The operators of a serialized DAG, as the dag processor stored it: no code of the DAG is loaded."""
    operators: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for entry in data["dag"]["tasks"]:
        task = entry.get("__var", entry)
        arguments = {**task, **task.get("partial_kwargs", {})} if task.get("_is_mapped") else task
        module = task.get("_task_module", "")
        own = module.startswith(OWN_PACKAGE)
        plain = {key: value for key, value in arguments.items() if own and _is_plain(value)}
        operators[task["task_id"]] = (module, plain)
    return operators


def _is_plain(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and "{{" not in value and "{%" not in value)
