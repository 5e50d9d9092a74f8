"""How fast one process may send requests, and how it shares that among its waits."""

from __future__ import annotations

import asyncio
import math
from collections import deque

SLOWEST = 0.1
"""Requests per second below which no number of refusals slows the pace."""
RECOVERY_SECONDS = 60.0
"""Seconds without a refusal after which a halved pace has doubled again."""

MAX_PAUSE = 60.0
"""Seconds for which ``Retry-After`` of one response holds the others back, at most: it may be about that one alone."""
BURST = 0.02
"""Seconds' worth of requests that may go at once."""


class AdaptiveRate:
    """Requests per second: halved when the API refuses, recovered gradually. Times are the caller's clock.

    :param limit: requests per second at most.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._rate = limit
        self._rated_at = 0.0
        self._next = 0.0
        self._paused_until = 0.0
        self._slowed_at = float("-inf")

    def rate(self, now: float) -> float:
        """Return the requests per second that are allowed now."""
        doublings = (now - self._rated_at) / RECOVERY_SECONDS
        if self._rate >= self.limit or doublings >= math.log2(self.limit / self._rate):
            return self.limit
        return self._rate * 2**doublings

    def due(self, now: float) -> float:
        """Return when the next request may be sent."""
        # At a high limit the single gap is below the timers' resolution: only the average is kept.
        burst = BURST if self.rate(now) * BURST > 1 else 0.0
        return max(self._next - burst, self._paused_until)

    def sent(self, now: float) -> None:
        """Count a request that is being sent."""
        self._next = max(self._next, now) + 1 / self.rate(now)

    def refused(self, sent_at: float, now: float, retry_after: float | None) -> None:
        """Slow down after a 429. Requests that were under way together slow the pace once.

        :param sent_at: when the refused request was sent.
        :param retry_after: seconds the API asks to wait; everybody waits for ``MAX_PAUSE`` of them at most.
        """
        self._paused_until = max(self._paused_until, now + min(retry_after or 0.0, MAX_PAUSE))
        if sent_at > self._slowed_at:
            self._rate, self._rated_at, self._slowed_at = max(self.rate(now) / 2, SLOWEST), now, now


class RateLimiter:
    """First come, first served, at a rate and with so many under way at most, on one event loop.

    A request is sent after those that wait before it: each takes 1 / rate seconds, and a pause ``MAX_PAUSE`` at most.
    That bounds the wait, so that no deadline needs to.

    :param rate: decides when the next one may go.
    :param max_in_flight: requests that may be under way at once.
    """

    def __init__(self, rate: AdaptiveRate, max_in_flight: int) -> None:
        self.rate = rate
        self._free = max_in_flight
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self) -> float:
        """Wait until a request may be sent. Whoever sent it must :meth:`release`.

        :return: the loop's time at which the request is sent.
        """
        now = self._loop.time()
        if not self._waiting and self._free and self.rate.due(now) <= now:
            self._admit(now)
            return now
        place = self._loop.create_future()
        self._waiting.append(place)
        self._wake()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self.release()
            raise
        return self._loop.time()

    def release(self) -> None:
        """Count a request as answered, or given up."""
        self._free += 1
        self._wake()

    def refused(self, sent_at: float, retry_after: float | None) -> None:
        """Tell the rate of a 429, so that everybody waits, once."""
        self.rate.refused(sent_at, self._loop.time(), retry_after)

    def _admit(self, now: float) -> None:
        self._free -= 1
        self.rate.sent(now)

    def _wake(self) -> None:
        if self._waiting and self._free and self._timer is None:
            self._timer = self._loop.call_at(self.rate.due(self._loop.time()), self._serve)

    def _serve(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._waiting and self._free and self.rate.due(now) <= now:
            place = self._waiting.popleft()
            # Who was cancelled while waiting uses up no turn.
            if not place.done():
                place.set_result(None)
                self._admit(now)
        self._wake()
