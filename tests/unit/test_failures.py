"""Errors as they end a task."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationExpiredError,
    GenerationModeratedError,
    GenerationTimeoutError,
    GrokVideoError,
    InvalidRequestError,
    TransportError,
)
from airflow_provider_grokvideo.failures import FinalTaskError, raise_once, to_airflow_exception

REJECTED_KEY = AuthenticationError("no", status=401)
MODERATED = GenerationModeratedError("no", request_id="r")


@pytest.mark.parametrize(
    ("error", "paid_for", "final"),
    [
        (InvalidRequestError("no"), False, True),
        (InvalidRequestError("no"), True, False),
        (REJECTED_KEY, False, True),
        (REJECTED_KEY, True, False),
        (MODERATED, False, True),
        (MODERATED, True, True),
        (GenerationExpiredError("no", request_id="r"), True, False),
        (GenerationTimeoutError("no", request_id="r"), True, False),
        (TransportError("no", delivered=False), False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_only_an_error_that_no_retry_repairs_is_final(error: GrokVideoError, paid_for: bool, final: bool) -> None:
    raised = to_airflow_exception(error, paid_for=paid_for)
    assert isinstance(raised, AirflowFailException) == final
    assert (raised.error if isinstance(raised, FinalTaskError) else raised) is error
    assert str(raised) == str(error)


def fail() -> None:
    """Fail as the package does: with the error of a library behind its own."""
    try:
        Path("/no/such/file").read_bytes()
    except OSError as cause:
        raise InvalidRequestError("The whole sentence.") from cause


@pytest.mark.parametrize("final", [True, False], ids=["final", "retryable"])
def test_failure_is_one_line_and_one_traceback(final: bool, caplog: pytest.LogCaptureFixture) -> None:
    task_log = logging.getLogger("a.task")
    caplog.set_level(logging.INFO, "a.task")
    with pytest.raises((AirflowFailException, GrokVideoError)) as caught:
        try:
            fail()
        except GrokVideoError as error:
            raise_once(error, FinalTaskError(error) if final else error, task_log)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("ERROR", "The whole sentence.")]
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback (most recent call last)") == 1
    assert "/no/such/file" not in shown
    # The place where it happened is in it.
    assert "in fail\n" in shown


def test_causes_are_in_the_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "a.task")
    with pytest.raises(FinalTaskError):
        try:
            fail()
        except GrokVideoError as error:
            raise_once(error, FinalTaskError(error), logging.getLogger("a.task"))
    assert "/no/such/file" in caplog.text
