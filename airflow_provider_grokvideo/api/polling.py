"""When to ask again and when to give up. Decisions only: the worker, the trigger and the sensor share them.

Times are seconds since the epoch, so that a deadline outlives the process that set it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GrokVideoError,
    RateLimitError,
    ServerError,
    TransportError,
)

MAX_INTERVAL = 30.0
"""Seconds; the longest pause between two polls, where ``poll_interval`` is not longer itself."""
FAILURE_TOLERANCE = 600.0
"""Seconds for which polls may fail one after another before the wait is ended."""
REFUSAL_TOLERANCE = 60.0
"""Seconds for which polls may be refused (unknown id, bad request): gateways learn of a fresh id late."""
MAX_AUTH_FAILURES = 3
"""Refusals of the key, one after another, that are believed; the first is met by a fresh connection."""
REPORT_INTERVAL = 60.0
"""Seconds after which a wait is mentioned in the log though nothing changed."""
DEADLINE_GRACE = 10.0
"""Seconds past the deadline, or past a later start, for which a poll that fails is repeated: a wait that ends is to
end on what the API says. What it takes until a poll may be sent, and until it is answered, comes on top."""
_BACKOFF_AFTER = 60.0
_JITTER = 0.1


@dataclass(frozen=True)
class PollAgain:
    """Ask again after ``delay`` seconds."""

    delay: float
    report: bool


@dataclass(frozen=True)
class Stop:
    """The wait is over: the generation is final, the deadline passed, or the polls keep failing."""

    outcome: Literal["final", "timeout", "error"]
    error: GrokVideoError | None = None


Decision = PollAgain | Stop


class Poller:
    """Follows one wait and decides after each poll.

    :param poll_interval: seconds between polls at least; ``Retry-After`` and a far end stretch it.
    :param deadline: when the wait ends whatever the state.
    :param now: when the wait begins, or goes on.
    :param uniform: draws jitter; ``random.uniform`` but for tests.
    """

    def __init__(
        self,
        *,
        poll_interval: float,
        deadline: float,
        now: float,
        uniform: Callable[[float, float], float] = random.uniform,  # noqa: S311
    ) -> None:
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.polls = 0
        self.generation: Generation | None = None
        self.started_at = now
        self._uniform = uniform
        self._failing_since: float | None = None
        self._strikes = 0
        self._reported_at = now
        self._reported: object = None
        self._changed_at = now
        self._progress: int | None = None
        self._speed: float | None = None
        self._step = 0

    def first_delay(self) -> float:
        """Seconds until the first poll: spread, so that waits that start together do not ask together."""
        delay = self._uniform(self.poll_interval / 2, self.poll_interval)
        return min(delay, max(0.0, self.deadline - self.started_at))

    def on_generation(self, generation: Generation, now: float) -> Decision:
        """Decide on what the API said."""
        self.polls += 1
        self.generation = generation
        self._failing_since, self._strikes = None, 0
        if generation.is_final:
            return Stop("final")
        self._measure(generation.progress, now)
        news = (generation.raw_status, generation.progress)
        if self.polls == 1 and not generation.is_status_unknown:
            # That it goes on is no news yet, and of thousands of waits that start together each would say so.
            self._reported = news
        return self._again(self._interval(now), now, news, ends_at=self.deadline)

    def on_error(self, error: GrokVideoError, now: float) -> Decision:
        """Decide on a poll that brought no generation."""
        self.polls += 1
        if self._failing_since is None:
            self._failing_since = now
        if not self._is_tolerable(error, now):
            return Stop("error", error)
        asked = error.retry_after if isinstance(error, RateLimitError) else None
        ends_at = max(self.deadline, self.started_at) + DEADLINE_GRACE
        return self._again(max(self._interval(now), asked or 0.0), now, str(error), ends_at=ends_at)

    def _is_tolerable(self, error: GrokVideoError, now: float) -> bool:
        failing_for = now - (self._failing_since or now)
        if isinstance(error, AuthenticationError):
            self._strikes += 1
            return self._strikes < MAX_AUTH_FAILURES
        self._strikes = 0
        passing = isinstance(error, TransportError | RateLimitError | ServerError)
        return failing_for < (FAILURE_TOLERANCE if passing else REFUSAL_TOLERANCE)

    def _again(self, interval: float, now: float, news: object, *, ends_at: float) -> Decision:
        if now >= ends_at:
            return Stop("timeout")
        report = news != self._reported or now - self._reported_at >= REPORT_INTERVAL
        if report:
            self._reported, self._reported_at = news, now
        delay = interval * self._uniform(1, 1 + _JITTER)
        # A poll falls on the deadline: a video that is done by then is not given up.
        return PollAgain(min(delay, (self.deadline if now < self.deadline else ends_at) - now), report)

    def _interval(self, now: float) -> float:
        """Half of the time probably left, where progress tells; slower where nothing changes for long.

        Half, because progress is no promise: where it speeds up, the end is still noticed early enough.
        """
        interval = self.poll_interval * (2 if now - self._changed_at > _BACKOFF_AFTER else 1)
        if self._speed and self._progress is not None:
            # Progress that moves in steps may be all but one step further than it says.
            left = (100 - self._progress - self._step) / self._speed - (now - self._changed_at)
            interval = max(interval, left / 2)
        return min(interval, max(MAX_INTERVAL, self.poll_interval))

    def _measure(self, progress: int | None, now: float) -> None:
        if progress is None or progress == self._progress:
            return
        if self._progress is not None and now > self._changed_at:
            self._step = progress - self._progress
            rate = self._step / (now - self._changed_at)
            self._speed = rate if rate > 0 else None
        self._progress, self._changed_at = progress, now
