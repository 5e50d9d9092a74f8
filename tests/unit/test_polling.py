"""When a wait polls and when it ends, on a simulated clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.generation import Generation, State
from airflow_provider_grokvideo.api.polling import (
    DEADLINE_GRACE,
    FAILURE_TOLERANCE,
    MAX_AUTH_FAILURES,
    MAX_INTERVAL,
    REFUSAL_TOLERANCE,
    REPORT_INTERVAL,
    PollAgain,
    Poller,
    Stop,
)
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationNotFoundError,
    GrokVideoError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    TransportError,
)

ID = "a3d1008e"
START = 1_790_000_000.0
JITTER = 1.1

LOST = TransportError("connection reset", delivered=True)
BROKEN = ServerError("oh", status=500)
LIMITED = RateLimitError("slow down")
BAD_KEY = AuthenticationError("no", status=401)
NOT_FOUND = GenerationNotFoundError("task_not_exist", status=400)
REJECTED = RequestRejectedError("no", status=400)


def told(state: State = "pending", progress: int | None = None, raw_status: str = "processing") -> Generation:
    """Return what the API said."""
    return Generation(ID, state, progress=progress, raw_status=raw_status)


@dataclass
class Wait:
    """One wait: every poll's time, and how it ended."""

    stop: Stop
    ended: float
    polls: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    reports: list[float] = field(default_factory=list)


def simulate(
    api: Callable[[float], Generation | GrokVideoError],
    *,
    poll_interval: float = 5.0,
    timeout: float = 900.0,
    seed: int = 1,
) -> Wait:
    """Wait as worker and trigger do; times are seconds since the start. ``api`` answers for a time."""
    now = START
    poller = Poller(poll_interval=poll_interval, deadline=START + timeout, now=now, uniform=random.Random(seed).uniform)
    polls, delays, reports = [], [], []
    decision: PollAgain | Stop = PollAgain(poller.first_delay(), report=False)
    while isinstance(decision, PollAgain):
        assert decision.delay >= 0
        delays.append(decision.delay)
        now += decision.delay
        polls.append(now - START)
        answer = api(now - START)
        failed = isinstance(answer, GrokVideoError)
        decision = poller.on_error(answer, now) if failed else poller.on_generation(answer, now)
        if isinstance(decision, PollAgain) and decision.report:
            reports.append(now - START)
    assert poller.polls == len(polls)
    return Wait(decision, now - START, polls, delays, reports)


# --- how often ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "least", "most"),
    [pytest.param(60, 10, 14, id="minute"), pytest.param(3600, 300, 420, id="hour")],
)
def test_quiet_wait_needs_few_polls(timeout: float, least: int, most: int) -> None:
    wait = simulate(lambda _: told(), timeout=timeout)
    assert wait.stop.outcome == "timeout"
    assert least <= len(wait.polls) <= most


@given(
    interval=st.floats(0.05, 120),
    timeout=st.floats(1, 2000),
    news=st.lists(
        st.sampled_from([LOST, BROKEN, LIMITED, RateLimitError("", retry_after=3.0)])
        | st.integers(0, 100).map(lambda progress: told(progress=progress))
        | st.just(told()),
        min_size=1,
        max_size=30,
    ),
    seed=st.integers(0, 100),
)
def test_pause_respects_interval_and_deadline(
    interval: float, timeout: float, news: list[Generation | GrokVideoError], seed: int
) -> None:
    answers = iter(news)
    wait = simulate(lambda _: next(answers, told()), poll_interval=interval, timeout=timeout, seed=seed)
    assert 0 <= wait.delays[0] <= interval
    # The last pause is cut at the deadline, where the wait asks once more.
    assert [
        delay
        for delay, at in zip(wait.delays[1:], wait.polls[1:], strict=True)
        if delay < interval and at < timeout - 1e-6
    ] == []
    assert [delay for delay in wait.delays if delay > max(MAX_INTERVAL, interval) * JITTER] == []
    # A poll falls on the deadline, and is repeated for a while where it fails.
    assert any(at == pytest.approx(timeout) for at in wait.polls)
    assert timeout - 1e-6 <= wait.ended <= timeout + DEADLINE_GRACE + 1e-6


def test_first_polls_of_waits_that_start_together_are_spread() -> None:
    firsts = [simulate(lambda _: told("done"), seed=seed).polls[0] for seed in range(200)]
    assert 2.5 <= min(firsts) < 3
    assert max(firsts) > 4.5
    assert len(set(firsts)) == 200


def test_pauses_are_jittered() -> None:
    delays = simulate(lambda _: told()).delays
    assert len(set(delays)) == len(delays) > 50


@pytest.mark.parametrize("asked", [40.0, 300.0])
def test_rate_limit_pause_is_respected(asked: float) -> None:
    answers = iter([RateLimitError("slow down", retry_after=asked)])
    wait = simulate(lambda _: next(answers, told("done")))
    assert asked <= wait.delays[1] <= asked * JITTER


# --- progress -----------------------------------------------------------------------------------------


def steady(duration: float, *, step: int = 1) -> Callable[[float], Generation]:
    """Return an API whose progress grows evenly in steps of ``step`` percent until ``duration``."""

    def answer(at: float) -> Generation:
        if at >= duration:
            return told("done", 100, "done")
        return told(progress=int(100 * at / duration) // step * step)

    return answer


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("step", [1, 10])
@pytest.mark.parametrize("duration", [20.0, 60.0, 300.0, 800.0, 3000.0])
@pytest.mark.parametrize("interval", [1.0, 5.0, 15.0])
def test_end_of_progress_is_noticed_within_one_interval(interval: float, duration: float, step: int, seed: int) -> None:
    wait = simulate(steady(duration, step=step), poll_interval=interval, timeout=10_000, seed=seed)
    assert wait.stop.outcome == "final"
    # Progress in rare coarse steps is a quiet wait: twice the interval.
    quiet = duration * step / 100 > 60
    assert wait.ended - duration <= interval * JITTER * (2 if quiet else 1)


def test_steady_progress_saves_polls() -> None:
    with_progress = len(simulate(steady(300.0)).polls)
    without = len(simulate(lambda at: told("done") if at >= 300 else told()).polls)
    assert with_progress < without * 0.75


@pytest.mark.parametrize(
    "progress",
    [
        pytest.param(lambda at: min(99, int(at)), id="stuck-at-99"),
        pytest.param(lambda at: 50, id="stuck-at-50"),
        pytest.param(lambda at: max(0, 90 - int(at)), id="backwards"),
        pytest.param(lambda at: int(at) % 100, id="starts-over"),
        pytest.param(lambda at: 1 if at < 300 else 2, id="hardly-moves"),
    ],
)
def test_false_progress_does_not_exceed_the_longest_pause(progress: Callable[[float], int]) -> None:
    wait = simulate(lambda at: told("done") if at >= 700 else told(progress=progress(at)))
    assert wait.stop.outcome == "final"
    assert wait.ended - 700 <= MAX_INTERVAL * JITTER


# --- the end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["done", "failed", "expired", "moderated"])
def test_final_state_ends_the_wait_at_once(state: State) -> None:
    wait = simulate(lambda _: told(state))
    assert wait.stop == Stop("final")
    assert len(wait.polls) == 1


def test_unknown_status_is_waited_on_until_the_deadline() -> None:
    wait = simulate(lambda _: told(raw_status="rendering_shadows"), timeout=100)
    assert wait.stop == Stop("timeout")


def test_video_done_at_the_deadline_is_a_success() -> None:
    wait = simulate(lambda at: told("done") if at >= 99.9999 else told(), timeout=100)
    assert wait.stop == Stop("final")


def test_past_deadline_allows_one_poll() -> None:
    wait = simulate(lambda _: told(), timeout=-50)
    assert (wait.stop, wait.polls) == (Stop("timeout"), [0.0])


@pytest.mark.parametrize("late", [0.0, 600.0], ids=["at-the-deadline", "long-after-it"])
@pytest.mark.parametrize("error", [LOST, BROKEN, LIMITED, RateLimitError("", retry_after=86_400)], ids=repr)
def test_failed_poll_past_the_deadline_is_repeated(error: GrokVideoError, late: float) -> None:
    answers = iter([told(), error]) if not late else iter([error])
    wait = simulate(lambda _: next(answers, told("done")), poll_interval=60, timeout=100 - late)
    assert wait.stop == Stop("final")
    assert wait.ended <= max(0.0, 100 - late) + DEADLINE_GRACE


@pytest.mark.parametrize(
    ("error", "tolerance"),
    [
        pytest.param(LOST, FAILURE_TOLERANCE, id="transport"),
        pytest.param(BROKEN, FAILURE_TOLERANCE, id="server"),
        pytest.param(LIMITED, FAILURE_TOLERANCE, id="rate-limit"),
        pytest.param(NOT_FOUND, REFUSAL_TOLERANCE, id="unknown-id"),
        pytest.param(REJECTED, REFUSAL_TOLERANCE, id="rejected"),
    ],
)
def test_consecutive_failures_are_tolerated(error: GrokVideoError, tolerance: float) -> None:
    wait = simulate(lambda _: error, timeout=5000)
    assert wait.stop == Stop("error", error)
    assert tolerance <= wait.ended - wait.polls[0] <= tolerance + MAX_INTERVAL * JITTER


@pytest.mark.parametrize("error", [LOST, BROKEN, LIMITED, NOT_FOUND, REJECTED, BAD_KEY], ids=lambda e: type(e).__name__)
def test_success_resets_the_failures(error: GrokVideoError) -> None:
    turns = iter(range(10**6))
    wait = simulate(lambda at: told("done") if at > 3000 else told() if next(turns) % 2 else error, timeout=5000)
    assert wait.stop == Stop("final")


def test_rejected_key_fails_after_a_few_polls() -> None:
    wait = simulate(lambda _: BAD_KEY)
    assert wait.stop == Stop("error", BAD_KEY)
    assert len(wait.polls) == MAX_AUTH_FAILURES


def test_only_consecutive_key_rejections_count() -> None:
    answers = iter([BAD_KEY, BAD_KEY, LOST, BAD_KEY, BAD_KEY, told("done")])
    assert simulate(lambda _: next(answers)).stop == Stop("final")


def test_deadline_ends_failing_polls_as_a_timeout() -> None:
    wait = simulate(lambda _: BROKEN, timeout=100)
    assert wait.stop == Stop("timeout")
    assert wait.ended == pytest.approx(100 + DEADLINE_GRACE)


# --- the log ------------------------------------------------------------------------------------------


def test_changes_are_logged_once_and_silence_every_minute() -> None:
    wait = simulate(lambda at: told(raw_status="queued" if at < 200 else "processing"), timeout=500)
    gaps = [later - earlier for earlier, later in zip(wait.reports, wait.reports[1:], strict=False)]
    assert REPORT_INTERVAL <= wait.reports[0] <= REPORT_INTERVAL + 2 * 5 * JITTER
    assert any(200 <= at <= 200 + 2 * 5 * JITTER for at in wait.reports)
    assert max(gaps) <= REPORT_INTERVAL + 2 * 5 * JITTER
    assert len(wait.reports) <= 500 / REPORT_INTERVAL + 2


def test_progress_is_reported_once_a_minute() -> None:
    wait = simulate(lambda at: told(progress=int(at / 2)), timeout=150)
    assert len(wait.polls) > 5
    assert len(wait.reports) == 2
    assert REPORT_INTERVAL <= wait.reports[0] < 2 * REPORT_INTERVAL <= wait.reports[1]


def test_unknown_status_is_reported_from_the_first_poll_on() -> None:
    poller = Poller(poll_interval=5, deadline=START + 100, now=START)
    known, unknown = Generation("r", "pending", raw_status="queued"), Generation("r", "pending", raw_status="dreaming")

    assert poller.on_generation(known, START) == PollAgain(delay=ANY, report=False)
    assert poller.on_generation(unknown, START + 5) == PollAgain(delay=ANY, report=True)
    assert Poller(poll_interval=5, deadline=START + 100, now=START).on_generation(unknown, START) == PollAgain(
        ANY, report=True
    )


def test_success_keeps_generation_and_resets_auth_failures() -> None:
    poller = Poller(poll_interval=5, deadline=10_000, now=0.0)
    pending, rejected = Generation("g", "pending"), AuthenticationError("no", status=401)
    for now in (5.0, 10.0):
        assert isinstance(poller.on_error(rejected, now), PollAgain)
    poller.on_generation(pending, 15.0)
    assert poller.generation is pending
    for now in (20.0, 25.0):
        assert isinstance(poller.on_error(rejected, now), PollAgain)
    assert poller.on_error(rejected, 30.0) == Stop("error", rejected)


# --- limits, exactly ----------------------------------------------------------------------------------


def poller(**changes: Any) -> Poller:
    """Return a poller without jitter that starts now."""
    arguments: dict[str, Any] = {"poll_interval": 5, "deadline": START + 900, "now": START, "uniform": min}
    return Poller(**{**arguments, **changes})


def test_wait_ends_exactly_at_its_deadline() -> None:
    assert isinstance(poller().on_generation(told(), START + 899.9), PollAgain)
    assert poller().on_generation(told(), START + 900) == Stop("timeout")


@pytest.mark.parametrize(
    ("error", "tolerance"),
    [(BROKEN, FAILURE_TOLERANCE), (NOT_FOUND, REFUSAL_TOLERANCE)],
    ids=["failure", "refusal"],
)
def test_wait_ends_exactly_at_the_tolerance(error: GrokVideoError, tolerance: float) -> None:
    waiting = poller()
    waiting.on_error(error, START)
    assert isinstance(waiting.on_error(error, START + tolerance - 0.1), PollAgain)
    assert waiting.on_error(error, START + tolerance) == Stop("error", error)


def test_wait_reports_exactly_after_the_interval() -> None:
    waiting = poller()
    waiting.on_generation(told(), START)
    assert waiting.on_generation(told(), START + REPORT_INTERVAL) == PollAgain(ANY, report=True)


def test_another_error_is_reported_and_the_same_is_not() -> None:
    waiting = poller()
    first, second = ServerError("first", status=500), ServerError("second", status=500)
    reports = [waiting.on_error(error, START + index) for index, error in enumerate((first, first, second))]
    assert [decision.report for decision in reports if isinstance(decision, PollAgain)] == [True, False, True]


def test_failed_poll_without_retry_after_keeps_a_short_interval() -> None:
    decision = poller(poll_interval=0.2).on_error(BROKEN, START)
    assert decision == PollAgain(pytest.approx(0.2, rel=0.11), report=ANY)


def test_two_progresses_at_the_same_moment_give_no_speed() -> None:
    waiting = poller()
    waiting.on_generation(told(progress=1), START)
    waiting.on_generation(told(progress=2), START)
    assert waiting.on_generation(told(progress=2), START + 1) == PollAgain(pytest.approx(5, rel=0.11), report=ANY)


def test_next_poll_is_after_half_of_the_estimated_time_left() -> None:
    waiting = poller()
    waiting.on_generation(told(progress=50), START)
    # One percent a second, in steps of ten: 30 seconds are left.
    assert waiting.on_generation(told(progress=60), START + 10) == PollAgain(pytest.approx(15), report=ANY)


def test_interval_doubles_only_after_the_time_without_change() -> None:
    waiting = poller()
    assert waiting.on_generation(told(), START + 60) == PollAgain(pytest.approx(5), report=ANY)
    assert waiting.on_generation(told(), START + 60.1) == PollAgain(pytest.approx(10), report=ANY)
