"""Poll the API for the progress of a generation while a user looks at it. The API key stays on the server.

A slow API must not occupy Airflow's API server, and open browser tabs must not flood the API. So one event loop, in a
thread of its own, polls for all users; the number of concurrent polls and the time and size of each are limited; and
each response is cached for some seconds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import BoundedSemaphore, Lock
from typing import Any

from airflow_provider_grokvideo.api.aio import AsyncGrokVideoClient
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.api.text import is_video_url
from airflow_provider_grokvideo.exceptions import TransportError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

log = logging.getLogger(__name__)

MAX_CONCURRENT_POLLS = 3
REQUEST_TIMEOUT = 5.0
"""Maximum seconds of one poll: connect, headers and body together."""
CANCEL_GRACE = 1.0
"""Seconds after ``REQUEST_TIMEOUT`` in which a cancelled poll closes its connection."""
CACHE_TTL = {"pending": 4.0, "unknown": 15.0}
"""Seconds, by the state of the generation. A transport error also stops all polls of its connection this long."""
FINAL_CACHE_TTL = 300.0
CACHE_SIZE = 512
_THREAD_NAME = "grokvideo-preview"

UNKNOWN: dict[str, Any] = {"state": "unknown", "progress": None, "reason": None, "url": None}

Poll = Callable[[str, str], Generation]
"""Takes a connection id and a request id."""


class EventLoopThread:
    """An event loop in a thread of its own, so that a poll can be cancelled at its deadline."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, Generation], timeout: float) -> Generation:
        """Return the result of the work.

        :param timeout: seconds.
        :raises TransportError: the work took longer and was cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self._get_loop())
        try:
            return future.result(timeout + CANCEL_GRACE)
        except (TimeoutError, concurrent.futures.TimeoutError) as error:
            future.cancel()
            raise TransportError(f"No response within {timeout:g} s.", delivered=True) from error

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # For name resolution and CA files. The default executor may have 32 threads.
                self._loop.set_default_executor(ThreadPoolExecutor(MAX_CONCURRENT_POLLS, _THREAD_NAME))
                threading.Thread(target=self._loop.run_forever, name=_THREAD_NAME, daemon=True).start()
            return self._loop


_event_loop = EventLoopThread()


def poll_api(conn_id: str, request_id: str) -> Generation:
    """Poll once, with the task's own connection.

    :raises GrokVideoError: the poll failed.
    :raises AirflowException: the connection does not exist.
    """
    settings = GrokVideoHook(conn_id).settings
    settings = replace(settings, request_timeout=min(settings.request_timeout, REQUEST_TIMEOUT))
    return _event_loop.run(_poll(settings, request_id), REQUEST_TIMEOUT)


async def _poll(settings: Settings, request_id: str) -> Generation:
    client = AsyncGrokVideoClient(settings)
    try:
        return await client.get_generation(request_id)
    finally:
        await client.close()


class ProgressCache:
    """The last known progress of each generation that a user looks at.

    :param poll: polls the API once.
    :param clock: returns monotonic seconds.
    """

    def __init__(self, poll: Poll = poll_api, clock: Callable[[], float] = time.monotonic) -> None:
        self._poll = poll
        self._clock = clock
        self._slots = BoundedSemaphore(MAX_CONCURRENT_POLLS)
        self._lock = Lock()
        self._in_flight: set[tuple[str, str]] = set()
        self._progress: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._backoff_until: dict[str, float] = {}

    def get(self, conn_id: str, request_id: str) -> dict[str, Any]:
        """Return ``state, progress, reason, url``: polled now, or the last known if no poll is possible."""
        key = (conn_id, request_id)
        with self._lock:
            expires_at, progress = self._progress.get(key, (0.0, UNKNOWN))
            is_backing_off = self._clock() < self._backoff_until.get(conn_id, 0.0)
            if self._clock() < expires_at or is_backing_off or key in self._in_flight:
                return progress
            if not self._slots.acquire(blocking=False):
                return progress
            self._in_flight.add(key)
        try:
            progress = self._poll_now(conn_id, request_id)
        finally:
            self._slots.release()
            with self._lock:
                self._in_flight.discard(key)
        with self._lock:
            ttl = CACHE_TTL.get(progress["state"], FINAL_CACHE_TTL)
            _store(self._progress, key, (self._clock() + ttl, progress))
        return progress

    def _poll_now(self, conn_id: str, request_id: str) -> dict[str, Any]:
        try:
            generation = self._poll(conn_id, request_id)
        except Exception as error:  # Whatever fails, the page can show what Airflow knows.
            # Only in the log: a user who may read XComs may not be allowed to see the connection.
            log.warning("The preview cannot poll generation %r: %s", request_id, error)
            if isinstance(error, TransportError):
                with self._lock:
                    _store(self._backoff_until, conn_id, self._clock() + CACHE_TTL["unknown"])
            return UNKNOWN
        return {
            "state": generation.state,
            "progress": generation.progress,
            "reason": generation.error_message or None,
            "url": generation.video_url if is_video_url(generation.video_url) else None,
        }


def _store(cache: dict[Any, Any], key: Any, value: Any) -> None:
    """Store a value as the newest, and remove the oldest ones above ``CACHE_SIZE``."""
    cache.pop(key, None)
    while len(cache) >= CACHE_SIZE:
        cache.pop(next(iter(cache)))
    cache[key] = value
