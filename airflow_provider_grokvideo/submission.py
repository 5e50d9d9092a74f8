"""Asking for a generation once: the ledger before and after the paid POST, and what to do when it is not accepted."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import pendulum

from airflow_provider_grokvideo import metrics
from airflow_provider_grokvideo.exceptions import GrokVideoError, SubmissionUnknownError

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.request import VideoRequest
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
    from airflow_provider_grokvideo.ledger import Ledger

log = logging.getLogger(__name__)


class Postponed(Exception):
    """The submission was not accepted and may be sent again after a pause too long for a worker to sleep.

    :param pause: seconds.
    :param attempt: how many were sent.
    """

    def __init__(self, pause: float, attempt: int, reason: str) -> None:
        super().__init__(reason)
        self.pause = pause
        self.attempt = attempt


def submit_once(
    hook: GrokVideoHook,
    request: VideoRequest,
    ledger: Ledger,
    fingerprint: str,
    *,
    attempt: int,
    give_up_at: float,
    patience: float,
) -> str:
    """Send the paid POST until it is accepted; never again once it may have been.

    :param request: prepared by the hook.
    :param attempt: how many were sent before.
    :param give_up_at: seconds since the epoch after which nothing is sent.
    :param patience: seconds to sleep here at most; a longer pause is :class:`Postponed`.
    :return: the ``request_id``, which the ledger holds, too.
    :raises SubmissionUnknownError: it cannot be known whether the API accepted. The intent stays in the ledger.
    :raises GrokVideoError: the API did not accept. The intent is withdrawn.
    """
    from airflow_provider_grokvideo.api.retry import submit_retry_delay

    while True:
        attempt += 1
        ledger.intend(fingerprint)
        try:
            request_id = hook.client.submit(request)
        except SubmissionUnknownError as error:
            metrics.submission_unknown()
            raise unknown_error(str(error), hook.settings.base_url, time.time()) from error
        except GrokVideoError as error:
            ledger.withdraw()
            pause = submit_retry_delay(error, attempt=attempt, now=time.time(), deadline=give_up_at)
            if pause is None:
                raise
            if pause > patience:
                raise Postponed(pause, attempt, str(error)) from error
            log.warning("Not accepted, nothing is billed: %s. Sending it again in %.1f s", error, pause)
            time.sleep(pause)
            continue
        log.info("Submitted generation %s", request_id)
        metrics.submitted()
        ledger.submitted(fingerprint, request_id)
        return request_id


def unknown_error(reason: str, base_url: str, at: float) -> SubmissionUnknownError:
    """The error of a submission whose outcome nobody can tell, with what a person can do.

    :param at: when it was sent, in seconds since the epoch.
    """
    console = "https://console.x.ai" if "x.ai" in base_url else "the usage log in CometAPI's console"
    moment = pendulum.from_timestamp(at).to_datetime_string()
    return SubmissionUnknownError(
        f"{reason}. It cannot be known whether the API accepted, and bills, this generation, so nothing is submitted "
        f"again. Look it up at {console}, submitted about {moment} UTC. If it is there, adopt it with "
        "GrokVideoSensor(request_id=…, output_path=…). To go on and perhaps pay twice, clear this task, or set "
        'on_unknown_submission="resubmit"'
    )
