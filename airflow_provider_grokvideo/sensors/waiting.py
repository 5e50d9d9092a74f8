"""Wait of a sensor: polls, deferral, and errors as the sensor's arguments require."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    PokeReturnValue,
)

from airflow_provider_grokvideo.api import polling
from airflow_provider_grokvideo.api.polling import Decision, Poller, Stop
from airflow_provider_grokvideo.api.protocol import poll_url
from airflow_provider_grokvideo.events import generation_from_event, is_stale_event, stop_error, timeout_error
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationTimeoutError,
    GrokVideoError,
)
from airflow_provider_grokvideo.execution import to_airflow_exception
from airflow_provider_grokvideo.hooks.grokvideo import describe
from airflow_provider_grokvideo.links.grokvideo import push_links
from airflow_provider_grokvideo.results import failure_summary, finish
from airflow_provider_grokvideo.sensors.arguments import checked_id
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoSensorTrigger, GrokVideoTrigger
from airflow_provider_grokvideo.utils import metrics
from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_0_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor


class SensorWait:
    """Wait of one sensor in this process.

    :param sensor: the sensor, with rendered fields.
    """

    def __init__(self, sensor: GrokVideoSensor) -> None:
        self.sensor = sensor
        self.pause = 0.0
        """Seconds that the API asks for before the next poll."""
        self._started_at: float | None = None

    @cached_property
    def poller(self) -> Poller:
        """Decisions on the polls of this process."""
        now = time.time()
        sensor = self.sensor
        # In mode reschedule it decides only while polls fail; Airflow does the rest.
        interval = min(sensor.poke_interval, polling.MAX_INTERVAL) if sensor.reschedule else sensor.poke_interval
        return Poller(poll_interval=interval, deadline=(self._started_at or now) + sensor.timeout, now=now)

    def run(self, context: Context, poke_until_done: Callable[[Context], Any]) -> Any:
        """Wait in the triggerer, or by Airflow's own loop.

        :param poke_until_done: the loop.
        """
        sensor = self.sensor
        with self.airflow_errors():
            self._start(context)
            if sensor.deferrable:
                self.defer(context, time.time())
            self._started_at = self._first_started_at(context)
        sensor.log.info(
            "Waiting for generation %s, %g s at most, in mode %s: %g s between polls",
            sensor.request_id,
            sensor.timeout,
            sensor.mode,
            sensor.poke_interval,
        )
        try:
            return poke_until_done(context)
        except AirflowSensorTimeout as error:
            if sensor.request_id in str(error):
                raise
            last = self.poller.generation
            raw_status, progress = (last.raw_status, last.progress) if last else (None, None)
            with self.airflow_errors():
                raise timeout_error(sensor.request_id, sensor.timeout, raw_status, progress) from error

    def complete(
        self, context: Context, event: Any, started_at: float | None, try_number: int | None
    ) -> dict[str, Any]:
        """Save the video, or fail, after the trigger's event.

        :param started_at: when the wait started, in seconds since the epoch.
        :param try_number: of the attempt that deferred.
        """
        sensor = self.sensor
        with self.airflow_errors():
            self._start(context)
            if is_stale_event(context, try_number):
                self.defer(context, time.time())
            # dag.test() passes a state without the result if the task ended in the trigger.
            event = {
                "request_id": sensor.request_id,
                **(event if isinstance(event, Mapping) else {"status": "timeout"}),
            }
            # Release 0.1.0 calls it began_at.
            started_at = started_at or event.get("started_at") or event.get("began_at") or time.time()
            try:
                return self._finish(context, generation_from_event(sensor.hook, event, sensor.timeout), started_at)
            except GrokVideoError as error:
                timed_out = time.time() >= started_at + sensor.timeout
                if not sensor.silent_fail or timed_out or isinstance(_as_raised(error), _FINAL):
                    raise
                sensor.log.error("%s The wait continues because of silent_fail", error)  # noqa: TRY400  # no traceback needed
                self.defer(context, started_at)

    def event_of_failed_trigger(self, reported: Mapping[str, Any]) -> dict[str, Any]:
        """Return the event of a trigger that failed, as a trigger would send it, and log the failure.

        :param reported: Airflow's report.
        """
        reason = str(reported.get("error") or "Airflow gives no reason")
        self.sensor.log.error("Trigger failed: %s\n%s", reason, "".join(reported.get("traceback") or ()))
        status = "timeout" if "timeout" in reason.lower() else "error"
        return {"status": status, "error_message": f"The trigger failed: {reason}"}

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once, and save the video of a final generation.

        In mode reschedule, poll again while polls fail: the next process would not know for how long they fail.
        """
        with self.airflow_errors(poking=True):
            generation = self._poll()
            if generation is None:
                return PokeReturnValue(is_done=False)
            result = self._finish(context, generation, self._started_at or self.poller.started_at)
            return PokeReturnValue(is_done=True, xcom_value=result)

    def defer(self, context: Context, started_at: float) -> NoReturn:
        """Wait in the triggerer.

        :param started_at: when the wait started, in seconds since the epoch.
        """
        sensor = self.sensor
        sensor.log.info(
            "Waiting for generation %s in the triggerer, %.4g s at most, without a worker slot; a poll every %g s",
            sensor.request_id,
            sensor.timeout - (time.time() - started_at),
            sensor.poll_interval,
        )
        arguments: dict[str, Any] = {
            "grokvideo_conn_id": sensor.grokvideo_conn_id,
            "request_id": sensor.request_id,
            "poll_interval": sensor.poll_interval,
            "deadline": started_at + sensor.timeout,
        }
        own: dict[str, Any] = {"end_from_trigger": sensor.ends_in_trigger, **sensor.backoff}
        sensor.defer(
            trigger=GrokVideoSensorTrigger(**arguments, timeout=sensor.timeout, **own)
            if any(own.values())
            else GrokVideoTrigger(**arguments),
            method_name="execute_complete",
            kwargs={"started_at": started_at, "try_number": getattr(context["ti"], "try_number", None)},
        )
        raise AssertionError("unreachable: defer raises")

    @contextmanager
    def airflow_errors(self, *, poking: bool = False) -> Iterator[None]:
        """Raise errors as Airflow and the sensor's arguments require, in every mode.

        :param poking: whether Airflow's own loop calls, which handles ``silent_fail``.
        """
        sensor = self.sensor
        try:
            yield
        except AirflowSkipException:
            raise
        except Exception as error:
            raised = _as_raised(error)
            if poking and sensor.silent_fail and not isinstance(raised, _FINAL):
                raise
            if sensor.never_fail or (sensor.soft_fail and isinstance(error, GrokVideoError | AirflowException)):
                raise AirflowSkipException(str(error)) from error
            if raised is error:
                raise
            raise raised from error

    def _start(self, context: Context) -> None:
        self.sensor.request_id = checked_id(self.sensor.request_id)
        push_links(context, poll_url(self.sensor.hook.settings, self.sensor.request_id))

    def _first_started_at(self, context: Context) -> float:
        """Return when the wait started, in mode reschedule in its first process, in seconds since the epoch."""
        if not self.sensor.reschedule:
            return time.time()
        ti = context["ti"]
        if hasattr(ti, "get_first_reschedule_date"):
            started = ti.get_first_reschedule_date(context)
        elif AIRFLOW_V_3_0_PLUS:
            started = None
        else:
            from airflow.sensors.base import _orig_start_date

            first_try = (ti.max_tries or 0) - (self.sensor.retries or 0) + 1
            started = _orig_start_date(ti.dag_id, ti.task_id, ti.run_id, ti.map_index, first_try)
        return started.timestamp() if started else time.time()

    def _poll(self) -> Generation | None:
        """Return the generation if it is final."""
        sensor = self.sensor
        while True:
            metrics.polled(1)
            self.pause, keeps_slot = 0.0, False
            update: Generation | GrokVideoError
            try:
                update = sensor.hook.get_generation(sensor.request_id)
            except GrokVideoError as error:
                update, decision = error, self._decide_on_error(error)
                keeps_slot = sensor.reschedule and not _is_refusal(error)
                self.pause = 0.0 if isinstance(decision, Stop) else decision.delay
            else:
                decision = self.poller.on_generation(update, time.time())
                if update.is_final:
                    return update
            if isinstance(decision, Stop):
                raise stop_error(
                    decision,
                    sensor.request_id,
                    self.poller.generation,
                    timeout=sensor.timeout,
                    conn_id=sensor.grokvideo_conn_id,
                )
            if decision.report or sensor.reschedule:
                sensor.log.info("Generation %s: %s", sensor.request_id, describe(update))
            if not keeps_slot:
                return None
            time.sleep(self.pause)

    def _decide_on_error(self, error: GrokVideoError) -> Decision:
        now = time.time()
        if isinstance(error, AuthenticationError):
            # Its key may have been rotated.
            self.sensor.hook.refresh_connection()
        # An id is unknown only for a short time after its submission, so that later processes need no memory of it.
        waited = now - (self._started_at or now)
        if self.sensor.reschedule and _is_refusal(error) and waited >= polling.REFUSAL_TOLERANCE:
            return Stop("error", error)
        return self.poller.on_error(error, now)

    def _finish(self, context: Context, generation: Generation, started_at: float) -> dict[str, Any]:
        sensor = self.sensor
        sensor.run_summary = failure_summary(generation)
        sensor.run_summary = result = finish(
            sensor.hook,
            context,
            generation,
            started_at=started_at,
            output_path=sensor.output_path,
            output_conn_id=sensor.output_conn_id,
            outlets=sensor.outlets,
        )
        return result


_FINAL = (AirflowFailException, AirflowSensorTimeout)
"""Errors after which Airflow does not retry."""


def _as_raised(error: Exception) -> Exception:
    """Return the error as the task raises it. A wait that has timed out is not retried."""
    if isinstance(error, GenerationTimeoutError):
        return AirflowSensorTimeout(str(error))
    return to_airflow_exception(error) if isinstance(error, GrokVideoError) else error


def _is_refusal(error: GrokVideoError) -> bool:
    """Return whether the API rejected the poll of this id."""
    return not error.retryable and not isinstance(error, AuthenticationError)
