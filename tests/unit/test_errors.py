"""Errors of tasks: messages of failed generations, and which errors forbid a retry."""

from __future__ import annotations

import re

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_grokvideo import exceptions
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    DownloadError,
    GenerationExpiredError,
    GenerationFailedError,
    GenerationModeratedError,
    GenerationNotFoundError,
    GenerationTimeoutError,
    GrokVideoError,
    InsufficientQuotaError,
    InvalidRequestError,
    LedgerError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
)
from airflow_provider_grokvideo.execution import to_airflow_exception

ID = "a3d1008e-4544-40d4-d075-11527e794e4a"


CLASSES = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, GrokVideoError)]

# (error, final if nothing is paid for, final if a generation is paid for)
RETRIES: list[tuple[GrokVideoError, bool, bool]] = [
    (InvalidRequestError("bad"), True, False),
    (AuthenticationError("bad", status=401), True, False),
    (InsufficientQuotaError("bad", status=403), True, False),
    (RequestRejectedError("bad", status=400), True, False),
    (GenerationNotFoundError("bad", status=404), True, False),
    (SubmissionUnknownError("bad"), True, False),
    (GenerationModeratedError("bad", request_id=ID), True, True),
    (GenerationFailedError("bad", request_id=ID), False, False),
    (GenerationExpiredError("bad", request_id=ID), False, False),
    (GenerationTimeoutError("bad", request_id=ID), False, False),
    (RateLimitError("bad"), False, False),
    (ServerError("bad", status=500), False, False),
    (TransportError("bad", delivered=False), False, False),
    (DownloadError("bad"), False, False),
    (LedgerError("bad"), False, False),
]


@pytest.mark.parametrize(("error", "alone", "paid"), RETRIES, ids=[type(case[0]).__name__ for case in RETRIES])
def test_final_error_forbids_retry(error: GrokVideoError, alone: bool, paid: bool) -> None:
    for paid_for, final in ((False, alone), (True, paid)):
        raised = to_airflow_exception(error, paid_for=paid_for)
        assert isinstance(raised, AirflowFailException) is final
        assert str(raised) == str(error)
        assert final or raised is error


def test_fail_exception_is_airflow_exception() -> None:
    assert issubclass(AirflowFailException, AirflowException)


def test_docstring_lists_every_error_class() -> None:
    drawn = set(re.findall(r"\b\w+Error\b", str(exceptions.__doc__)))
    assert drawn == {kind.__name__ for kind in CLASSES} | {"ValueError"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_error_class_documents_billing_and_retry(kind: type[GrokVideoError]) -> None:
    text = str(kind.__doc__).lower()
    assert re.search(r"billed|bill it|submitted", text)
    assert "retry" in text
