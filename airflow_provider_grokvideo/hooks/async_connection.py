"""An Airflow connection's settings, looked up on an event loop that thousands of waits share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import GrokVideoError, InvalidRequestError, TransportError
from airflow_provider_grokvideo.hooks.connection import settings_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

LOOKUP_TTL = 5.0
"""Seconds for which waits that start on one event loop share one look-up of their connection."""
FAILED_LOOKUP_TTL = 1.0
"""Seconds for which they share one that failed: who is in trouble is not asked by thousands."""
LOOKUP_TIMEOUT = 30.0
"""Seconds for one look-up."""
NOT_FOUND_PAUSES = (1.0, 4.0, 5.0)
"""Seconds after which a connection that Airflow does not find is looked up again: it says the same where one of its
secrets backends, the metadata database among them, cannot be reached for the moment."""


async def aget_settings(grokvideo_conn_id: str, refused: Settings | None = None) -> Settings:
    """Like :func:`settings_of`, looked up without blocking the event loop.

    Waits that start together share one look-up, which is kept for some seconds: the triggerer's supervisor
    answers one at a time.

    :param refused: settings that the API has refused; they are taken for true only from a fresh look-up.
    :raises InvalidRequestError: the connection is not defined, or a field of it is wrong.
    :raises TransportError: it cannot be looked up now.
    """
    lookup = _lookups.get(grokvideo_conn_id)
    if lookup is None or not lookup.is_valid_for(refused):
        lookup = _lookups[grokvideo_conn_id] = _CachedLookup(grokvideo_conn_id)
    # One wait that is cancelled does not take the look-up from the others.
    return await asyncio.shield(lookup.task)


class _CachedLookup:
    """One look-up of a connection, for all who ask on the same event loop."""

    def __init__(self, conn_id: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.started_at = self.loop.time()
        self.ended_at = float("inf")
        self.task = self.loop.create_task(_look_up(conn_id))
        self.task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Settings]) -> None:
        self.ended_at = self.loop.time()

    def is_valid_for(self, refused: Settings | None) -> bool:
        """Return whether its result, or the one to come, is as good as that of a new one."""
        if self.loop is not asyncio.get_running_loop():
            return False
        if not self.task.done():
            return True
        if self.task.cancelled():
            return False
        if self.task.exception() is not None:
            return self.loop.time() - self.ended_at <= FAILED_LOOKUP_TTL
        return self.loop.time() - self.started_at <= LOOKUP_TTL and self.task.result() != refused


_lookups: dict[str, _CachedLookup] = {}


async def _look_up(conn_id: str) -> Settings:
    try:
        return settings_of(await _find_connection(conn_id))
    except GrokVideoError:
        raise
    except AirflowNotFoundException as error:
        raise InvalidRequestError(f"the connection {conn_id} is not defined: {error}") from error
    except Exception as error:  # The database's, the API server's, or any secrets backend's own.
        reason = type(error).__name__
        is_malformed = isinstance(error, ValueError)
    # Not with the error's text, nor with it as the context: it may quote the connection.
    if is_malformed:
        raise InvalidRequestError(f"the connection {conn_id} cannot be parsed: {reason}")
    raise TransportError(f"the connection {conn_id} cannot be looked up now: {reason}", delivered=False)


async def _find_connection(conn_id: str) -> Connection:
    for pause in (*NOT_FOUND_PAUSES, None):
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                return await _get_connection(conn_id)
        except AirflowNotFoundException:
            if pause is None:
                raise
            await asyncio.sleep(pause)
    raise AssertionError("unreachable: the last look-up returns or raises")


async def _get_connection(conn_id: str) -> Connection:
    try:
        return await get_async_connection(conn_id)
    except AirflowNotFoundException:
        # dag.test() of Airflow 3.3 runs triggers where connections of the database are found synchronously only.
        return await asyncio.to_thread(BaseHook.get_connection, conn_id)
