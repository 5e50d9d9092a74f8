"""Steps of a running task: submit or resume, wait, finish. Operators and sensor share them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import AirflowFailException, conf
from airflow.providers.common.compat.standard.triggers import TimeDeltaTrigger

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.models import check_cost, describe_cost, estimate
from airflow_provider_grokvideo.api.protocol import OUTCOME_UNKNOWN, poll_url
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.retry import SUBMISSION_TIMEOUT
from airflow_provider_grokvideo.api.summary import RequestSummary, fingerprint_address, fingerprint_request
from airflow_provider_grokvideo.events import generation_from_event, is_stale_event
from airflow_provider_grokvideo.exceptions import (
    GenerationError,
    GenerationNotFoundError,
    GrokVideoError,
    StorageError,
    SubmissionUnknownError,
)
from airflow_provider_grokvideo.ledger import (
    FailUnknown,
    LedgerEntry,
    Resume,
    ReturnResult,
    Submit,
    next_step,
    next_step_after_poll,
)
from airflow_provider_grokvideo.ledger_path import ledger_directories
from airflow_provider_grokvideo.ledger_stores import Ledger, open_ledger
from airflow_provider_grokvideo.links.grokvideo import push_links
from airflow_provider_grokvideo.results import emit_asset_events, failure_summary, finish, to_result
from airflow_provider_grokvideo.storage import check_writable, destination, exists
from airflow_provider_grokvideo.submission import PreparedRequest, RetryLater, submit_once, unknown_error
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger
from airflow_provider_grokvideo.utils.deferral import min_deferral
from airflow_provider_grokvideo.utils.masking import mask

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.operators.grokvideo import GrokVideoOperator

log = logging.getLogger(__name__)

MAX_WORKER_SLEEP = 5.0
"""Seconds that a worker sleeps before it submits again; a longer pause releases the worker slot."""


@dataclass(frozen=True)
class Current:
    """Generation that an attempt continues with.

    :param submitted_at: seconds since the epoch.
    :param generation: its state as polled in this attempt, ``None`` if it was not polled.
    :param result: the recorded result, if nothing is left to do.
    """

    request_id: str
    submitted_at: float
    summary: RequestSummary
    generation: Generation | None = None
    result: dict[str, Any] | None = None


class TaskExecution:
    """One attempt of an operator's task.

    :param operator: the operator, with rendered fields.
    :param context: the context of the running task instance.
    """

    def __init__(self, operator: GrokVideoOperator, context: Context) -> None:
        self.operator, self.context, self.hook = operator, context, operator.hook

    def start(self, submit_deadline: float | None = None, attempt: int = 0) -> dict[str, Any]:
        """Submit or resume, then wait and save the video.

        :param submit_deadline: seconds since the epoch after which nothing is sent.
        :param attempt: how many submissions of this attempt were rejected before.
        :return: the result object.
        """
        submit_deadline = submit_deadline or time.time() + SUBMISSION_TIMEOUT
        with self._airflow_errors():
            try:
                current = self._submit_or_resume(submit_deadline, attempt)
            except RetryLater as later:
                self._defer_submission(later, submit_deadline)
            return self._proceed(current)

    def is_stale(self, try_number: int | None) -> bool:
        """Return whether an event is of an earlier attempt than the running one."""
        return is_stale_event(self.context, try_number)

    def complete(self, event: Mapping[str, Any], submitted_at: float | None, request: object) -> dict[str, Any]:
        """Save the video, or fail, after the trigger's event.

        :param submitted_at: seconds since the epoch.
        :param request: the stored summary of the submitted request; else the one in the ledger is used.
        :return: the result object.
        """
        self.operator.request_id = event.get("request_id")
        with self._airflow_errors():
            self.operator.request_summary = self._summary_of(request)
            generation = generation_from_event(self.hook, event, self.operator.timeout)
            return self._finish(generation, submitted_at or time.time())

    def _submit_or_resume(self, submit_deadline: float, attempt: int) -> Current:
        """Return the generation that this attempt continues with, submitted now or earlier.

        :raises RetryLater: the submission may be sent again after a long pause.
        :raises SubmissionUnknownError: an earlier or this submission has an unknown outcome.
        :raises GrokVideoError: nothing was accepted.
        """
        prepared = self._prepare()
        ledger = self._open_ledger()
        entry = ledger.read()
        fingerprint = prepared.fingerprint if isinstance(prepared, PreparedRequest) else None
        base_url = self.hook.settings.base_url
        address = fingerprint_address(base_url)
        step = next_step(
            entry,
            now=ledger.attempt,
            fingerprint=fingerprint,
            address=address,
            on_unknown=self.operator.on_unknown_submission,
        )
        if isinstance(step, FailUnknown):
            if entry is not None and entry.attempt is None:
                ledger.renew(entry, fingerprint, address)
            reason = f"An earlier attempt of this task ended while it submitted. {OUTCOME_UNKNOWN}"
            raise unknown_error(reason, base_url, step.submitted_at)
        found: Generation | None = None
        if isinstance(step, ReturnResult):
            found = self._poll_once(str(step.entry.request_id))
            result = self._recorded_result(step.entry, found)
            if result is not None:
                log.info("An earlier attempt finished this task. Its result is returned, and nothing is submitted")
                _warn_of_change(step.entry, changed=step.changed)
                ledger.renew(step.entry, fingerprint, address)
                return self._current(step.entry, found, result)
            step = Resume(step.entry, changed=step.changed)
        elif isinstance(step, Resume):
            found = self._poll_once(step.request_id)
            step = next_step_after_poll(step, found, time.time())
        if isinstance(step, Resume):
            log.info("Resuming generation %s. Nothing is submitted", step.request_id)
            _warn_of_change(step.entry, changed=step.changed)
            if step.cleared or step.entry.attempt is None:
                ledger.renew(step.entry, fingerprint, address)
            return self._current(step.entry, found)
        if isinstance(prepared, GrokVideoError):
            raise prepared
        return self._submit(prepared, ledger, step, submit_deadline, attempt)

    def _prepare(self) -> PreparedRequest | GrokVideoError:
        """Return the request, or the error that prevents it: a paid generation is resumed all the same."""
        try:
            given = self.operator._request(self.context)
            request = given if isinstance(given, VideoRequest) else VideoRequest.from_fields(given)
            prepared = self.hook.prepare(request)
        except GrokVideoError as error:
            return error
        return PreparedRequest(
            prepared,
            fingerprint_request(prepared),
            fingerprint_address(self.hook.settings.base_url),
            RequestSummary.of(request, str(prepared.model)),
        )

    def _submit(
        self, prepared: PreparedRequest, ledger: Ledger, step: Submit, submit_deadline: float, attempt: int
    ) -> Current:
        operator = self.operator
        if step.warning:
            log.warning("Submitting a new generation, which is billed: %s", step.warning)
        cost = estimate(prepared.request, self.hook.prices)
        log.info(describe_cost(cost, prepared.request))
        if operator.max_cost_usd is not None:
            check_cost(cost, operator.max_cost_usd, prepared.request)
        if operator.output_path:
            check_writable(operator.output_path, operator.output_conn_id)
        submitted_at = time.time()
        request_id = submit_once(
            self.hook,
            prepared,
            ledger,
            attempt=attempt,
            submit_deadline=submit_deadline,
            max_sleep=MAX_WORKER_SLEEP if operator.deferrable else submit_deadline - submitted_at,
        )
        return Current(request_id, submitted_at, prepared.summary)

    def _poll_once(self, request_id: str) -> Generation | None:
        """Return the generation: pending if it cannot be polled now, ``None`` if the API does not know it."""
        try:
            return self.hook.get_generation(request_id)
        except GenerationNotFoundError:
            return None
        except GrokVideoError as error:
            log.warning("Generation %s cannot be polled now: %s", request_id, error)
            return Generation(request_id, "pending")

    def _recorded_result(self, entry: LedgerEntry, found: Generation | None) -> dict[str, Any] | None:
        """Return the recorded result if it is still true: the same destination, and the video is there."""
        operator = self.operator
        result: Mapping[str, Any] = entry.result or {}
        path = result.get("path")
        target = operator.output_path and str(
            destination(operator.output_path, str(entry.request_id), operator.output_conn_id)
        )
        if path != target and not (path is None and not operator.wait_for_completion):
            log.info("The recorded result names %s, and output_path is now %s. The video is saved again", path, target)
            return None
        if path and not _exists(path):
            log.warning("The saved video %s is gone. It is saved again", path)
            return None
        url = found.video_url if found is not None else None
        waited = operator.wait_for_completion
        uploads = entry.request is not None and entry.request.uploads
        if waited and url is None and path is None and not uploads:
            return None
        status = found.state if found is not None and not waited else result.get("status")
        return {**result, "status": status, "video_url": url}

    def _current(self, entry: LedgerEntry, found: Generation | None, result: dict[str, Any] | None = None) -> Current:
        summary = entry.request or self._assumed_summary()
        return Current(str(entry.request_id), entry.submitted_at, summary, found, result)

    def _summary_of(self, stored: object) -> RequestSummary:
        summary = RequestSummary.from_json(stored)
        if summary is None:
            entry = self._open_ledger().read()
            summary = entry.request if entry is not None else None
        return summary or self._assumed_summary()

    def _assumed_summary(self) -> RequestSummary:
        """Return the operator's arguments as the summary, if an earlier release has stored none."""
        model = self.operator.model or self.hook.default_model
        return RequestSummary(str(model), self.operator.kind, uploads=bool(self.operator.upload_url))

    def _open_ledger(self) -> Ledger:
        """Return the ledger of the running task instance.

        :raises InvalidRequestError: a retry would not find it again.
        """
        operator = self.operator
        return open_ledger(
            self.context,
            ledger_directories(
                operator.output_path,
                output_template=operator.templates.get("output_path", operator.output_path),
                output_conn_id=operator.output_conn_id,
                configured=operator.ledger_path
                or self.hook.ledger_path
                or conf.get("grokvideo", "ledger_path", fallback=None)
                or None,
                configured_template=operator.templates.get("ledger_path", operator.ledger_path),
                required=self.context.get("task_state_store") is None,
            ),
        )

    def _proceed(self, current: Current) -> dict[str, Any]:
        """Wait for the generation and save it, as far as that is still to do."""
        operator = self.operator
        operator.request_id = current.request_id
        operator.request_summary = current.summary
        operator.run_summary = {"request_id": current.request_id, "status": "pending"}
        self.context["ti"].xcom_push(key="request_id", value=current.request_id)
        push_links(self.context, poll_url(self.hook.settings, current.request_id))
        if current.result is not None:
            # A retry starts without XComs, and Airflow records asset events only of a task that succeeds.
            emit_asset_events(self.context, operator.outlets, current.result)
            operator.run_summary = current.result
            return current.result
        generation = current.generation
        if generation is not None and generation.is_final:
            return self._finish(generation, current.submitted_at)
        if not operator.wait_for_completion:
            result = to_result(
                generation or Generation(current.request_id, "pending"),
                None,
                model=current.summary.model,
                elapsed_seconds=time.time() - current.submitted_at,
            )
            self._open_ledger().record_result(current.request_id, result)
            return result
        if operator.deferrable:
            self._defer(current)
        operator.log.info("Waiting for generation %s on this worker, up to %g s", current.request_id, operator.timeout)
        generation = self.hook.wait(current.request_id, poll_interval=operator.poll_interval, timeout=operator.timeout)
        return self._finish(generation, current.submitted_at)

    def _finish(self, generation: Generation, submitted_at: float) -> dict[str, Any]:
        operator = self.operator
        assert operator.request_summary is not None  # noqa: S101  # every entry point sets it first
        operator.run_summary = failure_summary(generation)
        operator.run_summary = result = finish(
            self.hook,
            self.context,
            generation,
            started_at=submitted_at,
            output_path=operator.output_path,
            output_conn_id=operator.output_conn_id,
            outlets=operator.outlets,
            model=operator.request_summary.model,
            is_uploaded=operator.request_summary.uploads,
        )
        self._open_ledger().record_result(generation.request_id, result)
        return result

    def _defer_submission(self, later: RetryLater, submit_deadline: float) -> NoReturn:
        pause = max(later.pause, min_deferral())
        self.operator.log.warning(
            "%s The worker slot is released, and the next try is in %.0f s",
            later,
            pause,
        )
        self.operator.defer(
            trigger=TimeDeltaTrigger(timedelta(seconds=pause)),
            method_name="execute_resubmit",
            kwargs={
                "submit_deadline": submit_deadline,
                "attempt": later.attempt,
                "try_number": self.context["ti"].try_number,
            },
        )
        raise AssertionError("unreachable: defer raises") from None

    def _defer(self, current: Current) -> NoReturn:
        operator = self.operator
        operator.log.info(
            "Waiting for generation %s in the triggerer, up to %g s, without a worker slot. Killing or clearing this "
            "task does not cancel the generation. It is billed, and the next attempt resumes it",
            current.request_id,
            operator.timeout,
        )
        # The prompt of a decorated task is not set if its function failed.
        prompt = mask(operator.prompt) if isinstance(operator.prompt, str) else None
        operator.defer(
            trigger=GrokVideoTrigger(
                grokvideo_conn_id=operator.grokvideo_conn_id,
                request_id=current.request_id,
                poll_interval=operator.poll_interval,
                deadline=time.time() + operator.timeout,
            ),
            method_name="execute_complete",
            kwargs={
                "submitted_at": current.submitted_at,
                "request": {**current.summary.to_json(), "prompt": prompt},
                "try_number": self.context["ti"].try_number,
            },
        )
        raise AssertionError("unreachable: defer raises")

    @contextmanager
    def _airflow_errors(self) -> Iterator[None]:
        try:
            yield
        except GrokVideoError as error:
            resubmit = self.operator.on_unknown_submission == "resubmit" and isinstance(error, SubmissionUnknownError)
            raise to_airflow_exception(error, paid_for=self.operator.request_id is not None or resubmit) from error


def to_airflow_exception(error: GrokVideoError, *, paid_for: bool = False) -> Exception:
    """Return the error as a task raises it: one that a retry cannot repair forbids the retry.

    :param paid_for: whether a generation is under way. A retry resumes it free of charge, so that only a final state
        of the generation itself forbids the retry.
    """
    final = not error.retryable and (isinstance(error, GenerationError) or not paid_for)
    return AirflowFailException(str(error)) if final else error


def _exists(path: str) -> bool:
    try:
        return exists(path)
    except StorageError as error:
        log.warning("The saved video cannot be looked for now: %s", error)
        return True


def _warn_of_change(entry: LedgerEntry, *, changed: bool) -> None:
    if changed:
        log.warning(
            "The request of this attempt differs from the one that was submitted as generation %s, which is paid for "
            "and is used. To submit and pay for the new request, clear this task",
            entry.request_id,
        )
