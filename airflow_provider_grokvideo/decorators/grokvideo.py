"""``@task.grok_video``: a function that says what to film."""

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

from airflow_provider_grokvideo.api.media import shown
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, TaskDecorator


class GrokVideoDecoratedOperator(DecoratedOperator, GrokVideoGenerateOperator):
    """Asks for the video that a function describes; all else is as with the operators.

    The function returns the prompt; or a dict of the request's fields, ``kind`` included, which override those given
    to the decorator; or a ``VideoRequest``, which stands as it is. Texts in it may hold templates.

    :param python_callable: the decorated function.
    """

    custom_operator_name = "@task.grok_video"
    overwrite_rtif_after_execution = True
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *GrokVideoGenerateOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **GrokVideoGenerateOperator.template_fields_renderers,
    }

    if not hasattr(DecoratedOperator, "xcom_push"):
        # Airflow 3.0 hands it on to a method that has no use for it, but fails where it is missing.
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
            raise TypeError("@task.grok_video takes no prompt: the decorated function returns it")
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            prompt=SET_DURING_EXECUTION,
            **kwargs,
        )

    def _asked_for(self, context: Context) -> VideoRequest:
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        returned = self.render_template(self.python_callable(*self.op_args, **kwargs), context)
        if isinstance(returned, VideoRequest):
            self.prompt = returned.prompt
            return returned
        given = {name: value for name, value in self._request_fields().items() if name != "prompt"}
        if isinstance(returned, str):
            returned = {"prompt": returned}
        if isinstance(returned, Mapping):
            # For the rendered fields, which Airflow writes again after the function has run.
            self.prompt = returned.get("prompt")
            return VideoRequest.from_fields({**given, **returned})
        raise InvalidRequestError(
            f"the function {self.python_callable.__name__} returned {shown(returned)} of type "
            f"{type(returned).__name__}; allowed: a prompt, a dict of request fields, or a VideoRequest"
        )


def grok_video_task(python_callable: Callable[..., Any] | None = None, **kwargs: Any) -> TaskDecorator:
    """Turn a function into a task that makes the video it describes.

    :param python_callable: the function.
    :param kwargs: arguments of :class:`~airflow_provider_grokvideo.operators.grokvideo.GrokVideoGenerateOperator`.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=GrokVideoDecoratedOperator, **kwargs
    )
