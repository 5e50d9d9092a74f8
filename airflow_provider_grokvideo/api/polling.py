"""Decisions on when to poll again and when to stop. Worker, trigger and sensor share them; they do no I/O.

Times are seconds since the epoch, so that a deadline outlives the process that set it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.exceptions import AuthenticationError, GrokVideoError, RateLimitError

MAX_INTERVAL = 30.0
"""Maximum seconds between two polls, unless ``poll_interval`` is longer."""
FAILURE_TOLERANCE = 600.0
"""Seconds for which polls may fail one after another before the wait ends."""
REFUSAL_TOLERANCE = 60.0
"""Seconds for which the API may reject polls (unknown id, bad request). Gateways learn of a new id late."""
MAX_AUTH_FAILURES = 3
"""Number of polls in a row whose key the API rejects before the wait ends. The connection is read again before."""
REPORT_INTERVAL = 60.0
"""Maximum seconds between two log lines of a wait."""
DEADLINE_GRACE = 10.0
"""Seconds after the deadline, or after a later start, in which a failed poll is repeated, so that a wait ends with a
status of the API. The time of the rate limiter and of the exchange is not included."""
_BACKOFF_AFTER = 60.0
_JITTER = 0.1


@dataclass(frozen=True)
class PollAgain:
    """Decision to poll again.

    :param delay: seconds until the next poll.
    :param report: whether the state is worth a log line.
    """

    delay: float
    report: bool


@dataclass(frozen=True)
class Stop:
    """Decision to end the wait: the generation is final, the deadline has passed, or the polls keep failing."""

    outcome: Literal["final", "timeout", "error"]
    error: GrokVideoError | None = None


Decision = PollAgain | Stop


class Poller:
    """State of one wait, which decides after each poll.

    :param poll_interval: minimum seconds between two polls.
    :param deadline: when the wait ends, whatever the state.
    :param now: when the wait starts, or continues.
    :param uniform: returns a random number between two limits, for jitter.
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
        self._auth_failures = 0
        self._reported_at = now
        self._reported: object = None
        self._changed_at = now
        self._progress: int | None = None
        self._speed: float | None = None
        self._step = 0

    def first_delay(self) -> float:
        """Return seconds until the first poll, with jitter: waits that start together must not poll together."""
        delay = self._uniform(self.poll_interval / 2, self.poll_interval)
        return min(delay, max(0.0, self.deadline - self.started_at))

    def on_generation(self, generation: Generation, now: float) -> Decision:
        """Return the decision after a poll that returned a generation."""
        self.polls += 1
        self.generation = generation
        self._failing_since, self._auth_failures = None, 0
        if generation.is_final:
            return Stop("final")
        self._measure(generation.progress, now)
        update = (generation.raw_status, generation.progress)
        if self.polls == 1 and not generation.is_status_unknown:
            # No log line: thousands of waits that start together would each write one.
            self._reported = update
        return self._again(self._interval(now), now, update, ends_at=self.deadline)

    def on_error(self, error: GrokVideoError, now: float) -> Decision:
        """Return the decision after a poll that failed."""
        self.polls += 1
        if self._failing_since is None:
            self._failing_since = now
        if not self._is_tolerable(error, now):
            return Stop("error", error)
        retry_after = error.retry_after if isinstance(error, RateLimitError) else None
        ends_at = max(self.deadline, self.started_at) + DEADLINE_GRACE
        return self._again(max(self._interval(now), retry_after or 0.0), now, str(error), ends_at=ends_at)

    def _is_tolerable(self, error: GrokVideoError, now: float) -> bool:
        failing_for = now - (self._failing_since or now)
        if isinstance(error, AuthenticationError):
            self._auth_failures += 1
            return self._auth_failures < MAX_AUTH_FAILURES
        self._auth_failures = 0
        return failing_for < (FAILURE_TOLERANCE if error.retryable else REFUSAL_TOLERANCE)

    def _again(self, interval: float, now: float, update: object, *, ends_at: float) -> Decision:
        if now >= ends_at:
            return Stop("timeout")
        report = update != self._reported or now - self._reported_at >= REPORT_INTERVAL
        if report:
            self._reported, self._reported_at = update, now
        delay = interval * self._uniform(1, 1 + _JITTER)
        # The last poll is at the deadline, so that a video that is done by then is saved.
        return PollAgain(min(delay, (self.deadline if now < self.deadline else ends_at) - now), report)

    def _interval(self, now: float) -> float:
        """Return seconds to the next poll: half of the estimated time left, or longer if nothing changes for long.

        Half, because the estimate can be wrong: if progress speeds up, the end is still noticed soon.
        """
        interval = self.poll_interval * (2 if now - self._changed_at > _BACKOFF_AFTER else 1)
        if self._speed and self._progress is not None:
            # Progress that moves in steps can be almost one step further than reported.
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
