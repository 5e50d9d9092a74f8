"""Asks the API how a generation is doing, for somebody who is looking at it. The key stays on the server.

Bounded: one thread asks for all viewers, few questions at a time, each within a deadline; an answer is kept for some
seconds. So a slow API can neither occupy Airflow's API server nor be flooded by open browser tabs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from threading import BoundedSemaphore, Lock
from typing import Any

from airflow_provider_grokvideo.api.aio import AsyncGrokVideoClient
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import TransportError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.plugins.preview.access import web_url

log = logging.getLogger(__name__)

AT_A_TIME = 3
PATIENCE = 5.0
"""Seconds for one question, at most."""
FRESH_FOR = {"pending": 4.0, "unknown": 15.0}
FINAL_FOR = 300.0
REMEMBERED = 512

UNKNOWN: dict[str, Any] = {"state": "unknown", "progress": None, "reason": None, "url": None}

Ask = Callable[[str, str], Generation]


class EventLoop:
    """An event loop in one thread of its own: what runs there can be given up, however slowly a server answers."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Coroutine[Any, Any, Generation], timeout: float) -> Generation:
        """Return what the work returns.

        :param timeout: seconds.
        :raises TransportError: it takes longer; it is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout), self._started())
        try:
            return future.result(timeout + 1)
        except (TimeoutError, concurrent.futures.TimeoutError) as error:
            future.cancel()
            raise TransportError(f"no answer within {timeout:g} s", delivered=True) from error

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="grokvideo-preview", daemon=True).start()
            return self._loop


_event_loop = EventLoop()


def ask_api(conn_id: str, request_id: str) -> Generation:
    """Ask once, with the task's own connection.

    :raises GrokVideoError: no answer.
    :raises AirflowException: no such connection.
    """
    settings = GrokVideoHook(conn_id).settings
    settings = replace(settings, request_timeout=min(settings.request_timeout, PATIENCE))
    return _event_loop.run(_poll(settings, request_id), PATIENCE)


async def _poll(settings: Settings, request_id: str) -> Generation:
    client = AsyncGrokVideoClient(settings)
    try:
        return await client.get_generation(request_id)
    finally:
        await client.close()


class Progress:
    """What the API said last about each generation that somebody looks at.

    :param ask: asks the API.
    :param clock: seconds, monotonic.
    """

    def __init__(self, ask: Ask = ask_api, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._slots = BoundedSemaphore(AT_A_TIME)
        self._lock = Lock()
        self._said: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        self._asking: set[tuple[str, str]] = set()
        self._silent_until: dict[str, float] = {}

    def of(self, conn_id: str, request_id: str) -> dict[str, Any]:
        """Return ``state, progress, reason, url``; the last known where it cannot be asked now."""
        key = (conn_id, request_id)
        with self._lock:
            stale_at, said = self._said.get(key, (0.0, UNKNOWN))
            silent = self._clock() < self._silent_until.get(conn_id, 0.0)
            # One question serves all who look at the generation, and an API that does not answer is left alone.
            if self._clock() < stale_at or silent or key in self._asking or not self._slots.acquire(blocking=False):
                return said
            self._asking.add(key)
        try:
            said = self._answer(conn_id, request_id)
        finally:
            self._slots.release()
            with self._lock:
                self._asking.discard(key)
        with self._lock:
            _remember(self._said, key, (self._clock() + FRESH_FOR.get(said["state"], FINAL_FOR), said))
        return said

    def _answer(self, conn_id: str, request_id: str) -> dict[str, Any]:
        try:
            generation = self._ask(conn_id, request_id)
        except Exception as error:  # the page shows what is known without it, whatever went wrong
            # The reader may see XComs, which does not mean that connections are their business.
            log.warning("Generation %r cannot be asked about for its preview: %s", request_id, error)
            if isinstance(error, TransportError):
                with self._lock:
                    _remember(self._silent_until, conn_id, self._clock() + FRESH_FOR["unknown"])
            return UNKNOWN
        return {
            "state": generation.state,
            "progress": generation.progress,
            "reason": generation.error_message or None,
            "url": web_url(generation.video_url),
        }


def _remember(known: dict[Any, Any], key: Any, value: Any) -> None:
    """Put a value last, and forget the first ones that are too many."""
    known.pop(key, None)
    while len(known) >= REMEMBERED:
        known.pop(next(iter(known)))
    known[key] = value
