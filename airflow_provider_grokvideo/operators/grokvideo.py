"""Generate, edit and extend videos with Grok."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.common.compat.sdk import BaseOperator, conf

# DAG files are parsed all day: what only a running task needs is imported where it runs.
from airflow_provider_grokvideo.api.media import check_seconds, invalid
from airflow_provider_grokvideo.exceptions import (
    GenerationNotFoundError,
    GrokVideoError,
    InvalidRequestError,
    SubmissionUnknownError,
)
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.lineage import ReportsLineage
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, GrokVideoRequestLink, store_links
from airflow_provider_grokvideo.utils.masking import MaskedFieldsMixin

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.api.media import Media
    from airflow_provider_grokvideo.api.request import Kind, VideoRequest
    from airflow_provider_grokvideo.ledger import Ledger, OnUnknownSubmission


SUBMISSION_TIMEOUT = 600.0
"""Seconds for which one attempt of a task tries to submit."""
PATIENCE = 5.0
"""Seconds that a worker sleeps before it submits again; a longer pause gives the worker slot back."""
_REQUEST_FIELDS = (
    "prompt",
    "model",
    "duration",
    "aspect_ratio",
    "resolution",
    "image",
    "reference_images",
    "video",
    "upload_url",
    "user",
    "extra",
)


class GrokVideoOperator(MaskedFieldsMixin, ReportsLineage, BaseOperator):
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
    :param max_cost_usd: refuse, before anything is sent, what will probably cost more; see ``api/prices.py``.
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
        reference_images: Sequence[Media] | None = None,
        video: Media | None = None,
        upload_url: str | None = None,
        user: str | None = None,
        extra: Mapping[str, Any] | None = None,
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        output_path: str | None = None,
        output_conn_id: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        poll_interval: float = 5.0,
        timeout: float = 900.0,
        on_unknown_submission: OnUnknownSubmission = "fail",
        ledger_path: str | None = None,
        max_cost_usd: float | str | Decimal | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_unknown_submission not in {"fail", "resubmit"}:
            raise invalid("on_unknown_submission", on_unknown_submission, "fail or resubmit")
        check_seconds("poll_interval", poll_interval)
        check_seconds("timeout", timeout)
        self.prompt = prompt
        self.model = model
        self.duration = duration
        self.aspect_ratio = aspect_ratio
        self.resolution = resolution
        self.image = image
        self.reference_images = reference_images
        self.video = video
        self.upload_url = upload_url
        self.user = user
        self.extra = extra
        self.grokvideo_conn_id = grokvideo_conn_id
        self.output_path = output_path
        self.output_conn_id = output_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.on_unknown_submission = on_unknown_submission
        self.ledger_path = ledger_path
        self.max_cost_usd = max_cost_usd
        self._request_id: str | None = None

    @cached_property
    def hook(self) -> GrokVideoHook:
        """The hook of this task's connection."""
        return GrokVideoHook(self.grokvideo_conn_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit or resume, then wait and land.

        :return: the result object.
        """
        return self._run(context, time.time() + SUBMISSION_TIMEOUT, attempt=0)

    def execute_postponed(
        self, context: Context, event: Any = None, give_up_at: float | None = None, attempt: int = 1
    ) -> dict[str, Any]:
        """Submit after a pause that was too long for a worker.

        :param give_up_at: seconds since the epoch after which nothing is sent.
        :param attempt: how many were sent before.
        """
        return self._run(context, give_up_at or time.time() + SUBMISSION_TIMEOUT, attempt)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any], asked_at: float | None = None
    ) -> dict[str, Any]:
        """Go on where the trigger ended: land the video or fail.

        :param event: the trigger's.
        :param asked_at: when the generation was asked for, in seconds since the epoch. ``dag.test()`` of Airflow 2
            does not pass it on.
        """
        self._request_id = event.get("request_id")
        asked_at = time.time() if asked_at is None else asked_at
        with self._errors_for_airflow():
            from airflow_provider_grokvideo.finishing import generation_from_event

            return self._finish(context, generation_from_event(self.hook, event, self.timeout), asked_at)

    def on_kill(self) -> None:
        """Say what goes on: the API offers no way to cancel."""
        if self._request_id:
            self.log.warning(
                "Killed while generation %s is under way. It goes on and is billed; a retry or a clear resumes it",
                self._request_id,
            )

    def _run(self, context: Context, give_up_at: float, attempt: int) -> dict[str, Any]:
        from airflow_provider_grokvideo.api.generation import Generation
        from airflow_provider_grokvideo.api.request import DEFAULT_MODEL
        from airflow_provider_grokvideo.finishing import announce
        from airflow_provider_grokvideo.ledger import Resume, Return, Submit, Unknown, decide, decide_resumed
        from airflow_provider_grokvideo.outcome import result_of
        from airflow_provider_grokvideo.submission import unknown_error

        with self._errors_for_airflow():
            ledger = self._ledger(context)
            entry = ledger.read()
            request = self._request(context)
            if not isinstance(request, InvalidRequestError):
                fingerprint = self.hook.fingerprint(request)
            elif entry is None or entry.request_id is None:
                raise request
            else:
                # What is paid for is resumed even where it can no longer be asked for, e.g. for want of its image.
                fingerprint = entry.fingerprint
            step = decide(
                entry,
                fingerprint=fingerprint,
                clear_number=ledger.clear_number,
                on_unknown=self.on_unknown_submission,
            )
            found: Generation | None = None
            if isinstance(step, Resume):
                found = self._ask_once(step.request_id)
                step = decide_resumed(step, found, time.time())
            match step:
                case Return(result):
                    self.log.info("An earlier attempt finished this task; its result is returned")
                    # A retry begins without XComs, and only a task that succeeds has its assets announced.
                    context["ti"].xcom_push(key="request_id", value=result["request_id"])
                    store_links(context, self.hook, result["request_id"])
                    announce(context, self.outlets, result)
                    self.ending = result
                    return dict(result)
                case Unknown(at):
                    reason = "an earlier attempt of this task ended while it submitted"
                    raise unknown_error(reason, self.hook.settings.base_url, at)
                case Resume(request_id, asked_at):
                    self.log.info("Resuming generation %s; nothing is submitted", request_id)
                case Submit(warning):
                    if isinstance(request, InvalidRequestError):
                        raise request
                    if warning:
                        self.log.warning("Submitting a new generation: %s", warning)
                    found, asked_at = None, time.time()
                    request_id = self._submit(request, ledger, fingerprint, give_up_at, attempt)
            self._request_id = request_id
            self.ending = {"request_id": request_id, "status": "pending"}
            context["ti"].xcom_push(key="request_id", value=request_id)
            store_links(context, self.hook, request_id)
            if found is not None and found.is_final:
                return self._finish(context, found, asked_at)
            if not self.wait_for_completion:
                return result_of(
                    found or Generation(request_id, "pending"),
                    None,
                    model=self.model or self.hook.settings.model or DEFAULT_MODEL,
                    elapsed_seconds=time.time() - asked_at,
                )
            if self.deferrable:
                self._defer(request_id, asked_at)
            return self._finish(context, self._follow(request_id), asked_at)

    def _ledger(self, context: Context) -> Ledger:
        from airflow_provider_grokvideo.ledger import open_ledger

        configured = self.ledger_path or self.hook.ledger_path or conf.get("grokvideo", "ledger_path", fallback=None)
        if configured or not self.output_path:
            return open_ledger(context, configured or None)
        from airflow_provider_grokvideo.storage import destination

        return open_ledger(context, destination(self.output_path, "any", self.output_conn_id).parent / ".grokvideo")

    def _request(self, context: Context) -> VideoRequest | InvalidRequestError:
        try:
            return self.hook.prepare(self._asked_for(context))
        except InvalidRequestError as error:
            return error

    def _asked_for(self, context: Context) -> VideoRequest:
        from airflow_provider_grokvideo.api.request import VideoRequest

        return VideoRequest.from_fields(self._request_fields())

    def _request_fields(self) -> dict[str, Any]:
        return {"kind": self.kind, **{name: getattr(self, name) for name in _REQUEST_FIELDS}}

    def _ask_once(self, request_id: str) -> Generation | None:
        """What the API says of a generation that is to be resumed; pending where it cannot be asked now."""
        try:
            return self.hook.get_generation(request_id)
        except GenerationNotFoundError:
            return None
        except GrokVideoError as error:
            from airflow_provider_grokvideo.api.generation import Generation

            self.log.warning("The API cannot be asked about generation %s now: %s", request_id, error)
            return Generation(request_id, "pending")

    def _submit(self, request: VideoRequest, ledger: Ledger, fingerprint: str, give_up_at: float, attempt: int) -> str:
        from airflow_provider_grokvideo.submission import Postponed, submit_once

        self._check_cost(request)
        if self.output_path:
            from airflow_provider_grokvideo.storage import check_writable

            check_writable(self.output_path, self.output_conn_id)
        patience = PATIENCE if self.deferrable else SUBMISSION_TIMEOUT
        try:
            return submit_once(
                self.hook,
                request,
                ledger,
                fingerprint,
                attempt=attempt,
                give_up_at=give_up_at,
                patience=patience,
            )
        except Postponed as postponed:
            from airflow.providers.common.compat.standard.triggers import TimeDeltaTrigger

            self.log.warning(
                "Not accepted, nothing is billed: %s. The worker slot is given back; it is sent again in %.0f s",
                postponed,
                postponed.pause,
            )
            self.defer(
                trigger=TimeDeltaTrigger(timedelta(seconds=postponed.pause)),
                method_name="execute_postponed",
                kwargs={"give_up_at": give_up_at, "attempt": postponed.attempt},
            )
            raise AssertionError("unreachable: defer raises") from None

    def _check_cost(self, request: VideoRequest) -> None:
        from airflow_provider_grokvideo.api.prices import check_cost, estimate

        cost = estimate(request, self.hook.prices)
        self.log.info("This will probably cost %s USD, by list price", "an unknown number of" if cost is None else cost)
        if self.max_cost_usd is not None:
            check_cost(cost, self.max_cost_usd, request)

    def _defer(self, request_id: str, asked_at: float) -> NoReturn:
        from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

        self.log.info(
            "Waiting for generation %s in the triggerer, %g s at most, without a worker slot. "
            "Clearing or killing this task does not stop it: it goes on, is billed, and is resumed",
            request_id,
            float(self.timeout),
        )
        self.defer(
            trigger=GrokVideoTrigger(
                grokvideo_conn_id=self.grokvideo_conn_id,
                request_id=request_id,
                poll_interval=float(self.poll_interval),
                deadline=time.time() + float(self.timeout),
            ),
            method_name="execute_complete",
            kwargs={"asked_at": asked_at},
        )
        raise AssertionError("unreachable: defer raises")

    def _follow(self, request_id: str) -> Generation:
        """Wait on the worker."""
        self.log.info("Waiting for generation %s, %g s at most", request_id, float(self.timeout))
        return self.hook.wait(request_id, poll_interval=float(self.poll_interval), timeout=float(self.timeout))

    def _finish(self, context: Context, generation: Generation, asked_at: float) -> dict[str, Any]:
        from airflow_provider_grokvideo.finishing import finish
        from airflow_provider_grokvideo.outcome import verdict_of

        self.ending = verdict_of(generation)
        self.ending = result = finish(
            self.hook,
            context,
            generation,
            began_at=asked_at,
            output_path=self.output_path,
            output_conn_id=self.output_conn_id,
            outlets=self.outlets,
            model=self.model,
            is_uploaded=bool(self.upload_url),
        )
        self._ledger(context).finished(generation.request_id, result)
        return result

    @contextmanager
    def _errors_for_airflow(self) -> Iterator[None]:
        try:
            yield
        except GrokVideoError as error:
            from airflow_provider_grokvideo.outcome import for_airflow

            resubmit = self.on_unknown_submission == "resubmit" and isinstance(error, SubmissionUnknownError)
            raise for_airflow(error, paid_for=self._request_id is not None or resubmit) from error


class GrokVideoGenerateOperator(GrokVideoOperator):
    """Generate a video from a text, or from images and a text."""

    kind = "generation"


class GrokVideoEditOperator(GrokVideoOperator):
    """Change ``video`` as ``prompt`` says. Duration and look stay those of the video."""

    kind = "edit"


class GrokVideoExtendOperator(GrokVideoOperator):
    """Go on where ``video`` ends, for ``duration`` further seconds, 1 to 10, default 6."""

    kind = "extension"
