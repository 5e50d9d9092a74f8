"""What a running task does with what its ledger holds: submit, resume, or return what is recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.models import check_cost, describe_cost, estimate
from airflow_provider_grokvideo.api.summary import RequestSummary, fingerprint_address, fingerprint_request
from airflow_provider_grokvideo.exceptions import GenerationNotFoundError, GrokVideoError, StorageError
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
from airflow_provider_grokvideo.storage import check_writable, destination, exists
from airflow_provider_grokvideo.submission import PreparedRequest, submit_once, unknown_error

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.api.request import VideoRequest
    from airflow_provider_grokvideo.operators.grokvideo import GrokVideoOperator

log = logging.getLogger(__name__)

MAX_WORKER_SLEEP = 5.0
"""Seconds that a worker sleeps before it submits again; a longer pause gives the worker slot back."""


@dataclass(frozen=True)
class Current:
    """The generation that an attempt goes on with.

    :param submitted_at: seconds since the epoch.
    :param generation: what the API said of it in this attempt, ``None`` where it was not asked.
    :param result: the recorded result, where there is nothing left to do.
    """

    request_id: str
    submitted_at: float
    summary: RequestSummary
    generation: Generation | None = None
    result: dict[str, Any] | None = field(default=None)


def open_task_ledger(operator: GrokVideoOperator, context: Context) -> Ledger:
    """Return the ledger of the running task instance.

    :raises InvalidRequestError: a retry would not find it again.
    """
    return open_ledger(
        context,
        ledger_directories(
            operator.output_path,
            output_template=operator.templates.get("output_path", operator.output_path),
            output_conn_id=operator.output_conn_id,
            configured=operator.ledger_path
            or operator.hook.ledger_path
            or conf.get("grokvideo", "ledger_path", fallback=None)
            or None,
            configured_template=operator.templates.get("ledger_path", operator.ledger_path),
            required=context.get("task_state_store") is None,
        ),
    )


def submit_or_resume(
    operator: GrokVideoOperator,
    context: Context,
    request: VideoRequest | GrokVideoError,
    *,
    submit_deadline: float,
    attempt: int,
) -> Current:
    """Return the generation that this attempt goes on with, submitted now or earlier.

    :param request: the request at hand, or why it cannot be made; what is paid for is resumed all the same.
    :param submit_deadline: seconds since the epoch after which nothing is sent.
    :param attempt: how many submissions of this attempt were rejected before.
    :raises RetryLater: the submission may be sent again after a long pause.
    :raises SubmissionUnknownError: an earlier or this submission has an unknown outcome.
    :raises GrokVideoError: nothing was accepted.
    """
    prepared = _prepare(operator, request)
    ledger = open_task_ledger(operator, context)
    entry = ledger.read()
    fingerprint = prepared.fingerprint if isinstance(prepared, PreparedRequest) else None
    address = fingerprint_address(operator.hook.settings.base_url)
    step = next_step(
        entry,
        now=ledger.attempt,
        fingerprint=fingerprint,
        address=address,
        on_unknown=operator.on_unknown_submission,
    )
    if isinstance(step, FailUnknown):
        if entry is not None and entry.attempt is None:
            ledger.renew(entry, fingerprint, address)
        reason = "An earlier attempt of this task ended while it submitted"
        raise unknown_error(reason, operator.hook.settings.base_url, step.submitted_at)
    found: Generation | None = None
    if isinstance(step, ReturnResult):
        found = poll_once(operator, str(step.entry.request_id))
        result = _recorded_result(operator, step.entry, found)
        if result is not None:
            log.info("An earlier attempt finished this task; its result is returned and nothing is submitted")
            _warn_of_change(step.entry, changed=step.changed)
            ledger.renew(step.entry, fingerprint, address)
            return _current(operator, step.entry, found, result)
        step = Resume(step.entry, changed=step.changed)
    elif isinstance(step, Resume):
        found = poll_once(operator, step.request_id)
        step = next_step_after_poll(step, found, time.time())
    if isinstance(step, Resume):
        log.info("Resuming generation %s; nothing is submitted", step.request_id)
        _warn_of_change(step.entry, changed=step.changed)
        if step.cleared or step.entry.attempt is None:
            ledger.renew(step.entry, fingerprint, address)
        return _current(operator, step.entry, found)
    if isinstance(prepared, GrokVideoError):
        raise prepared
    return _submit(operator, prepared, ledger, step, submit_deadline=submit_deadline, attempt=attempt)


def poll_once(operator: GrokVideoOperator, request_id: str) -> Generation | None:
    """Return what the API says of a generation: pending where it cannot be asked now, ``None`` where it is unknown."""
    try:
        return operator.hook.get_generation(request_id)
    except GenerationNotFoundError:
        return None
    except GrokVideoError as error:
        log.warning("Generation %s cannot be polled now: %s", request_id, error)
        return Generation(request_id, "pending")


def summary_of(operator: GrokVideoOperator, context: Context, stored: object) -> RequestSummary:
    """Return the summary of the submitted request.

    :param stored: as it was passed along with the deferral; else it is in the ledger.
    """
    summary = RequestSummary.from_json(stored)
    if summary is None:
        entry = open_task_ledger(operator, context).read()
        summary = entry.request if entry is not None else None
    return summary or _assumed_summary(operator)


def _prepare(operator: GrokVideoOperator, request: VideoRequest | GrokVideoError) -> PreparedRequest | GrokVideoError:
    if isinstance(request, GrokVideoError):
        return request
    try:
        prepared = operator.hook.prepare(request)
    except GrokVideoError as error:
        return error
    return PreparedRequest(
        prepared,
        fingerprint_request(prepared),
        fingerprint_address(operator.hook.settings.base_url),
        RequestSummary.of(request, str(prepared.model)),
    )


def _submit(
    operator: GrokVideoOperator,
    prepared: PreparedRequest,
    ledger: Ledger,
    step: Submit,
    *,
    submit_deadline: float,
    attempt: int,
) -> Current:
    if step.warning:
        log.warning("Submitting a new generation, which is billed: %s", step.warning)
    _check_cost(operator, prepared.request)
    if operator.output_path:
        check_writable(operator.output_path, operator.output_conn_id)
    submitted_at = time.time()
    request_id = submit_once(
        operator.hook,
        prepared,
        ledger,
        attempt=attempt,
        submit_deadline=submit_deadline,
        max_sleep=MAX_WORKER_SLEEP if operator.deferrable else submit_deadline - submitted_at,
    )
    return Current(request_id, submitted_at, prepared.summary)


def _check_cost(operator: GrokVideoOperator, request: VideoRequest) -> None:
    cost = estimate(request, operator.hook.prices)
    log.info(describe_cost(cost, request))
    if operator.max_cost_usd is not None:
        check_cost(cost, operator.max_cost_usd, request)


def _recorded_result(
    operator: GrokVideoOperator, entry: LedgerEntry, found: Generation | None
) -> dict[str, Any] | None:
    """Return the recorded result if it is still true: the same destination, and the video is there."""
    result: Mapping[str, Any] = entry.result or {}
    path = result.get("path")
    target = operator.output_path and str(
        destination(operator.output_path, str(entry.request_id), operator.output_conn_id)
    )
    if path != target and not (path is None and not operator.wait_for_completion):
        log.info("The recorded result names %s, and output_path is now %s: the video is saved again", path, target)
        return None
    if path and not _exists(path):
        log.warning("The saved video %s is gone: it is saved again", path)
        return None
    url = found.video_url if found is not None else None
    waited = operator.wait_for_completion
    uploads = entry.request is not None and entry.request.uploads
    if waited and url is None and path is None and not uploads:
        return None
    status = found.state if found is not None and not waited else result.get("status")
    return {**result, "status": status, "video_url": url}


def _exists(path: str) -> bool:
    try:
        return exists(path)
    except StorageError as error:
        log.warning("Whether the saved video is there cannot be found out now: %s", error)
        return True


def _current(
    operator: GrokVideoOperator, entry: LedgerEntry, found: Generation | None, result: dict[str, Any] | None = None
) -> Current:
    summary = entry.request or _assumed_summary(operator)
    return Current(str(entry.request_id), entry.submitted_at, summary, found, result)


def _assumed_summary(operator: GrokVideoOperator) -> RequestSummary:
    """Return what the operator's arguments say, where an earlier release has kept no summary."""
    model = operator.model or operator.hook.default_model
    return RequestSummary(str(model), operator.kind, uploads=bool(operator.upload_url))


def _warn_of_change(entry: LedgerEntry, *, changed: bool) -> None:
    if changed:
        log.warning(
            "The request of this attempt differs from the one that was submitted as generation %s, which is paid for "
            "and is used. To submit and pay for the new request, clear this task",
            entry.request_id,
        )
