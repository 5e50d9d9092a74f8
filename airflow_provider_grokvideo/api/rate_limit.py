"""Rate limit of the requests of one process, shared by all its waits."""

from __future__ import annotations

import asyncio
import math
from collections import deque

SLOWEST = 0.1
"""Minimum requests per second, however many requests the API rejects."""
RECOVERY_SECONDS = 60.0
"""Seconds without HTTP 429 in which the rate doubles, until it is back at the limit."""

MAX_PAUSE = 60.0
"""Maximum seconds for which ``Retry-After`` of one response delays all requests: it can apply to that one alone."""
BURST = 0.02
"""Seconds of which the requests may be sent at once."""


class AdaptiveRate:
    """Requests per second: halved after HTTP 429, then recovered gradually. Times are of the caller's clock.

    :param limit: maximum requests per second.
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
        # At a high rate the gap between two requests is below the resolution of timers: only the average is right.
        burst = BURST if self.rate(now) * BURST > 1 else 0.0
        return max(self._next - burst, self._paused_until)

    def sent(self, now: float) -> None:
        """Count a request that is being sent."""
        self._next = max(self._next, now) + 1 / self.rate(now)

    def refused(self, sent_at: float, now: float, retry_after: float | None) -> None:
        """Slow down after HTTP 429. Requests that were in flight together slow down once.

        :param sent_at: when the rejected request was sent.
        :param retry_after: seconds that the API asks to wait; at most ``MAX_PAUSE`` of them count.
        """
        self._paused_until = max(self._paused_until, now + min(retry_after or 0.0, MAX_PAUSE))
        if sent_at > self._slowed_at:
            self._rate, self._rated_at, self._slowed_at = max(self.rate(now) / 2, SLOWEST), now, now


class RateLimiter:
    """Queue of the requests on one event loop, with a rate and a maximum number in flight. First in, first out.

    Each request before this one takes 1 / rate seconds, and a pause takes at most ``MAX_PAUSE``. So the time in the
    queue has a limit without a deadline.

    :param rate: decides when the next request may be sent.
    :param max_in_flight: maximum number of requests in flight.
    """

    def __init__(self, rate: AdaptiveRate, max_in_flight: int) -> None:
        self.rate = rate
        self._free = max_in_flight
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self) -> float:
        """Wait until a request may be sent. The caller must call :meth:`release` after it.

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
        """Count a request as ended."""
        self._free += 1
        self._wake()

    def refused(self, sent_at: float, retry_after: float | None) -> None:
        """Slow the rate down after HTTP 429."""
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
            # A wait that was cancelled in the queue sends nothing.
            if not place.done():
                place.set_result(None)
                self._admit(now)
        self._wake()
