"""Paid POST of a generation: sent once, with the ledger written before and after it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pendulum

from airflow_provider_grokvideo.api.protocol import unreachable_error
from airflow_provider_grokvideo.api.retry import SUBMISSION_TIMEOUT, submit_retry_delay
from airflow_provider_grokvideo.exceptions import GrokVideoError, SubmissionUnknownError, TransportError
from airflow_provider_grokvideo.utils import metrics

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.request import VideoRequest
    from airflow_provider_grokvideo.api.summary import RequestSummary
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
    from airflow_provider_grokvideo.ledger_stores import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRequest:
    """Request that is ready to be sent, with what the ledger stores of it.

    :param request: with its model set and its images read.
    :param fingerprint: of the request, to recognise it in later attempts.
    :param address: fingerprint of the API's address.
    :param summary: the facts that later steps need.
    """

    request: VideoRequest
    fingerprint: str
    address: str
    summary: RequestSummary


class RetryLater(Exception):
    """Signal that a submission was not accepted and may be sent again, after a pause too long for a worker.

    :param pause: seconds.
    :param attempt: number of submissions sent.
    """

    def __init__(self, pause: float, attempt: int, reason: str) -> None:
        super().__init__(reason)
        self.pause = pause
        self.attempt = attempt


def submit_once(
    hook: GrokVideoHook,
    prepared: PreparedRequest,
    ledger: Ledger,
    *,
    attempt: int,
    submit_deadline: float,
    max_sleep: float,
) -> str:
    """Send the paid POST until it is accepted, and never again after it may have been accepted.

    :param attempt: number of submissions sent before.
    :param submit_deadline: seconds since the epoch after which nothing is sent.
    :param max_sleep: maximum seconds to sleep here; a longer pause raises :class:`RetryLater`.
    :return: the ``request_id``, which is also in the ledger.
    :raises SubmissionUnknownError: the outcome is unknown. The intent stays in the ledger.
    :raises LedgerError: the intent could not be recorded, or another process of this task instance submits.
    :raises GrokVideoError: the API did not accept it. The previous entry is restored.
    """
    while True:
        attempt += 1
        ledger.record_intent(prepared.fingerprint, prepared.address, prepared.summary)
        try:
            request_id = hook.client.submit(prepared.request)
        except SubmissionUnknownError as error:
            metrics.submission_unknown()
            raise unknown_error(str(error), hook.settings.base_url, time.time()) from error
        except GrokVideoError as error:
            ledger.restore()
            pause = submit_retry_delay(error, attempt=attempt, now=time.time(), deadline=submit_deadline)
            if pause is None:
                if isinstance(error, TransportError):
                    seconds = max(0.0, time.time() - submit_deadline + SUBMISSION_TIMEOUT)
                    tries = f" after {attempt} attempts in {seconds:.0f} s" if attempt > 1 else ""
                    raise unreachable_error(hook.settings, error.reason, tries) from error
                raise
            if pause > max_sleep:
                raise RetryLater(pause, attempt, str(error)) from error
            log.warning("%s The next try is in %.1f s", error, pause)
            time.sleep(pause)
            continue
        log.info("Submitted generation %s", request_id)
        metrics.submitted()
        ledger.record_submitted(prepared.fingerprint, prepared.address, prepared.summary, request_id)
        return request_id


def unknown_error(reason: str, base_url: str, submitted_at: float) -> SubmissionUnknownError:
    """Return the error of a submission with an unknown outcome, with what a person can do.

    :param reason: sentences that say what happened.
    :param submitted_at: when it was sent, in seconds since the epoch.
    """
    console = "https://console.x.ai" if "x.ai" in base_url else "the usage log in CometAPI's console"
    moment = pendulum.from_timestamp(submitted_at).to_datetime_string()
    return SubmissionUnknownError(
        f"{reason} Nothing is submitted again. Look it up at {console}, submitted about {moment} UTC. If it is there, "
        "save it with GrokVideoSensor(request_id=…, output_path=…). To submit again, and perhaps pay twice, clear this "
        'task, or set on_unknown_submission="resubmit".'
    )
