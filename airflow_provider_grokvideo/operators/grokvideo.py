"""Generate, edit and extend videos with Grok."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_grokvideo.api.redaction import invalid_field

# DAG files are parsed all day: what only a running task needs is imported where it runs.
from airflow_provider_grokvideo.api.validation import validate_seconds
from airflow_provider_grokvideo.exceptions import GrokVideoError, SubmissionUnknownError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, GrokVideoRequestLink, push_links
from airflow_provider_grokvideo.utils.masking import MaskedFieldsMixin, mask
from airflow_provider_grokvideo.utils.openlineage import OpenLineageMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.api.media import Media
    from airflow_provider_grokvideo.api.request import Kind, VideoRequest
    from airflow_provider_grokvideo.api.summary import RequestSummary
    from airflow_provider_grokvideo.execution import Current
    from airflow_provider_grokvideo.ledger import OnUnknownSubmission
    from airflow_provider_grokvideo.submission import RetryLater

SUBMISSION_TIMEOUT = 600.0
"""Seconds for which one attempt of a task tries to submit."""
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
    """What the three operators share: submit once, wait without a worker slot, land the video.

    :param grokvideo_conn_id: the Airflow connection.
    :param output_path: where the video goes: a file URI, or a directory URI with a slash at its end, for
        ``<request_id>.mp4``. ``None`` leaves it at the API, whose URL is temporary.
    :param output_conn_id: the store's Airflow connection.
    :param wait_for_completion: ``False`` ends the task once the ``request_id`` is known.
    :param deferrable: wait in the triggerer. ``False`` holds the worker slot.
    :param poll_interval: seconds between two polls, at least.
    :param timeout: seconds to wait for the generation, in each attempt. It goes on after that; a retry resumes it.
    :param on_unknown_submission: what a retry does where an earlier submission may have been accepted:
        ``fail``, or ``resubmit`` and perhaps pay twice.
    :param ledger_path: directory URI of the ledger on Airflow before 3.3; default: the connection's, the
        configuration's, or beside ``output_path``.
    :param max_cost_usd: refuse, before anything is sent, what may cost more; see ``api/models.py``.
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
            raise invalid_field("on_unknown_submission", on_unknown_submission, "fail or resubmit")
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
        """Paths as the DAG author wrote them, before they were rendered."""
        self.request_summary: RequestSummary | None = None
        self._request_id: str | None = None

    @cached_property
    def hook(self) -> GrokVideoHook:
        """The hook of this task's connection."""
        return GrokVideoHook(self.grokvideo_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit or resume, then wait and save the video.

        :return: the result object.
        """
        return self._run(context, time.time() + SUBMISSION_TIMEOUT, attempt=0)

    def execute_resubmit(
        self,
        context: Context,
        event: Any = None,
        submit_deadline: float | None = None,
        attempt: int = 1,
        try_number: int | None = None,
    ) -> dict[str, Any]:
        """Submit after a pause that was too long for a worker.

        :param submit_deadline: seconds since the epoch after which nothing is sent.
        :param attempt: how many were sent before.
        :param try_number: of the attempt that deferred.
        """
        if self._is_stale(context, try_number):
            return self.execute(context)
        return self._run(context, submit_deadline or time.time() + SUBMISSION_TIMEOUT, attempt)

    def execute_postponed(
        self, context: Context, event: Any = None, give_up_at: float | None = None, attempt: int = 1
    ) -> dict[str, Any]:
        """Submit after a pause, in a task that release 0.1.0 deferred."""
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
        """Go on where the trigger ended: save the video or fail.

        :param event: the trigger's.
        :param submitted_at: when the generation was submitted, in seconds since the epoch. ``dag.test()`` of Airflow 2
            passes none of these on.
        :param request: summary of the submitted request, and its prompt.
        :param try_number: of the attempt that deferred.
        :param asked_at: what release 0.1.0 calls ``submitted_at``.
        """
        if self._is_stale(context, try_number):
            return self.execute(context)
        self._request_id = event.get("request_id")
        with self._errors_for_airflow():
            from airflow_provider_grokvideo.execution import summary_of
            from airflow_provider_grokvideo.finishing import generation_from_event

            self.request_summary = summary_of(self, context, request)
            generation = generation_from_event(self.hook, event, self.timeout)
            return self._finish(context, generation, submitted_at or asked_at or time.time())

    def on_kill(self) -> None:
        """Log that the generation goes on: the API offers no way to cancel."""
        if self._request_id:
            self.log.warning(
                "Killed while generation %s is under way. It is not cancelled and is billed; a retry resumes it",
                self._request_id,
            )

    def _run(self, context: Context, submit_deadline: float, attempt: int) -> dict[str, Any]:
        from airflow_provider_grokvideo.execution import submit_or_resume
        from airflow_provider_grokvideo.submission import RetryLater

        with self._errors_for_airflow():
            try:
                current = submit_or_resume(
                    self, context, self._request(context), submit_deadline=submit_deadline, attempt=attempt
                )
            except RetryLater as later:
                self._defer_submission(context, later, submit_deadline)
            return self._go_on(context, current)

    def _go_on(self, context: Context, current: Current) -> dict[str, Any]:
        """Wait for the generation and save it, as far as that is still to do."""
        from airflow_provider_grokvideo.api.generation import Generation
        from airflow_provider_grokvideo.finishing import emit_asset_events
        from airflow_provider_grokvideo.outcome import to_result

        self._request_id = current.request_id
        self.request_summary = current.summary
        self.run_summary = {"request_id": current.request_id, "status": "pending"}
        context["ti"].xcom_push(key="request_id", value=current.request_id)
        push_links(context, self.hook, current.request_id)
        if current.result is not None:
            # A retry begins without XComs, and only a task that succeeds has its assets announced.
            emit_asset_events(context, self.outlets, current.result)
            self.run_summary = current.result
            return current.result
        generation = current.generation
        if generation is not None and generation.is_final:
            return self._finish(context, generation, current.submitted_at)
        if not self.wait_for_completion:
            result = to_result(
                generation or Generation(current.request_id, "pending"),
                None,
                model=current.summary.model,
                elapsed_seconds=time.time() - current.submitted_at,
            )
            self._record_result(context, current.request_id, result)
            return result
        if self.deferrable:
            self._defer(context, current)
        return self._finish(context, self._follow(current.request_id), current.submitted_at)

    def _request(self, context: Context) -> VideoRequest | GrokVideoError:
        try:
            return self._asked_for(context)
        except GrokVideoError as error:
            return error

    def _asked_for(self, context: Context) -> VideoRequest:
        from airflow_provider_grokvideo.api.request import VideoRequest

        return VideoRequest.from_fields(self._request_fields())

    def _request_fields(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in _REQUEST_FIELDS}
        return {"kind": self.kind, **{name: value for name, value in given.items() if value is not None}}

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """Keep the templates of the ledger's place, then render."""
        if parent is self and not self._is_rendered:
            self.templates = {name: getattr(self, name) for name in ("output_path", "ledger_path")}
        super()._do_render_template_fields(parent, *args, **kwargs)

    def _is_stale(self, context: Context, try_number: int | None) -> bool:
        """Return whether a deferral of an earlier attempt came back (Airflow 3.0, apache/airflow#56704)."""
        stale = try_number is not None and try_number != context["ti"].try_number
        if stale:
            self.log.info("The trigger's event is of attempt %s and is ignored", try_number)
        return stale

    def _defer_submission(self, context: Context, later: RetryLater, submit_deadline: float) -> NoReturn:
        from airflow.providers.common.compat.standard.triggers import TimeDeltaTrigger

        from airflow_provider_grokvideo.triggers.grokvideo import min_deferral

        pause = max(later.pause, min_deferral())
        self.log.warning(
            "Not accepted; nothing was billed: %s. The worker slot is released; the next try is in %.0f s",
            later,
            pause,
        )
        self.defer(
            trigger=TimeDeltaTrigger(timedelta(seconds=pause)),
            method_name="execute_resubmit",
            kwargs={
                "submit_deadline": submit_deadline,
                "attempt": later.attempt,
                "try_number": context["ti"].try_number,
            },
        )
        raise AssertionError("unreachable: defer raises") from None

    def _defer(self, context: Context, current: Current) -> NoReturn:
        from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

        self.log.info(
            "Waiting for generation %s in the triggerer, up to %g s, without a worker slot. Killing or clearing this "
            "task does not cancel the generation: it is billed, and the next attempt resumes it",
            current.request_id,
            self.timeout,
        )
        self.defer(
            trigger=GrokVideoTrigger(
                grokvideo_conn_id=self.grokvideo_conn_id,
                request_id=current.request_id,
                poll_interval=self.poll_interval,
                deadline=time.time() + self.timeout,
            ),
            method_name="execute_complete",
            kwargs={
                "submitted_at": current.submitted_at,
                # A decorated task has no prompt where its function failed.
                "request": {
                    **current.summary.to_json(),
                    "prompt": mask(self.prompt) if isinstance(self.prompt, str) else None,
                },
                "try_number": context["ti"].try_number,
            },
        )
        raise AssertionError("unreachable: defer raises")

    def _follow(self, request_id: str) -> Generation:
        """Wait on the worker."""
        self.log.info("Waiting for generation %s on this worker, up to %g s", request_id, self.timeout)
        return self.hook.wait(request_id, poll_interval=self.poll_interval, timeout=self.timeout)

    def _finish(self, context: Context, generation: Generation, submitted_at: float) -> dict[str, Any]:
        from airflow_provider_grokvideo.finishing import finish
        from airflow_provider_grokvideo.outcome import failure_summary

        assert self.request_summary is not None  # noqa: S101  # every entry point sets it first
        self.run_summary = failure_summary(generation)
        self.run_summary = result = finish(
            self.hook,
            context,
            generation,
            began_at=submitted_at,
            output_path=self.output_path,
            output_conn_id=self.output_conn_id,
            outlets=self.outlets,
            model=self.request_summary.model,
            is_uploaded=self.request_summary.uploads,
        )
        self._record_result(context, generation.request_id, result)
        return result

    def _record_result(self, context: Context, request_id: str, result: Mapping[str, Any]) -> None:
        from airflow_provider_grokvideo.execution import open_task_ledger

        open_task_ledger(self, context).record_result(request_id, result)

    @contextmanager
    def _errors_for_airflow(self) -> Iterator[None]:
        try:
            yield
        except GrokVideoError as error:
            from airflow_provider_grokvideo.outcome import to_airflow_exception

            resubmit = self.on_unknown_submission == "resubmit" and isinstance(error, SubmissionUnknownError)
            raise to_airflow_exception(error, paid_for=self._request_id is not None or resubmit) from error


class GrokVideoGenerateOperator(GrokVideoOperator):
    """Generate a video from a text, or from images and a text."""

    kind = "generation"


class GrokVideoEditOperator(GrokVideoOperator):
    """Change ``video`` as ``prompt`` says. Duration and look stay those of the video."""

    kind = "edit"


class GrokVideoExtendOperator(GrokVideoOperator):
    """Go on where ``video`` ends, for ``duration`` further seconds, 2 to 10, default 6."""

    kind = "extension"
