"""Decorator ``@task.grok_video``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    SET_DURING_EXECUTION,
    DecoratedOperator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from airflow_provider_grokvideo.api.redaction import redact
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.utils.masking import mask, store_rendered_fields

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator


_prompts: dict[tuple[Any, ...], Any] = {}
"""Prompts of waiting tasks, for ``dag.test()``: it resumes them in this process, without their arguments."""


class GrokVideoDecoratedOperator(DecoratedOperator, GrokVideoGenerateOperator):
    """Generate the video that a function describes.

    The function returns the prompt; or a mapping of request fields, ``kind`` included, which override those given to
    the decorator; or a ``VideoRequest``, which is used as it is. The returned value is not rendered: it may contain
    text of users or of other tasks. Templates in the arguments of the decorator and of the function are rendered.

    :param python_callable: the decorated function.
    """

    custom_operator_name = "@task.grok_video"
    # Makes Airflow 3 store the rendered fields again when the task ends or is deferred.
    overwrite_rtif_after_execution = True
    verbatim_fields = ("prompt",)
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *GrokVideoGenerateOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **GrokVideoGenerateOperator.template_fields_renderers,
    }

    if not hasattr(DecoratedOperator, "xcom_push"):
        # Airflow 3.0 passes it to a method that does not use it, but fails if it is missing.
        xcom_push = None

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "prompt" in kwargs:
            raise TypeError("@task.grok_video takes no prompt. Return it from the decorated function.")
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            prompt=SET_DURING_EXECUTION,
            **kwargs,
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Show the prompt again, then save the video, or fail, after the trigger's event.

        Each process renders the fields anew, and only the first one calls the function. The arguments are those of
        the operator.
        """
        passed_on = kwargs.get("request") or {}
        prompt = passed_on.get("prompt", _prompts.pop(_key(context), None))
        if prompt is not None:
            self._show_prompt(context, prompt)
        return super().execute_complete(context, event, *args, **kwargs)

    def _request(self, context: Context) -> VideoRequest:
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        returned = self.python_callable(*self.op_args, **kwargs)
        if isinstance(returned, VideoRequest):
            self._show_prompt(context, returned.prompt)
            return returned
        if isinstance(returned, str):
            returned = {"prompt": returned}
        if isinstance(returned, Mapping):
            self._show_prompt(context, returned.get("prompt"))
            given = {name: value for name, value in self._request_fields().items() if name != "prompt"}
            return VideoRequest.from_fields({**given, **returned})
        raise InvalidRequestError(
            f"The function {self.python_callable.__name__} returned {redact(returned)} of type "
            f"{type(returned).__name__}. Return a prompt, a dict of request fields, or a VideoRequest."
        )

    def _show_prompt(self, context: Context, prompt: Any) -> None:
        self.prompt = prompt
        _prompts[_key(context)] = mask(prompt)
        store_rendered_fields(self, context["ti"])


def _key(context: Context) -> tuple[Any, ...]:
    ti = context["ti"]
    return ti.dag_id, ti.run_id, ti.task_id, ti.map_index


def grok_video_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Turn a function into a task that makes the video it describes.

    :param python_callable: the function.
    :param kwargs: arguments of :class:`~airflow_provider_grokvideo.operators.grokvideo.GrokVideoGenerateOperator`.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=GrokVideoDecoratedOperator, **kwargs
    )
