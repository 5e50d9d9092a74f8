"""Look-up of a connection on an event loop that thousands of waits share."""

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
"""Seconds for which waits on one event loop share one look-up of their connection."""
FAILED_LOOKUP_TTL = 1.0
"""Seconds for which they share a failed look-up, so that thousands of waits do not repeat it at once."""
LOOKUP_TIMEOUT = 30.0
"""Seconds for one look-up."""
NOT_FOUND_PAUSES = (1.0, 4.0, 5.0)
"""Seconds after which a connection that Airflow does not find is looked up again: Airflow reports the same if a
secrets backend, for example the metadata database, cannot be reached at the moment."""


async def aget_settings(grokvideo_conn_id: str, refused: Settings | None = None) -> Settings:
    """Return the settings of a connection, looked up without blocking the event loop.

    Waits that start together share one look-up, which is cached for some seconds: the triggerer's supervisor
    answers one request at a time.

    :param refused: settings that the API has rejected. They are returned only from a new look-up.
    :raises InvalidRequestError: the connection is not defined, or a field of it is wrong.
    :raises TransportError: it cannot be looked up now.
    """
    lookup = _lookups.get(grokvideo_conn_id)
    if lookup is None or not lookup.is_valid_for(refused):
        lookup = _lookups[grokvideo_conn_id] = _CachedLookup(grokvideo_conn_id)
    # A cancelled wait must not cancel the look-up of the others.
    return await asyncio.shield(lookup.task)


class _CachedLookup:
    """One look-up of a connection, shared by all waits of an event loop."""

    def __init__(self, conn_id: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.started_at = self.loop.time()
        self.ended_at = float("inf")
        self.task = self.loop.create_task(_look_up(conn_id))
        self.task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Settings]) -> None:
        self.ended_at = self.loop.time()

    def is_valid_for(self, refused: Settings | None) -> bool:
        """Return whether its result, or the pending one, can be used instead of a new look-up."""
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
        raise InvalidRequestError(
            f"Connection {conn_id!r} is not defined. Create it, or give all processes the same secrets backend."
        ) from error
    except Exception as error:  # from the database, the API server, or any secrets backend
        reason = type(error).__name__
        is_malformed = isinstance(error, ValueError)
    # Without the error's text, and without it as the context: it may quote the connection.
    if is_malformed:
        raise InvalidRequestError(f"Connection {conn_id!r} cannot be parsed ({reason}). Correct its URI or JSON.")
    raise TransportError(f"Connection {conn_id!r} cannot be looked up now ({reason}).", delivered=False)


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
        # dag.test() of Airflow 3.3 runs triggers in a process that finds the database's connections synchronously only.
        return await asyncio.to_thread(BaseHook.get_connection, conn_id)
