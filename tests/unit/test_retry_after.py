"""How long an answer asks to wait, read from its ``Retry-After``."""

from __future__ import annotations

import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.exceptions import RateLimitError
from tests.support.api_answers import COMET, answer, comet


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("0", 0.0),
        (" 1.5 ", 1.5),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("9" * 400, None),
        ("Mon, 32 Foo 2099 10:00:00 GMT", None),
        (email.utils.formatdate(0, usegmt=True), 0.0),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_retry_after_is_read_or_ignored(value: str, seconds: float | None) -> None:
    assert protocol.retry_after({"retry-after": value}) == seconds


def test_retry_after_may_be_a_date() -> None:
    asked = protocol.retry_after({"retry-after": email.utils.formatdate(time.time() + 5000, usegmt=True)})
    assert asked is not None
    assert 4000 < asked <= 5001


def test_rate_limit_error_carries_retry_after() -> None:
    with pytest.raises(RateLimitError) as caught:
        protocol.read_submission(COMET, answer(429, comet("slow down"), retry_after="7"))
    assert caught.value.retry_after == 7.0


@given(st.text())
def test_retry_after_never_fails(value: str) -> None:
    asked = protocol.retry_after({"retry-after": value})
    assert asked is None or 0 <= asked < float("inf")
