"""Errors of tasks: messages of failed generations, and which errors forbid a retry."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_grokvideo import exceptions
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    DownloadError,
    GenerationError,
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


def ended(state: Any, **more: Any) -> Generation:
    """Return a generation that ended badly."""
    return Generation(ID, state, raw_status=state, **more)


@pytest.mark.parametrize(
    ("generation", "kind", "words"),
    [
        pytest.param(
            ended("failed", error_code="internal_error", error_message="the renderer crashed"),
            GenerationFailedError,
            ("failed", "the renderer crashed", "internal_error", "retry"),
            id="failed",
        ),
        pytest.param(ended("failed"), GenerationFailedError, ("the API gives no reason",), id="failed-without-a-word"),
        pytest.param(ended("expired"), GenerationExpiredError, ("expired", "pays for a new one"), id="expired"),
        pytest.param(
            ended("moderated", cost_usd=Decimal("0.2500000000"), error_message="blocked"),
            GenerationModeratedError,
            ("content moderation", "blocked", "it cost 0.2500000000 USD", "change it"),
            id="moderated-and-billed",
        ),
        pytest.param(ended("failed", cost_usd=Decimal(0)), GenerationFailedError, ("it cost 0 USD",), id="free"),
    ],
)
def test_error_names_generation_reason_cost_and_advice(
    generation: Generation, kind: type[GenerationError], words: tuple[str, ...]
) -> None:
    error = GenerationError.from_generation(generation)
    assert type(error) is kind
    assert error.request_id == ID
    assert error.code == generation.error_code
    assert [word for word in (ID, *words) if word not in str(error)] == []


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
