"""Operators that generate, edit and extend videos with Grok."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_grokvideo.api.redaction import invalid_field
from airflow_provider_grokvideo.api.validation import validate_seconds
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, GrokVideoRequestLink
from airflow_provider_grokvideo.utils.masking import MaskedFieldsMixin
from airflow_provider_grokvideo.utils.openlineage import OpenLineageMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.api.media import Media
    from airflow_provider_grokvideo.api.request import Kind, VideoRequest
    from airflow_provider_grokvideo.api.summary import RequestSummary
    from airflow_provider_grokvideo.execution import TaskExecution
    from airflow_provider_grokvideo.ledger import OnUnknownSubmission

_REQUEST_FIELDS = (
    "prompt",
    "model",
    "duration",
    "aspect_ratio",
    "resolution",
    "image",
    "last_frame",
    "keyframes",
    "reference_images",
    "reference_audios",
    "video",
    "generate_audio",
    "upload_url",
    "storage_options",
    "user",
    "extra",
)


class GrokVideoOperator(MaskedFieldsMixin, OpenLineageMixin, BaseOperator):
    """Base class of the operators: submit once, wait without a worker slot, save the video.

    :param grokvideo_conn_id: the Airflow connection.
    :param output_path: destination of the video: the URI of a file, or of a directory with a slash at its end, for
        ``<request_id>.mp4``. ``None`` leaves the video at the API, whose URL is temporary.
    :param output_conn_id: the Airflow connection of the store.
    :param wait_for_completion: ``False`` ends the task as soon as the ``request_id`` is known.
    :param deferrable: wait in the triggerer. ``False`` waits in the worker slot.
    :param poll_interval: minimum seconds between two polls.
    :param timeout: seconds to wait for the generation in each attempt. The generation continues after that; a retry
        resumes it.
    :param on_unknown_submission: what a retry does after a submission with an unknown outcome: ``fail``, or
        ``resubmit`` and perhaps pay twice.
    :param ledger_path: directory URI of the ledger on Airflow before 3.3; default: the connection's, the
        configuration's, or beside ``output_path``.
    :param max_cost_usd: US dollars. A request that may cost more is refused before it is sent.
    """

    kind: ClassVar[Kind] = "generation"
    template_fields: Sequence[str] = (
        *_REQUEST_FIELDS,
        "grokvideo_conn_id",
        "output_path",
        "output_conn_id",
        "ledger_path",
        "max_cost_usd",
    )
    template_fields_renderers = {"extra": "json"}
    operator_extra_links = (GrokVideoLink(), GrokVideoRequestLink())
    ui_color = "#1d1d28"
    ui_fgcolor = "#ffffff"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        model: str | None = None,
        duration: int | str | None = None,
        aspect_ratio: str | None = None,
        resolution: str | None = None,
        image: Media | None = None,
        last_frame: Media | None = None,
        keyframes: Sequence[Mapping[str, Any]] | None = None,
        reference_images: Sequence[Media] | None = None,
        reference_audios: Sequence[Mapping[str, str]] | None = None,
        video: Media | None = None,
        generate_audio: bool | str | None = None,
        upload_url: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        user: str | None = None,
        extra: Mapping[str, Any] | None = None,
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        output_path: str | None = None,
        output_conn_id: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        poll_interval: float | timedelta = 5.0,
        timeout: float | timedelta = 900.0,
        on_unknown_submission: OnUnknownSubmission = "fail",
        ledger_path: str | None = None,
        max_cost_usd: float | str | Decimal | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_unknown_submission not in {"fail", "resubmit"}:
            raise invalid_field("on_unknown_submission", on_unknown_submission, "Use fail or resubmit.")
        self.prompt = prompt
        self.model = model
        self.duration = duration
        self.aspect_ratio = aspect_ratio
        self.resolution = resolution
        self.image = image
        self.last_frame = last_frame
        self.keyframes = keyframes
        self.reference_images = reference_images
        self.reference_audios = reference_audios
        self.video = video
        self.generate_audio = generate_audio
        self.upload_url = upload_url
        self.storage_options = storage_options
        self.user = user
        self.extra = extra
        self.grokvideo_conn_id = grokvideo_conn_id
        self.output_path = output_path
        self.output_conn_id = output_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = validate_seconds("poll_interval", poll_interval)
        self.timeout = validate_seconds("timeout", timeout)
        self.on_unknown_submission = on_unknown_submission
        self.ledger_path = ledger_path
        self.max_cost_usd = max_cost_usd
        self.templates: dict[str, Any] = {}
        """Paths before they are rendered."""
        self.request_summary: RequestSummary | None = None
        """Summary of the submitted request, for OpenLineage."""
        self.request_id: str | None = None
        """Generation of the running attempt, once it is known."""

    @cached_property
    def hook(self) -> GrokVideoHook:
        """The hook of this task's connection."""
        return GrokVideoHook(self.grokvideo_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit or resume, then wait and save the video.

        :return: the result object.
        """
        return self._execution(context).start()

    def execute_resubmit(
        self,
        context: Context,
        event: Any = None,
        submit_deadline: float | None = None,
        attempt: int = 1,
        try_number: int | None = None,
    ) -> dict[str, Any]:
        """Submit again after a pause that was too long for a worker.

        :param submit_deadline: seconds since the epoch after which nothing is sent.
        :param attempt: number of submissions sent before.
        :param try_number: of the attempt that deferred.
        """
        execution = self._execution(context)
        if execution.is_stale(try_number):
            return self.execute(context)
        return execution.start(submit_deadline, attempt)

    def execute_postponed(
        self, context: Context, event: Any = None, give_up_at: float | None = None, attempt: int = 1
    ) -> dict[str, Any]:
        """Submit again in a task that release 0.1.0 deferred."""
        return self.execute_resubmit(context, event, give_up_at, attempt)

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        submitted_at: float | None = None,
        request: Mapping[str, Any] | None = None,
        try_number: int | None = None,
        asked_at: float | None = None,
    ) -> dict[str, Any]:
        """Save the video, or fail, after the trigger's event.

        ``dag.test()`` of Airflow 2 passes the event alone.

        :param event: the trigger's event.
        :param submitted_at: when the generation was submitted, in seconds since the epoch.
        :param request: summary of the submitted request, and its prompt.
        :param try_number: of the attempt that deferred.
        :param asked_at: ``submitted_at`` of a task that release 0.1.0 deferred.
        """
        execution = self._execution(context)
        if execution.is_stale(try_number):
            return self.execute(context)
        return execution.complete(event, submitted_at or asked_at, request)

    def on_kill(self) -> None:
        """Log that the generation continues: the API cannot cancel it."""
        if self.request_id:
            self.log.warning(
                "Killing this task does not cancel generation %s. It is billed, and the next attempt resumes it.",
                self.request_id,
            )

    def _execution(self, context: Context) -> TaskExecution:
        # The only late import: DAG files are parsed all the time, and only a running task needs the rest.
        from airflow_provider_grokvideo.execution import TaskExecution

        return TaskExecution(self, context)

    def _request(self, context: Context) -> Mapping[str, Any] | VideoRequest:
        """Return the request, or its fields."""
        return self._request_fields()

    def _request_fields(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in _REQUEST_FIELDS}
        return {"kind": self.kind, **{name: value for name, value in given.items() if value is not None}}

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """Keep the templates of the paths, then render."""
        if parent is self and not self._is_rendered:
            self.templates = {name: getattr(self, name) for name in ("output_path", "ledger_path")}
        super()._do_render_template_fields(parent, *args, **kwargs)


class GrokVideoGenerateOperator(GrokVideoOperator):
    """Generate a video from a text, or from images and a text."""

    kind = "generation"


class GrokVideoEditOperator(GrokVideoOperator):
    """Edit ``video`` by ``prompt``. Duration, resolution and aspect ratio stay those of the video."""

    kind = "edit"


class GrokVideoExtendOperator(GrokVideoOperator):
    """Extend ``video`` by ``duration`` seconds, 2 to 10, default 6."""

    kind = "extension"
