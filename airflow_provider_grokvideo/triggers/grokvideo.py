"""Waits for a generation in the triggerer. It only asks: a trigger may run twice, so it never submits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf
from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.api.aio import shared_client
from airflow_provider_grokvideo.api.models import DEFAULT_MODEL
from airflow_provider_grokvideo.api.polling import Poller, Stop
from airflow_provider_grokvideo.exceptions import AuthenticationError, GrokVideoError, InvalidRequestError
from airflow_provider_grokvideo.hooks.async_connection import aget_settings
from airflow_provider_grokvideo.hooks.grokvideo import describe
from airflow_provider_grokvideo.outcome import ending_error, failure_summary, from_event, to_event, to_result
from airflow_provider_grokvideo.sensors.grokvideo import SPARE_SECONDS

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.aio import PollRequest
    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.api.settings import Settings

_SCHEDULER_LAG = 5.0
"""Seconds from the moment a worker notices the end of a task's process until the scheduler reads it, with margin."""


def min_deferral() -> float:
    """Return the seconds for which a task must stay deferred, at least.

    A scheduler that reads "the process of this task has ended" only after it has queued the deferred task again fails
    the task (apache/airflow#71580, #72716). Every second worker notices the end of its process one heartbeat late.
    """
    heartbeat: float = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)
    return heartbeat + _SCHEDULER_LAG


class GrokVideoTrigger(BaseTrigger):
    """Asks about one generation until it is final or the deadline has passed, then fires one event.

    :param grokvideo_conn_id: the Airflow connection; its key is looked up here and is no argument.
    :param request_id: the generation.
    :param poll_interval: seconds between two polls, at least.
    :param deadline: seconds since the epoch. It is absolute, so that it outlives a triggerer.
    """

    def __init__(
        self, grokvideo_conn_id: str, request_id: str, poll_interval: float, deadline: float, **newer: Any
    ) -> None:
        if newer:
            raise TypeError(
                f"{type(self).__name__} of release {__version__} does not know {', '.join(map(repr, newer))}: a newer "
                "airflow-provider-grokvideo deferred this task; install the same release on triggerers as on workers. "
                f"Generation {request_id} goes on; a retry or clear resumes it and does not pay again"
            )
        super().__init__()
        self.grokvideo_conn_id = grokvideo_conn_id
        self.request_id = request_id
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments that make the same trigger again."""
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
        """Wait, then fire ``{"status": done|failed|expired|moderated|timeout|error, "request_id": …, …}``."""
        earliest = time.monotonic() + self._min_deferral()
        poller = self._poller()
        try:
            stop = await self._follow(poller)
        except (AuthenticationError, InvalidRequestError) as error:
            # The connection itself is at fault; nothing was asked.
            stop = Stop("error", error)
        except asyncio.CancelledError:
            # A clear, a kill or a triggerer going down: nothing is cancelled at the API, which offers no way to.
            self.log.info(
                "This wait for generation %s stops. The generation goes on and is billed; a retry or clear resumes it",
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

    def _event(self, said: dict[str, Any]) -> TriggerEvent:
        return TriggerEvent(said)

    async def _report(self, news: Generation | GrokVideoError) -> None:
        line = "Generation %s: %s"
        if hasattr(self.log, "ainfo"):
            # Airflow's log is a pipe to a supervisor that may be busy: the event loop must not wait until it reads.
            await self.log.ainfo(line, self.request_id, describe(news))
        else:
            self.log.info(line, self.request_id, describe(news))

    async def _follow(self, poller: Poller) -> Stop:
        # First of all asleep: of waits that start together, the event loop gets the work little by little.
        await asyncio.sleep(poller.first_delay())
        async with AsyncExitStack() as clients:
            return await self._poll(poller, clients)

    async def _poll(self, poller: Poller, clients: AsyncExitStack) -> Stop:
        # No time limit around it: where a triggerer was down, many waits are past their deadlines, and each is to be
        # polled once. The rate limiter bounds how long a poll waits for its turn, request_timeout how long it takes.
        poll: PollRequest | None = None
        refused: Settings | None = None
        while True:
            news: Generation | GrokVideoError
            try:
                if poll is None:
                    poll = await self._prepare_poll(clients, refused)
                news = await poll.send()
            except GrokVideoError as error:
                if _is_final(error):
                    raise
                news = error
                decision = poller.on_error(error, time.time())
                if isinstance(error, AuthenticationError) and poll is not None and refused is None:
                    refused, poll = poll.client.settings, None
            else:
                decision = poller.on_generation(news, time.time())
            if isinstance(decision, Stop):
                return decision
            if decision.report:
                await self._report(news)
            await asyncio.sleep(decision.delay)

    async def _prepare_poll(self, clients: AsyncExitStack, refused: Settings | None) -> PollRequest:
        settings = await aget_settings(self.grokvideo_conn_id, refused)
        return (await clients.enter_async_context(shared_client(settings))).prepare_poll(self.request_id)


def _is_final(error: GrokVideoError) -> bool:
    """Return whether the connection itself is at fault: nothing was asked, and asking again would not help."""
    return isinstance(error, InvalidRequestError) or (isinstance(error, AuthenticationError) and error.status is None)


class BackoffPoller(Poller):
    """A poller whose interval doubles after each poll, as that of a sensor with ``exponential_backoff``.

    :param max_poll_interval: seconds up to which it doubles.
    """

    def __init__(self, *, max_poll_interval: float, **arguments: Any) -> None:
        self._max_poll_interval = max_poll_interval
        super().__init__(**arguments)

    @property
    def poll_interval(self) -> float:
        """Seconds between two polls, at least."""
        doubled = self._shortest * 2.0 ** min(self.polls, 60)
        return min(doubled, max(self._shortest, self._max_poll_interval))

    @poll_interval.setter
    def poll_interval(self, seconds: float) -> None:
        """Set the shortest interval."""
        self._shortest = seconds


class GrokVideoSensorTrigger(GrokVideoTrigger):
    """Waits for a sensor without a worker: it can be the task's start, and its end.

    :param timeout: seconds to wait, from the start of this trigger where there is no ``deadline``.
    :param end_from_trigger: end the task here. The result has no ``video_url``: Airflow logs what a trigger sends, and
        whoever has the URL has the video.
    :param max_poll_interval: seconds up to which the interval doubles after each poll; ``None``: it does not.
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
        self.began_at = self.deadline - timeout
        self.end_from_trigger = end_from_trigger
        self.max_poll_interval = max_poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class path and the arguments that make the same trigger again."""
        _, arguments = super().serialize()
        arguments |= {"timeout": self.timeout, "end_from_trigger": self.end_from_trigger}
        if self.starts_here:
            arguments["deadline"] = None
        if self.max_poll_interval is not None:
            arguments["max_poll_interval"] = self.max_poll_interval
        return f"{type(self).__module__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; then fire one event for the sensor, or one that ends its task."""
        if self.starts_here:
            # No worker has seen the arguments, and their templates are rendered only here.
            self.request_id = str(self.request_id).strip()
            self.began_at = time.time()
            self.deadline = self.began_at + self.timeout
            # Kept in the database, so that the wait does not begin anew where the triggerer does.
            limit = getattr(self, "timeout_after", None) or getattr(self.task_instance, "trigger_timeout", None)
            if limit is not None:
                self.deadline = min(self.deadline, limit.timestamp())
                self.began_at = min(self.began_at, limit.timestamp() - self.timeout - SPARE_SECONDS)
            if self.request_id in {"", "None"}:
                error = InvalidRequestError("request_id is empty, so the XCom that it comes from was not found")
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
        # No process of this task has ended, or none follows: the scheduler can mistake nothing.
        return 0.0 if self.starts_here or self.end_from_trigger else super()._min_deferral()

    def _event(self, said: dict[str, Any]) -> TriggerEvent:
        if not self.end_from_trigger:
            return TriggerEvent({**said, "began_at": self.began_at})
        outcome: dict[str, Any] | None = None
        try:
            generation = from_event(said, self.timeout)
            if generation.state == "done":
                elapsed = time.time() - self.began_at
                result = to_result(generation, None, model=DEFAULT_MODEL, elapsed_seconds=elapsed)
                return TaskSuccessEvent(xcoms={"return_value": result})
            outcome = failure_summary(generation)
            raise ending_error(generation)
        except GrokVideoError as error:
            self.log.error("%s", error)  # noqa: TRY400  # whence it was raised tells nobody anything
            return TaskFailedEvent(xcoms={"outcome": outcome} if outcome else None)
