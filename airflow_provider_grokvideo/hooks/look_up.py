"""An Airflow connection's settings, looked up on an event loop that thousands of waits share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_grokvideo.api.protocol import Settings
from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.hooks.grokvideo import settings_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

LOOK_UP_KEPT = 5.0
"""Seconds for which waits that start on one event loop share one look-up of their connection."""


async def aget_settings(grokvideo_conn_id: str, refused: Settings | None = None) -> Settings:
    """Like :func:`settings_of`, looked up without blocking the event loop.

    Waits that start together share one look-up, which is kept for some seconds: the triggerer's supervisor
    answers one at a time.

    :param refused: settings that the API has refused; they are taken for true only from a fresh look-up.
    """
    look_up = _look_ups.get(grokvideo_conn_id)
    if look_up is None or not look_up.serves(refused):
        look_up = _look_ups[grokvideo_conn_id] = _LookUp(grokvideo_conn_id)
    # One wait that is cancelled does not take the look-up from the others.
    return await asyncio.shield(look_up.task)


class _LookUp:
    """One look-up of a connection, for all who ask on the same event loop."""

    def __init__(self, conn_id: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.task = self.loop.create_task(_look_up(conn_id))

    def serves(self, refused: Settings | None) -> bool:
        """Whether its result, or the one to come, is as good as that of a new one."""
        if self.loop is not asyncio.get_running_loop() or self.loop.time() - self.began > LOOK_UP_KEPT:
            return False
        if not self.task.done():
            return True
        return not self.task.cancelled() and self.task.exception() is None and self.task.result() != refused


_look_ups: dict[str, _LookUp] = {}


async def _look_up(conn_id: str) -> Settings:
    try:
        return settings_of(await _get_connection(conn_id))
    except AirflowNotFoundException as error:
        raise InvalidRequestError(f"the connection {conn_id} is not defined: {error}") from error


async def _get_connection(conn_id: str) -> Connection:
    try:
        return await get_async_connection(conn_id)
    except AirflowNotFoundException:
        # dag.test() of Airflow 3.3 runs triggers where connections of the database are found synchronously only.
        return await asyncio.to_thread(BaseHook.get_connection, conn_id)
