"""The rate limit of one process on a simulated clock, and the order of waits on a real loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.rate_limit import (
    BURST,
    MAX_PAUSE,
    RECOVERY_SECONDS,
    SLOWEST,
    AdaptiveRate,
    RateLimiter,
)

START = 5000.0


def send_all(rate: AdaptiveRate, count: int, start: float = START) -> list[float]:
    """Send one request after another, each as soon as it is due; return when."""
    now, sent = start, []
    for _ in range(count):
        now = max(now, rate.due(now))
        rate.sent(now)
        sent.append(now)
    return sent


@pytest.mark.parametrize("asked", [61.0, 3600.0, 86_400.0, 999_999_999.0])
def test_retry_after_delays_others_at_most_a_minute(asked: float) -> None:
    rate = AdaptiveRate(20.0)
    rate.refused(START, START + 1, asked)
    assert rate.due(START + 1) == START + 1 + MAX_PAUSE


@pytest.mark.parametrize("limit", [0.5, 1.0, 20.0, 45.0, 200.0, 5000.0])
def test_limit_is_kept_in_every_window(limit: float) -> None:
    sent = send_all(AdaptiveRate(limit), 300)
    burst = 1 + limit * BURST
    for first in range(0, 300, 7):
        for last in range(first, 300, 11):
            assert last - first + 1 <= (sent[last] - sent[first]) * limit + burst + 1e-6
    assert sent[-1] - sent[0] <= 300 / limit + 1e-6


@pytest.mark.parametrize("limit", [1.0, 20.0])
def test_no_burst_at_a_low_limit(limit: float) -> None:
    sent = send_all(AdaptiveRate(limit), 50)
    assert min(later - earlier for earlier, later in itertools.pairwise(sent)) == pytest.approx(1 / limit)


def test_idle_time_allows_no_burst() -> None:
    rate = AdaptiveRate(2.0)
    send_all(rate, 3)
    sent = send_all(rate, 5, start=START + 10_000)
    assert sent[-1] - sent[0] == pytest.approx(2.0)


def test_rate_limits_of_one_burst_halve_once() -> None:
    rate = AdaptiveRate(20.0)
    sent = send_all(rate, 10)
    answered = sent[-1] + 1
    for at in sent:
        rate.refused(at, answered, None)
    assert rate.rate(answered) == pytest.approx(10.0)


def test_later_rate_limit_halves_again() -> None:
    rate = AdaptiveRate(20.0)
    rate.refused(START, START + 1, None)
    rate.refused(START + 2, START + 3, None)
    assert rate.rate(START + 3) == pytest.approx(5.0, rel=0.05)


def test_rate_never_reaches_zero() -> None:
    rate = AdaptiveRate(20.0)
    for turn in range(1000):
        rate.refused(START + turn, START + turn + 0.5, None)
    assert rate.rate(START + 1000) >= SLOWEST


@pytest.mark.parametrize("limit", [0.01, 0.1])
def test_limit_below_the_minimum_rate_is_kept(limit: float) -> None:
    rate = AdaptiveRate(limit)
    rate.refused(START, START + 1, None)
    assert rate.rate(START + 1) == limit


def test_rate_recovers_gradually() -> None:
    rate = AdaptiveRate(20.0)
    for turn in range(2):
        rate.refused(START + turn, START + turn + 0.5, None)
    now = START + 1.5
    rates = [rate.rate(now + seconds) for seconds in range(0, 300, 10)]
    assert rates == sorted(rates)
    assert rate.rate(now + RECOVERY_SECONDS) == pytest.approx(2 * rate.rate(now))
    assert rate.rate(now + 3 * RECOVERY_SECONDS) == 20.0


@pytest.mark.parametrize("days", [1, 30, 365])
def test_rate_recovers_after_any_time(days: int) -> None:
    rate = AdaptiveRate(20.0)
    rate.refused(START, START + 1, None)
    now = START + days * 86_400
    assert rate.rate(now) == 20.0
    rate.sent(now)
    assert rate.due(now) == pytest.approx(now + 0.05)


def test_retry_after_pauses_all_once() -> None:
    rate = AdaptiveRate(20.0)
    sent = send_all(rate, 5)
    now = sent[-1] + 0.5
    for at in sent:
        rate.refused(at, now, 30.0)
    assert rate.due(now) == now + 30.0
    later = send_all(rate, 10, start=now)
    assert later[0] == now + 30.0
    assert later[-1] - later[0] < 10 / 10


def test_shorter_retry_after_does_not_shorten_a_pause() -> None:
    rate = AdaptiveRate(20.0)
    rate.refused(START, START + 1, 60.0)
    rate.refused(START, START + 2, 5.0)
    assert rate.due(START + 2) == START + 61.0


def test_thousand_waiters_all_get_a_turn() -> None:
    """The API allows one request per second, and refuses what comes sooner; everybody polls every 30 s."""
    rate, now = AdaptiveRate(20.0), START
    asked = dict.fromkeys(range(1000), 0)
    ready = [(START, waiter) for waiter in asked]
    allowed_at, refusals, sent = START, 0, []
    while now < START + 3600:
        wants_at, waiter = heapq.heappop(ready)
        now = max(now, wants_at, rate.due(now))
        rate.sent(now)
        sent.append(now)
        asked[waiter] += 1
        if now < allowed_at:
            refusals += 1
            rate.refused(now, now + 0.1, None)
        else:
            allowed_at = now + 1
        heapq.heappush(ready, (now + 30, waiter))
    assert min(asked.values()) >= 1
    assert max(asked.values()) - min(asked.values()) <= 1
    # What the API allows is nearly used, and what it refuses stays a small part.
    assert len(sent) - refusals > 3600 * 0.5
    assert refusals < len(sent) * 0.25


@given(
    limit=st.floats(0.05, 10_000),
    steps=st.lists(
        st.tuples(st.sampled_from(["wait", "send", "refuse"]), st.floats(0, 200_000)), min_size=1, max_size=40
    ),
)
def test_rate_stays_within_its_bounds(limit: float, steps: list[tuple[str, float]]) -> None:
    rate, now, last_sent = AdaptiveRate(limit), START, START
    for what, number in steps:
        if what == "wait":
            now += number
        elif what == "send":
            now = max(now, rate.due(now))
            rate.sent(now)
            last_sent = now
        else:
            rate.refused(last_sent, now, number)
        assert min(limit, SLOWEST) <= rate.rate(now) <= limit


# --- the queue, on a real event loop ------------------------------------------------------------------


async def test_first_come_first_served() -> None:
    limiter, served = RateLimiter(AdaptiveRate(500.0), 64), []

    async def wait(number: int) -> None:
        await limiter.acquire()
        served.append(number)

    await asyncio.gather(*(wait(number) for number in range(40)))
    assert served == list(range(40))


async def test_cancelled_wait_takes_no_turn() -> None:
    limiter = RateLimiter(AdaptiveRate(40.0), 64)
    await limiter.acquire()
    tasks = [asyncio.create_task(limiter.acquire()) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[:9]:
        task.cancel()
    counted: list[float] = []
    limiter.rate.sent = counted.append  # type: ignore[method-assign]
    await tasks[9]
    assert [task.cancelled() for task in tasks] == [True] * 9 + [False]
    assert len(counted) == 1


async def test_rate_limit_delays_waiting_requests() -> None:
    limiter = RateLimiter(AdaptiveRate(50.0), 64)
    first = await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire())
    await asyncio.sleep(0)
    limiter.refused(first, 0.2)
    resumes_at = limiter.rate.due(0)
    assert resumes_at > first + 0.15
    assert await waiting >= resumes_at
