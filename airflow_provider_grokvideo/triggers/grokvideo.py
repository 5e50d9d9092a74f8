"""Triggers that wait for a generation. They only poll: a trigger may run twice, so it never submits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.api.polling import Poller, Stop
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.events import from_event, to_event
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationError,
    GrokVideoError,
    InvalidRequestError,
)
from airflow_provider_grokvideo.hooks.async_connection import aget_settings
from airflow_provider_grokvideo.hooks.connection import default_model
from airflow_provider_grokvideo.hooks.grokvideo import describe
from airflow_provider_grokvideo.results import failure_summary, to_result
from airflow_provider_grokvideo.utils.deferral import TIMEOUT_MARGIN, min_deferral

if TYPE_CHECKING:
    from types import ModuleType

    from airflow_provider_grokvideo.api.aio import PollRequest
    from airflow_provider_grokvideo.api.generation import Generation


class GrokVideoTrigger(BaseTrigger):
    """Trigger that polls one generation until it is final or the deadline has passed, then fires one event.

    :param grokvideo_conn_id: the Airflow connection. Its key is looked up in the triggerer and is never an argument.
    :param request_id: the generation.
    :param poll_interval: minimum seconds between two polls.
    :param deadline: seconds since the epoch: absolute, so that it stays the same after a restart of the triggerer.
    """

    def __init__(
        self, grokvideo_conn_id: str, request_id: str, poll_interval: float, deadline: float, **newer: Any
    ) -> None:
        if newer:
            raise TypeError(
                f"{type(self).__name__} of release {__version__} does not know {', '.join(map(repr, newer))}: a newer "
                f"airflow-provider-grokvideo deferred this task. Generation {request_id} continues and is billed, and "
                "the next attempt resumes it. Install the same release on triggerers as on workers."
            )
        super().__init__()
        self.grokvideo_conn_id = grokvideo_conn_id
        self.request_id = request_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self._default_model = default_model(Settings())

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that create the same trigger again."""
        return (
            "airflow_provider_grokvideo.triggers.grokvideo.GrokVideoTrigger",
            {
                "grokvideo_conn_id": self.grokvideo_conn_id,
                "request_id": self.request_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield ``{"status": done|failed|expired|moderated|timeout|error, "request_id": …, …}``."""
        earliest = time.monotonic() + self._min_deferral()
        poller = self._poller()
        try:
            stop = await self._follow(poller)
        except (AuthenticationError, InvalidRequestError) as error:
            # The connection itself is wrong; nothing was sent.
            stop = Stop("error", error)
        except asyncio.CancelledError:
            # The task is cleared or killed, or the triggerer stops. The API cannot cancel a generation.
            self.log.info(
                "This wait for generation %s stops. The generation is billed, and the next attempt resumes it",
                self.request_id,
            )
            raise
        await asyncio.sleep(max(0.0, earliest - time.monotonic()))
        yield self._event(to_event(stop, self.request_id, poller.generation, poller.polls))

    def _poller(self) -> Poller:
        return Poller(poll_interval=self.poll_interval, deadline=self.deadline, now=time.time())

    def _min_deferral(self) -> float:
        # Only a triggerer gives a trigger an id; ``dag.test()`` runs it without one, and without a scheduler.
        return 0.0 if self.trigger_id is None else min_deferral()

    def _event(self, event: dict[str, Any]) -> TriggerEvent:
        return TriggerEvent(event)

    async def _report(self, update: Generation | GrokVideoError) -> None:
        line = "Generation %s: %s"
        if hasattr(self.log, "ainfo"):
            # Airflow's log is a pipe to a supervisor that may be busy: a blocking write would stop the event loop.
            await self.log.ainfo(line, self.request_id, describe(update))
        else:
            self.log.info(line, self.request_id, describe(update))

    async def _follow(self, poller: Poller) -> Stop:
        # Sleep first, so that waits that start together do not load the event loop at the same moment.
        await asyncio.sleep(poller.first_delay())
        async with AsyncExitStack() as clients:
            return await self._poll(poller, clients)

    async def _poll(self, poller: Poller, clients: AsyncExitStack) -> Stop:
        # Without a time limit: after a triggerer was down, many waits are past their deadlines, and each must be polled
        # once. The rate limiter bounds how long a poll is queued, request_timeout how long it takes.
        poll: PollRequest | None = None
        refused: Settings | None = None
        while True:
            update: Generation | GrokVideoError
            try:
                if poll is None:
                    poll = await self._prepare_poll(clients, refused)
                update = await poll.send()
            except GrokVideoError as error:
                if _is_final(error):
                    raise
                update = error
                decision = poller.on_error(error, time.time())
                if isinstance(error, AuthenticationError) and poll is not None and refused is None:
                    refused, poll = poll.client.settings, None
            else:
                decision = poller.on_generation(update, time.time())
            if isinstance(decision, Stop):
                return decision
            if decision.report:
                await self._report(update)
            await asyncio.sleep(decision.delay)

    async def _prepare_poll(self, clients: AsyncExitStack, refused: Settings | None) -> PollRequest:
        settings = await aget_settings(self.grokvideo_conn_id, refused)
        self._default_model = default_model(settings)
        # In a thread: the import of aiohttp takes longer than an event loop may be blocked.
        is_imported = _import_client.cache_info().currsize > 0
        client = _import_client() if is_imported else await asyncio.to_thread(_import_client)
        poll: PollRequest = (await clients.enter_async_context(client.shared_client(settings))).prepare_poll(
            self.request_id
        )
        return poll


@cache
def _import_client() -> ModuleType:
    return import_module("airflow_provider_grokvideo.api.aio")


def _is_final(error: GrokVideoError) -> bool:
    """Return whether the connection itself is wrong: nothing was sent, and another poll would not help."""
    return isinstance(error, InvalidRequestError) or (isinstance(error, AuthenticationError) and error.status is None)


class BackoffPoller(Poller):
    """Poller whose interval doubles after each poll, for a sensor with ``exponential_backoff``.

    :param max_poll_interval: seconds that the interval does not exceed.
    """

    def __init__(self, *, max_poll_interval: float, **arguments: Any) -> None:
        self._max_poll_interval = max_poll_interval
        super().__init__(**arguments)

    @property
    def poll_interval(self) -> float:
        """Minimum seconds between two polls."""
        doubled = self._shortest * 2.0 ** min(self.polls, 60)
        return min(doubled, max(self._shortest, self._max_poll_interval))

    @poll_interval.setter
    def poll_interval(self, seconds: float) -> None:
        """Set the first, shortest interval."""
        self._shortest = seconds


class GrokVideoSensorTrigger(GrokVideoTrigger):
    """Trigger of a sensor. Its task can start and end in the triggerer, without a worker.

    :param timeout: seconds to wait, from the start of this trigger if there is no ``deadline``.
    :param end_from_trigger: end the task in the triggerer. The result has no ``video_url``: Airflow logs the events of
        triggers, and whoever has the URL has the video.
    :param max_poll_interval: seconds up to which the interval doubles after each poll; ``None`` keeps it constant.
    """

    def __init__(
        self,
        grokvideo_conn_id: str,
        request_id: str,
        poll_interval: float,
        timeout: float,
        deadline: float | None = None,
        end_from_trigger: bool = False,
        max_poll_interval: float | None = None,
        **newer: Any,
    ) -> None:
        super().__init__(grokvideo_conn_id, request_id, poll_interval, deadline or 0.0, **newer)
        self.timeout = timeout
        self.starts_here = deadline is None
        self.started_at = self.deadline - timeout
        self.end_from_trigger = end_from_trigger
        self.max_poll_interval = max_poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that create the same trigger again."""
        _, arguments = super().serialize()
        arguments |= {"timeout": self.timeout, "end_from_trigger": self.end_from_trigger}
        if self.starts_here:
            arguments["deadline"] = None
        if self.max_poll_interval is not None:
            arguments["max_poll_interval"] = self.max_poll_interval
        return f"{type(self).__module__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event for the sensor, or one that ends its task."""
        if self.starts_here:
            # Templates in the arguments are rendered only here: no worker has run before.
            self.request_id = str(self.request_id).strip()
            self.started_at = time.time()
            self.deadline = self.started_at + self.timeout
            # Stored in the database, so that a restarted triggerer does not start the wait anew.
            limit = getattr(self, "timeout_after", None) or getattr(self.task_instance, "trigger_timeout", None)
            if limit is not None:
                self.deadline = min(self.deadline, limit.timestamp())
                self.started_at = min(self.started_at, limit.timestamp() - self.timeout - TIMEOUT_MARGIN)
            if self.request_id in {"", "None"}:
                error = InvalidRequestError("request_id is empty, so the XCom that it comes from was not found.")
                yield self._event(to_event(Stop("error", error), self.request_id, None, 0))
                return
        async for event in super().run():
            yield event

    def _poller(self) -> Poller:
        if self.max_poll_interval is None:
            return super()._poller()
        return BackoffPoller(
            max_poll_interval=self.max_poll_interval,
            poll_interval=self.poll_interval,
            deadline=self.deadline,
            now=time.time(),
        )

    def _min_deferral(self) -> float:
        # No process of this task ends before or starts after the deferral, so that the scheduler confuses nothing.
        return 0.0 if self.starts_here or self.end_from_trigger else super()._min_deferral()

    def _event(self, event: dict[str, Any]) -> TriggerEvent:
        if not self.end_from_trigger:
            return TriggerEvent({**event, "started_at": self.started_at})
        outcome: dict[str, Any] | None = None
        try:
            generation = from_event(event, timeout=self.timeout, conn_id=self.grokvideo_conn_id)
            if generation.state == "done":
                elapsed = time.time() - self.started_at
                result = to_result(generation, None, model=self._default_model, elapsed_seconds=elapsed)
                return TaskSuccessEvent(xcoms={"return_value": result})
            outcome = failure_summary(generation)
            raise GenerationError.from_generation(generation)
        except GrokVideoError as error:
            self.log.error("%s", error)  # noqa: TRY400  # the traceback says nothing more
            return TaskFailedEvent(xcoms={"outcome": outcome} if outcome else None)
