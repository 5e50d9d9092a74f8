"""Sensor that waits for a generation that something else submitted, and saves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseSensorOperator

from airflow_provider_grokvideo.api.values import validate_seconds
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink
from airflow_provider_grokvideo.sensors.arguments import intervals
from airflow_provider_grokvideo.utils.deferral import TIMEOUT_MARGIN
from airflow_provider_grokvideo.utils.masking import MaskedFieldsMixin
from airflow_provider_grokvideo.utils.openlineage import OpenLineageMixin
from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, PokeReturnValue
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_grokvideo.sensors.waiting import SensorWait


class GrokVideoSensor(MaskedFieldsMixin, OpenLineageMixin, BaseSensorOperator):
    """Wait until a generation is final; succeed with the same result object as the operators.

    It never submits, and costs nothing.

    :param request_id: the generation: from an operator's XCom, a log, or the API's console.
    :param grokvideo_conn_id: the Airflow connection, with the key that submitted it.
    :param output_path: destination of the video, as with the operators.
    :param output_conn_id: the Airflow connection of the store.
    :param deferrable: wait in the triggerer. ``False`` uses ``mode``: ``poke`` or ``reschedule``.
    :param poll_interval: minimum seconds between two polls, as a number or timedelta. Default: ``poke_interval``,
        else 5 seconds. If both are given, ``poke_interval`` is for the modes ``poke`` and ``reschedule`` alone.
    :param timeout: seconds to wait, as a number or timedelta; default 900.
    :param start_from_trigger: start in the triggerer, without a worker, if Airflow can: 2.11 with a ``request_id``
        that is not a template, and 3.3 or later; not in mapped tasks. Otherwise a worker starts.
    :param end_from_trigger: end in the triggerer, without a worker, unless there is something to do at the end: an
        ``output_path``, ``outlets``, ``soft_fail``, ``never_fail`` or ``silent_fail``. The result then has no
        ``video_url``, and on Airflow 3 a task that pulls it gets JSON text.
    """

    template_fields: Sequence[str] = ("request_id", "grokvideo_conn_id", "output_path", "output_conn_id")
    operator_extra_links = (GrokVideoLink(),)
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
        poll_interval: float | timedelta | None = None,
        timeout: float | timedelta = 900.0,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        poll_seconds, poke_seconds = intervals(poll_interval, kwargs)
        # Airflow allows 0: one poll.
        super().__init__(poke_interval=poke_seconds, timeout=timeout and validate_seconds("timeout", timeout), **kwargs)
        self.request_id = request_id
        self.grokvideo_conn_id = grokvideo_conn_id
        self.output_path = output_path
        self.output_conn_id = output_conn_id
        self.deferrable = deferrable
        self.poll_interval = poll_seconds
        self.end_from_trigger = end_from_trigger
        self.start_from_trigger = start_from_trigger and self._can_start_from_trigger()
        if self.start_from_trigger:
            self.start_trigger_args = self._start_trigger_args()

    @cached_property
    def hook(self) -> GrokVideoHook:
        """The hook of this sensor's connection."""
        return GrokVideoHook(self.grokvideo_conn_id)

    @cached_property
    def _wait(self) -> SensorWait:
        # The only late import: DAG files are parsed all the time, and only a running task needs the rest.
        from airflow_provider_grokvideo.sensors.waiting import SensorWait

        return SensorWait(self)

    def execute(self, context: Context) -> Any:
        """Wait, then save the video.

        :return: the result object.
        """
        return self._wait.run(context, super().execute)

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        started_at: float | None = None,
        try_number: int | None = None,
        began_at: float | None = None,
    ) -> dict[str, Any]:
        """Save the video, or fail, after the trigger's event.

        ``dag.test()`` passes the event alone.

        :param event: the trigger's event.
        :param started_at: when the wait started, in seconds since the epoch.
        :param try_number: of the attempt that deferred.
        :param began_at: ``started_at`` of a task that release 0.1.0 deferred.
        """
        return self._wait.complete(context, event, started_at or began_at, try_number)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after the triggerer; a failed trigger says nothing about the generation."""
        if next_method == "__fail__":
            event = self._wait.event_of_failed_trigger(next_kwargs or {})
            next_method, next_kwargs = "execute_complete", {"event": event}
        with self._wait.airflow_errors():
            return super().resume_execution(next_method, next_kwargs, context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once, and save the video of a final generation."""
        return self._wait.poke(context)

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        """Return seconds to the next poll; after a failed one, the API may ask for more."""
        return max(super()._get_next_poke_interval(*args, **kwargs), self._wait.pause)

    @property
    def backoff(self) -> dict[str, float]:
        """Trigger arguments for ``exponential_backoff``."""
        if not self.exponential_backoff:
            return {}
        return {"max_poll_interval": self.max_wait.total_seconds() if self.max_wait else self.timeout}

    @property
    def ends_in_trigger(self) -> bool:
        """Whether the task can end without a worker."""
        on_worker = self.output_path or self.outlets or self.soft_fail or self.never_fail or self.silent_fail
        return self.end_from_trigger and not on_worker

    def _can_start_from_trigger(self) -> bool:
        given = (self.request_id, self.grokvideo_conn_id)
        if not self.deferrable or not all(isinstance(text, str) for text in given):
            return False
        # Airflow 2 renders no templates of the trigger's arguments; 3.0 to 3.2 cannot start a task from a trigger.
        return AIRFLOW_V_3_3_PLUS or (not AIRFLOW_V_3_0_PLUS and not any("{" in text for text in given))

    def _start_trigger_args(self) -> StartTriggerArgs:
        from airflow.triggers.base import StartTriggerArgs

        return StartTriggerArgs(
            trigger_cls="airflow_provider_grokvideo.triggers.grokvideo.GrokVideoSensorTrigger",
            trigger_kwargs={
                "grokvideo_conn_id": self.grokvideo_conn_id,
                "request_id": self.request_id,
                "poll_interval": self.poll_interval,
                "timeout": self.timeout,
                "end_from_trigger": self.ends_in_trigger,
                **self.backoff,
            },
            next_method="execute_complete",
            # Airflow's own limit, for a trigger that sends no event.
            timeout=timedelta(seconds=self.timeout + TIMEOUT_MARGIN),
        )
