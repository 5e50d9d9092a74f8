"""Waits for a generation that somebody else has submitted, and lands it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

# DAG files are parsed all day: what only a running task needs is imported where it runs.
from airflow_provider_grokvideo.api.validation import validate_seconds
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationTimeoutError,
    GrokVideoError,
    InvalidRequestError,
)
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook, describe
from airflow_provider_grokvideo.lineage import ReportsLineage
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, GrokVideoRequestLink, store_links
from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.api.polling import Decision, Poller

SPARE_SECONDS = 60.0
"""Seconds that Airflow lets a wait that began in the triggerer exceed its timeout."""


class GrokVideoSensor(ReportsLineage, BaseSensorOperator):
    """Waits until a generation is final; succeeds with the same result object as the operators.

    It never submits and so never costs anything.

    :param request_id: the generation, from wherever: an operator's XCom, a log, the API's console.
    :param grokvideo_conn_id: the Airflow connection, with the key that submitted it.
    :param output_path: where the video goes, as with the operators.
    :param output_conn_id: the store's Airflow connection.
    :param deferrable: wait in the triggerer. ``False`` uses ``mode``: ``poke`` or ``reschedule``.
    :param poll_interval: seconds between two polls, at least.
    :param timeout: seconds to wait; default 900.
    :param start_from_trigger: begin in the triggerer, without a worker, where Airflow can: 2.11 with a ``request_id``
        that is no template, and 3.3 or later; not in mapped tasks. Elsewhere a worker begins, as always.
    :param end_from_trigger: end in the triggerer, without a worker, unless there is something to do at the end: an
        ``output_path``, ``outlets`` or ``soft_fail``. The result then names no ``video_url``, and on Airflow 3
        those who pull it get it as JSON text.
    """

    template_fields: Sequence[str] = ("request_id", "grokvideo_conn_id", "output_path", "output_conn_id")
    operator_extra_links = (GrokVideoLink(), GrokVideoRequestLink())
    ui_color = "#1d1d28"
    ui_fgcolor = "#ffffff"

    def __init__(
        self,
        *,
        request_id: str,
        grokvideo_conn_id: str = GrokVideoHook.default_conn_name,
        output_path: str | None = None,
        output_conn_id: str | None = None,
        deferrable: bool = True,
        poll_interval: float | timedelta = 5.0,
        timeout: float | timedelta = 900.0,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        poll_interval = validate_seconds("poll_interval", poll_interval)
        kwargs.setdefault("poke_interval", poll_interval)
        super().__init__(timeout=timeout, **kwargs)
        self.request_id = request_id
        self.grokvideo_conn_id = grokvideo_conn_id
        self.output_path = output_path
        self.output_conn_id = output_conn_id
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.end_from_trigger = end_from_trigger
        self.start_from_trigger = start_from_trigger and self._can_start_from_trigger()
        if self.start_from_trigger:
            self.start_trigger_args = self._start_trigger_args()

    @cached_property
    def hook(self) -> GrokVideoHook:
        """The hook of this sensor's connection."""
        return GrokVideoHook(self.grokvideo_conn_id)

    @cached_property
    def poller(self) -> Poller:
        """Judges the polls of this process."""
        from airflow_provider_grokvideo.api.polling import Poller

        now = time.time()
        return Poller(poll_interval=self.poke_interval, deadline=now + self.timeout, now=now)

    def execute(self, context: Context) -> Any:
        """Wait, then land the video.

        :return: the result object.
        """
        with self._errors_for_airflow():
            if not isinstance(self.request_id, str) or not self.request_id.strip():
                raise InvalidRequestError(
                    f"request_id={self.request_id!r} is not allowed; allowed: the id of a generation"
                )
            store_links(context, self.hook, self.request_id)
        if self.deferrable:
            self._defer()
        return super().execute(context)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any], began_at: float | None = None
    ) -> dict[str, Any]:
        """Go on where the trigger ended: land the video or fail.

        :param event: the trigger's.
        :param began_at: when the wait began, in seconds since the epoch. ``dag.test()`` of Airflow 2 does not pass it
            on.
        """
        began_at = time.time() if began_at is None else began_at
        with self._errors_for_airflow():
            from airflow_provider_grokvideo.finishing import generation_from_event

            return self._finish(context, generation_from_event(self.hook, event, self.timeout), began_at)

    def poke(self, context: Context) -> PokeReturnValue:
        """Ask once."""
        from airflow_provider_grokvideo import metrics
        from airflow_provider_grokvideo.api.polling import Stop

        metrics.polled(1)
        with self._errors_for_airflow():
            try:
                generation = self.hook.get_generation(self.request_id)
            except GrokVideoError as error:
                # A rescheduled process does not remember how often the key was refused before.
                if self.reschedule and isinstance(error, AuthenticationError):
                    raise
                decision = self.poller.failed(error, time.time())
                if isinstance(decision, Stop) and decision.error is not None:
                    raise
                self._report(decision, error)
                return PokeReturnValue(is_done=False)
            decision = self.poller.answered(generation, time.time())
            if generation.is_final:
                return PokeReturnValue(is_done=True, xcom_value=self._finish(context, generation, self.poller.began))
            self._report(decision, generation)
            return PokeReturnValue(is_done=False)

    def _report(self, decision: Decision, news: Generation | GrokVideoError) -> None:
        from airflow_provider_grokvideo.api.polling import Ask

        if isinstance(decision, Ask) and decision.report:
            self.log.info("Generation %s: %s", self.request_id, describe(news))

    def _defer(self) -> NoReturn:
        from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoSensorTrigger, GrokVideoTrigger

        now = time.time()
        arguments: dict[str, Any] = {
            "grokvideo_conn_id": self.grokvideo_conn_id,
            "request_id": self.request_id,
            "poll_interval": float(self.poll_interval),
            "deadline": now + float(self.timeout),
        }
        self.defer(
            trigger=GrokVideoSensorTrigger(**arguments, timeout=float(self.timeout), end_from_trigger=True)
            if self._ends_in_trigger
            else GrokVideoTrigger(**arguments),
            method_name="execute_complete",
            kwargs={"began_at": now},
        )
        raise AssertionError("unreachable: defer raises")

    @property
    def _ends_in_trigger(self) -> bool:
        return self.end_from_trigger and not (self.output_path or self.outlets or self.soft_fail)

    def _can_start_from_trigger(self) -> bool:
        given = (self.request_id, self.grokvideo_conn_id)
        if not self.deferrable or not all(isinstance(text, str) for text in given):
            return False
        # Airflow 2 hands the arguments to the trigger as they are written; 3.0 to 3.2 know no start from a trigger.
        return AIRFLOW_V_3_3_PLUS or (not AIRFLOW_V_3_0_PLUS and not any("{" in text for text in given))

    def _start_trigger_args(self) -> StartTriggerArgs:
        from airflow.triggers.base import StartTriggerArgs

        return StartTriggerArgs(
            trigger_cls="airflow_provider_grokvideo.triggers.grokvideo.GrokVideoSensorTrigger",
            trigger_kwargs={
                "grokvideo_conn_id": self.grokvideo_conn_id,
                "request_id": self.request_id,
                "poll_interval": float(self.poll_interval),
                "timeout": float(self.timeout),
                "end_from_trigger": self._ends_in_trigger,
            },
            next_method="execute_complete",
            # Airflow's own limit, for a trigger that never speaks: the trigger's comes first.
            timeout=timedelta(seconds=self.timeout + SPARE_SECONDS),
        )

    def _finish(self, context: Context, generation: Generation, began_at: float) -> dict[str, Any]:
        from airflow_provider_grokvideo.finishing import finish
        from airflow_provider_grokvideo.outcome import verdict_of

        self.ending = verdict_of(generation)
        self.ending = result = finish(
            self.hook,
            context,
            generation,
            began_at=began_at,
            output_path=self.output_path,
            output_conn_id=self.output_conn_id,
            outlets=self.outlets,
        )
        return result

    @contextmanager
    def _errors_for_airflow(self) -> Iterator[None]:
        try:
            yield
        except GrokVideoError as error:
            if self.soft_fail:
                raise AirflowSkipException(str(error)) from error
            if isinstance(error, GenerationTimeoutError):
                raise AirflowSensorTimeout(str(error)) from error
            from airflow_provider_grokvideo.outcome import for_airflow

            raise for_airflow(error) from error
