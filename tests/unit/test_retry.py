"""Whether and when a rejected submission is sent again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.retry import (
    MAX_ATTEMPTS,
    MAX_BACKOFF,
    MAX_UNREACHED_ATTEMPTS,
    SUBMISSION_TIMEOUT,
    submit_retry_delay,
)
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GrokVideoError,
    InsufficientQuotaError,
    InvalidRequestError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
)

NOW = 1_790_000_000.0
UNREACHED = TransportError("refused", delivered=False)


def pause(error: GrokVideoError, *, attempt: int = 1, left: float = 600.0, jitter: float = 0.0) -> float | None:
    """Return the pause with a fixed share of the jitter."""
    return submit_retry_delay(
        error,
        attempt=attempt,
        now=NOW,
        deadline=NOW + left,
        uniform=lambda low, high: low + (high - low) * jitter,
    )


@pytest.mark.parametrize(
    "error",
    [
        SubmissionUnknownError("who knows"),
        TransportError("lost", delivered=True),
        InvalidRequestError("no"),
        AuthenticationError("no", status=401),
        InsufficientQuotaError("no", status=429),
        RequestRejectedError("no", status=400),
        ServerError("no", status=500),
        GrokVideoError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("attempt", [1, 2, 50])
def test_possibly_accepted_post_is_not_repeated(error: GrokVideoError, attempt: int) -> None:
    assert pause(error, attempt=attempt) is None


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        pytest.param(RateLimitError("", retry_after=7.0), 1, 7.0, id="as-told"),
        pytest.param(RateLimitError("", retry_after=0.0), 1, 1.0, id="told-at-once-1"),
        pytest.param(RateLimitError("", retry_after=0.0), 3, 4.0, id="told-at-once-3"),
        pytest.param(RateLimitError("", retry_after=0.001), 5, 16.0, id="told-a-moment-5"),
        pytest.param(RateLimitError("", retry_after=1.0), 9, MAX_BACKOFF, id="told-a-second-9"),
        pytest.param(RateLimitError("", retry_after=90.0), 9, 90.0, id="as-told-also-when-long"),
        pytest.param(RateLimitError("", retry_after=1.0), MAX_ATTEMPTS - 1, MAX_BACKOFF, id="last-attempt-but-one"),
        pytest.param(RateLimitError("", retry_after=1.0), MAX_ATTEMPTS, None, id="attempts-used-up"),
        pytest.param(RateLimitError(""), 1, 1.0, id="not-told-1"),
        pytest.param(RateLimitError(""), 4, 8.0, id="not-told-4"),
        pytest.param(RateLimitError(""), 12, MAX_BACKOFF, id="not-told-longest"),
        pytest.param(UNREACHED, 1, 1.0, id="unreached-1"),
        pytest.param(UNREACHED, MAX_UNREACHED_ATTEMPTS - 1, 8.0, id="unreached-last"),
        pytest.param(UNREACHED, MAX_UNREACHED_ATTEMPTS, None, id="unreached-left-to-the-retry"),
    ],
)
def test_rejected_post_waits_and_is_repeated(error: GrokVideoError, attempt: int, expected: float | None) -> None:
    assert pause(error, attempt=attempt) == expected


@pytest.mark.parametrize(
    ("retry_after", "left", "goes_on"),
    [(10.0, 10.0, True), (10.1, 10.0, False), (999_999_999.0, 600.0, False), (1.0, -1.0, False)],
    ids=["just-in-time", "just-too-late", "absurd", "over-already"],
)
def test_nothing_is_sent_after_the_total_timeout(retry_after: float, left: float, goes_on: bool) -> None:
    assert (pause(RateLimitError("", retry_after=retry_after), left=left) is not None) is goes_on


@given(
    retry_after=st.none() | st.floats(0, 10_000),
    attempt=st.integers(1, 500),
    left=st.floats(0, 1000),
    jitter=st.floats(0, 1),
)
def test_pause_respects_retry_after_and_timeout(
    retry_after: float | None, attempt: int, left: float, jitter: float
) -> None:
    seconds = pause(RateLimitError("", retry_after=retry_after), attempt=attempt, left=left, jitter=jitter)
    if seconds is not None:
        assert (retry_after or 0.0) <= seconds <= left + 1e-6


def test_pauses_of_parallel_tasks_are_spread() -> None:
    pauses = {pause(RateLimitError("", retry_after=5.0), jitter=share / 10) for share in range(11)}
    assert len(pauses) == 11
    assert max(filter(None, pauses)) <= 5.0 * 1.25


@pytest.mark.parametrize("retry_after", [None, 0.0, 0.001, 1.0, 30.0, 59.0])
def test_number_of_posts_is_bounded(retry_after: float | None) -> None:
    now, attempt = 0.0, 0
    while True:
        attempt += 1
        error = RateLimitError("", retry_after=retry_after)
        seconds = submit_retry_delay(error, attempt=attempt, now=now, deadline=SUBMISSION_TIMEOUT)
        if seconds is None:
            break
        now += seconds
    assert now <= SUBMISSION_TIMEOUT
    assert attempt <= MAX_ATTEMPTS
    assert attempt >= 8


def test_jitter_makes_pause_longer_by_at_most_a_quarter() -> None:
    assert pause(RateLimitError("", retry_after=8.0), jitter=1.0) == 10.0
