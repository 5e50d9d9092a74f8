"""Asks the API how a generation is doing, for somebody who is looking at it. The key stays on the server.

Bounded: an answer is kept for some seconds, and few questions are asked at a time, so that a slow API can
neither occupy Airflow's API server nor be flooded by open browser tabs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from threading import BoundedSemaphore, Lock
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.exceptions import GrokVideoError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.plugins.preview_videos import web_url

log = logging.getLogger(__name__)

AT_A_TIME = 3
PATIENCE = 5.0
"""Seconds for one question, at most."""
FRESH_FOR = {"pending": 4.0, "unknown": 15.0}
FINAL_FOR = 300.0
REMEMBERED = 512

UNKNOWN: dict[str, Any] = {"state": "unknown", "progress": None, "reason": None, "url": None}

Ask = Callable[[str, str], Generation]


def ask_api(conn_id: str, request_id: str) -> Generation:
    """Ask once, with the task's own connection.

    :raises GrokVideoError: no answer.
    :raises AirflowException: no such connection.
    """
    settings = GrokVideoHook(conn_id).settings
    client = GrokVideoClient(replace(settings, request_timeout=min(settings.request_timeout, PATIENCE)))
    try:
        return client.get_generation(request_id)
    finally:
        client.close()


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

    def of(self, conn_id: str, request_id: str) -> dict[str, Any]:
        """``state, progress, reason, url``; the last known where it cannot be asked now."""
        key = (conn_id, request_id)
        with self._lock:
            stale_at, said = self._said.get(key, (0.0, UNKNOWN))
        if self._clock() < stale_at or not self._slots.acquire(blocking=False):
            return said
        try:
            said = self._answer(conn_id, request_id)
        finally:
            self._slots.release()
        with self._lock:
            self._said.pop(key, None)
            while len(self._said) >= REMEMBERED:
                self._said.pop(next(iter(self._said)))
            self._said[key] = (self._clock() + FRESH_FOR.get(said["state"], FINAL_FOR), said)
        return said

    def _answer(self, conn_id: str, request_id: str) -> dict[str, Any]:
        try:
            generation = self._ask(conn_id, request_id)
        except (GrokVideoError, AirflowException) as error:
            # The reader may see XComs, which does not mean that connections are their business.
            log.warning("Generation %s cannot be asked about for its preview: %s", request_id, error)
            return UNKNOWN
        return {
            "state": generation.state,
            "progress": generation.progress,
            "reason": generation.error_message or None,
            "url": web_url(generation.video_url),
        }
