"""Masking of a task's fields where Airflow shows them: no image bytes, no signature of a URL."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_grokvideo.api.redaction import redact_value
from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_0_PLUS


def mask(value: Any) -> Any:
    """Return a copy of a field's value without secrets and with the same structure."""
    return redact_value(value)


class MaskedFields(tuple[str, ...]):
    """Names of a task's template fields. During the iteration over one, the task's attribute is masked.

    Airflow stores rendered fields at several moments, each time by reading the attributes that
    ``task.template_fields`` names. At all other times the attributes have their plain values, so that hooks, callbacks
    and subclasses work with them.

    :param task: a task whose templates are rendered.
    """

    task: Any

    def __new__(cls, names: Iterable[str], task: Any) -> MaskedFields:
        """Store the task with its names."""
        fields = super().__new__(cls, names)
        fields.task = task
        return fields

    def __iter__(self) -> Iterator[str]:
        """Yield each name while its attribute is masked."""
        for name in super().__iter__():
            plain = getattr(self.task, name, None)
            # Airflow's __setattr__ looks for dependencies on other tasks.
            object.__setattr__(self.task, name, mask(plain))
            try:
                yield name
            finally:
                object.__setattr__(self.task, name, plain)


class MaskedFieldsMixin:
    """Mixin that masks a task's fields where Airflow shows them. It must precede Airflow's operator in the bases."""

    verbatim_fields: Sequence[str] = ()
    """Template fields that Airflow shows, but does not render."""
    template_fields: Sequence[str]
    _is_rendered = False

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Mapping[str, Any],
        jinja_env: Any,
        seen_oids: set[int],
        **kwargs: Any,
    ) -> None:
        """Render the fields of this task once, then mask them.

        Airflow 2 renders again in ``dag.test()``, when a deferred task resumes, and possibly when it stores rendered
        fields. Then they contain data, also of other tasks, which must not be rendered as templates.
        """
        render = super()._do_render_template_fields  # type: ignore[misc]
        if parent is not self:
            render(parent, template_fields, context, jinja_env, seen_oids, **kwargs)
            return
        names = type(self).template_fields
        if not self._is_rendered:
            seen_oids.update(map(id, _mapped_from_elsewhere(self, context)))
            for name in names:
                _set(self, name, _with_text_paths(name, getattr(self, name), seen_oids))
            rendered = [name for name in names if name not in self.verbatim_fields]
            render(self, rendered, context, jinja_env, seen_oids, **kwargs)
            for name in names:
                _set(self, name, _with_lists(name, getattr(self, name)))
            self._is_rendered = True
        object.__setattr__(self, "template_fields", MaskedFields(names, self))


def store_rendered_fields(task: Any, ti: Any) -> None:
    """Store a running task's fields as they are now, masked, so that they are shown while it waits.

    Airflow stores them before a task runs, and from 3.0 on also when it has ended. There is no public way between.
    What is shown is worth no failure.
    """
    try:
        if AIRFLOW_V_3_0_PLUS:
            from airflow.sdk.execution_time import task_runner
            from airflow.sdk.execution_time.comms import SetRenderedFields

            fields = task_runner._serialize_rendered_fields(task)
            task_runner.SUPERVISOR_COMMS.send(SetRenderedFields(rendered_fields=fields))
        else:
            from airflow.models.renderedtifields import RenderedTaskInstanceFields, get_serialized_template_fields

            fields = get_serialized_template_fields(task)
            RenderedTaskInstanceFields(ti, render_templates=False, rendered_fields=fields).write()
    except Exception as error:
        task.log.debug("The rendered fields could not be stored: %r", error)


_ARGUMENTS = ("op_args", "op_kwargs")
"""Arguments of a decorated function, which gets unchanged objects."""


def _set(task: Any, name: str, value: Any) -> None:
    if value is not getattr(task, name):
        object.__setattr__(task, name, value)


def _mapped_from_elsewhere(task: Any, context: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values that another task's output has given to a mapped task by ``expand_kwargs``.

    Airflow treats lists and dicts among them as the author's own, and would render their content.
    """
    mapped = task.dag.task_dict.get(task.task_id) if task.has_dag() else None
    if mapped is None or mapped is task or not hasattr(mapped, "partial_kwargs"):
        return
    given = mapped._get_specified_expand_input().value
    if isinstance(given, list | tuple):
        given = given[context["ti"].map_index]
    if isinstance(given, Mapping):
        # Written by the author, or passed to expand(), whose values Airflow distinguishes.
        return
    own = mapped.partial_kwargs
    yield from (getattr(task, name) for name in type(task).template_fields if name not in own)
    arguments = getattr(task, "op_kwargs", None) or {}
    yield from (value for name, value in arguments.items() if name not in own.get("op_kwargs", {}))


def _with_text_paths(name: str, value: Any, seen_oids: set[int]) -> Any:
    """Return the value with path objects as texts: some versions of Airflow resolve or skip them when rendering.

    :param seen_oids: ids of objects that are not rendered, which stay the same objects.
    """
    if name in _ARGUMENTS or id(value) in seen_oids:
        return value
    if isinstance(value, os.PathLike) and not hasattr(value, "storage_options"):
        return os.fspath(value)
    if type(value) in {list, tuple}:
        items = [_with_text_paths(name, item, seen_oids) for item in value]
        return value if all(map(operator.is_, items, value)) else type(value)(items)
    if type(value) is dict:
        items = [_with_text_paths(name, item, seen_oids) for item in value.values()]
        return value if all(map(operator.is_, items, value.values())) else dict(zip(value, items, strict=True))
    return value


def _with_lists(name: str, value: Any) -> Any:
    """Return a lazy sequence, the output of a mapped upstream task, as a list."""
    is_lazy = isinstance(value, Sequence) and not isinstance(value, str | bytes | list | tuple)
    return list(value) if is_lazy and name not in _ARGUMENTS else value
