"""Waits for a generation that somebody else has submitted, and saves it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
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
    RateLimitError,
    ServerError,
    TransportError,
)
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook, describe
from airflow_provider_grokvideo.links.grokvideo import GrokVideoLink, GrokVideoRequestLink, push_links
from airflow_provider_grokvideo.sensors.arguments import checked_id, intervals
from airflow_provider_grokvideo.utils.masking import MaskedFieldsMixin
from airflow_provider_grokvideo.utils.openlineage import OpenLineageMixin
from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_3_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from airflow.triggers.base import StartTriggerArgs

    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.api.polling import Decision, Poller

SPARE_SECONDS = 60.0
"""Seconds that Airflow lets a wait that began in the triggerer exceed its timeout."""


class GrokVideoSensor(MaskedFieldsMixin, OpenLineageMixin, BaseSensorOperator):
    """Wait until a generation is final; succeed with the same result object as the operators.

    It never submits and so never costs anything.

    :param request_id: the generation, from wherever: an operator's XCom, a log, the API's console.
    :param grokvideo_conn_id: the Airflow connection, with the key that submitted it.
    :param output_path: where the video goes, as with the operators.
    :param output_conn_id: the store's Airflow connection.
    :param deferrable: wait in the triggerer. ``False`` uses ``mode``: ``poke`` or ``reschedule``.
    :param poll_interval: seconds between two polls, at least, as a number or timedelta. Default: ``poke_interval``,
        else 5 seconds. If both are given, ``poke_interval`` is for the modes ``poke`` and ``reschedule`` alone.
    :param timeout: seconds to wait, as a number or timedelta; default 900.
    :param start_from_trigger: begin in the triggerer, without a worker, where Airflow can: 2.11 with a ``request_id``
        that is no template, and 3.3 or later; not in mapped tasks. Elsewhere a worker begins, as always.
    :param end_from_trigger: end in the triggerer, without a worker, unless there is something to do at the end: an
        ``output_path``, ``outlets``, ``soft_fail``, ``never_fail`` or ``silent_fail``. The result then names no
        ``video_url``, and on Airflow 3 those who pull it get it as JSON text.
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
        self._started_at: float | None = None
        self._pause = 0.0
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
        from airflow_provider_grokvideo.api.polling import MAX_INTERVAL, Poller

        now = time.time()
        # In mode reschedule it waits only while polls fail; Airflow does the rest.
        interval = min(self.poke_interval, MAX_INTERVAL) if self.reschedule else self.poke_interval
        return Poller(poll_interval=interval, deadline=(self._started_at or now) + self.timeout, now=now)

    def execute(self, context: Context) -> Any:
        """Wait, then save the video.

        :return: the result object.
        """
        with self._errors_for_airflow():
            self._begin(context)
            if self.deferrable:
                self._defer(context, time.time())
            self._started_at = self._first_started_at(context)
        self.log.info(
            "Waiting for generation %s, %g s at most, in mode %s: %g s between polls",
            self.request_id,
            self.timeout,
            self.mode,
            self.poke_interval,
        )
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            if self.request_id in str(error):
                raise
            with self._errors_for_airflow():
                raise self._timeout_error() from error

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        began_at: float | None = None,
        try_number: int | None = None,
    ) -> dict[str, Any]:
        """Go on where the trigger ended: save the video or fail.

        :param event: the trigger's.
        :param began_at: when the wait began, in seconds since the epoch. ``dag.test()`` does not pass it on.
        :param try_number: the attempt that deferred.
        """
        with self._errors_for_airflow():
            self._begin(context)
            if try_number is not None and try_number != context["ti"].try_number:
                # apache/airflow#56704: on Airflow 3.0 a retry gets the event of the attempt before.
                self.log.info("The event of attempt %d is ignored: this is another attempt", try_number)
                self._defer(context, time.time())
            return self._complete(context, event, began_at)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the triggerer; a trigger that failed there says nothing about the generation."""
        if next_method == "__fail__":
            given = next_kwargs or {}
            reason = str(given.get("error") or "Airflow gives no reason")
            self.log.error("Trigger failed: %s\n%s", reason, "".join(given.get("traceback") or ()))
            status = "timeout" if "timeout" in reason.lower() else "error"
            event = {"status": status, "error_message": f"the trigger failed: {reason}"}
            next_method, next_kwargs = "execute_complete", {"event": event}
        with self._errors_for_airflow():
            return super().resume_execution(next_method, next_kwargs, context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once; again while polls fail in mode reschedule, whose next process would not know for how long."""
        with self._errors_for_airflow(poking=True):
            generation = self._poll()
            if generation is None:
                return PokeReturnValue(is_done=False)
            result = self._finish(context, generation, self._started_at or self.poller.started_at)
            return PokeReturnValue(is_done=True, xcom_value=result)

    def _begin(self, context: Context) -> None:
        self.request_id = checked_id(self.request_id)
        push_links(context, self.hook, self.request_id)

    def _complete(self, context: Context, event: Any, began_at: float | None) -> dict[str, Any]:
        from airflow_provider_grokvideo.finishing import generation_from_event

        # dag.test() knows no end of a task in a trigger: it hands over a state, without the result.
        event = {"request_id": self.request_id, **(event if isinstance(event, Mapping) else {"status": "timeout"})}
        began_at = began_at or event.get("began_at") or time.time()
        try:
            return self._finish(context, generation_from_event(self.hook, event, self.timeout), began_at)
        except GrokVideoError as error:
            if not self.silent_fail or time.time() >= began_at + self.timeout or isinstance(_as_raised(error), _FINAL):
                raise
            self.log.error("Waiting goes on, as silent_fail says: %s", error)  # noqa: TRY400  # what failed is clear
            self._defer(context, began_at)

    def _poll(self) -> Generation | None:
        """Return the generation once it is final."""
        from airflow_provider_grokvideo.api.polling import Stop
        from airflow_provider_grokvideo.utils import metrics

        while True:
            metrics.polled(1)
            self._pause, keeps_slot = 0.0, False
            news: Generation | GrokVideoError
            try:
                news = self.hook.get_generation(self.request_id)
            except GrokVideoError as error:
                news, decision = error, self._decide_on_failure(error)
                keeps_slot = self.reschedule and not _is_refusal(error)
                self._pause = 0.0 if isinstance(decision, Stop) else decision.delay
            else:
                decision = self.poller.on_generation(news, time.time())
                if news.is_final:
                    return news
            if isinstance(decision, Stop):
                self._raise_stop(decision)
            if decision.report or self.reschedule:
                self.log.info("Generation %s: %s", self.request_id, describe(news))
            if not keeps_slot:
                return None
            time.sleep(self._pause)

    def _decide_on_failure(self, error: GrokVideoError) -> Decision:
        from airflow_provider_grokvideo.api import polling

        now = time.time()
        if isinstance(error, AuthenticationError):
            # Its key may have been rotated.
            self.hook.refresh_connection()
        # An id is unknown for a while after its submission, and not later: that needs no memory.
        waited = now - (self._started_at or now)
        if self.reschedule and _is_refusal(error) and waited >= polling.REFUSAL_TOLERANCE:
            return polling.Stop("error", error)
        return self.poller.on_error(error, now)

    def _raise_stop(self, stop: Any) -> NoReturn:
        from airflow_provider_grokvideo.outcome import from_event, to_event

        from_event(to_event(stop, self.request_id, self.poller.generation, self.poller.polls), self.timeout)
        raise AssertionError("unreachable: a stop without a final generation is an error")

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        """Return seconds to the next poll; after one that failed, the API may ask for more."""
        return max(super()._get_next_poke_interval(*args, **kwargs), self._pause)

    def _first_started_at(self, context: Context) -> float:
        """Return when the wait began, in seconds since the epoch; in mode reschedule, in its first process."""
        if not self.reschedule:
            return time.time()
        ti = context["ti"]
        if hasattr(ti, "get_first_reschedule_date"):
            started = ti.get_first_reschedule_date(context)
        elif AIRFLOW_V_3_0_PLUS:
            started = None
        else:
            from airflow.sensors.base import _orig_start_date

            first_try = (ti.max_tries or 0) - (self.retries or 0) + 1
            started = _orig_start_date(ti.dag_id, ti.task_id, ti.run_id, ti.map_index, first_try)
        return started.timestamp() if started else time.time()

    def _defer(self, context: Context, began_at: float) -> NoReturn:
        from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoSensorTrigger, GrokVideoTrigger

        self.log.info(
            "Waiting for generation %s in the triggerer, %.4g s at most, without a worker slot; a poll every %g s",
            self.request_id,
            self.timeout - (time.time() - began_at),
            self.poll_interval,
        )
        arguments: dict[str, Any] = {
            "grokvideo_conn_id": self.grokvideo_conn_id,
            "request_id": self.request_id,
            "poll_interval": self.poll_interval,
            "deadline": began_at + self.timeout,
        }
        own: dict[str, Any] = {"end_from_trigger": self._ends_in_trigger, **self._backoff}
        self.defer(
            trigger=GrokVideoSensorTrigger(**arguments, timeout=self.timeout, **own)
            if any(own.values())
            else GrokVideoTrigger(**arguments),
            method_name="execute_complete",
            kwargs={"began_at": began_at, "try_number": getattr(context["ti"], "try_number", None)},
        )
        raise AssertionError("unreachable: defer raises")

    @property
    def _backoff(self) -> dict[str, float]:
        if not self.exponential_backoff:
            return {}
        return {"max_poll_interval": self.max_wait.total_seconds() if self.max_wait else self.timeout}

    @property
    def _ends_in_trigger(self) -> bool:
        on_worker = self.output_path or self.outlets or self.soft_fail or self.never_fail or self.silent_fail
        return self.end_from_trigger and not on_worker

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
                "poll_interval": self.poll_interval,
                "timeout": self.timeout,
                "end_from_trigger": self._ends_in_trigger,
                **self._backoff,
            },
            next_method="execute_complete",
            # Airflow's own limit, for a trigger that never speaks: the trigger's comes first.
            timeout=timedelta(seconds=self.timeout + SPARE_SECONDS),
        )

    def _finish(self, context: Context, generation: Generation, began_at: float) -> dict[str, Any]:
        from airflow_provider_grokvideo.finishing import finish
        from airflow_provider_grokvideo.outcome import failure_summary

        self.run_summary = failure_summary(generation)
        self.run_summary = result = finish(
            self.hook,
            context,
            generation,
            began_at=began_at,
            output_path=self.output_path,
            output_conn_id=self.output_conn_id,
            outlets=self.outlets,
        )
        return result

    def _timeout_error(self) -> GenerationTimeoutError:
        from airflow_provider_grokvideo.outcome import timeout_error

        last = self.poller.generation
        return timeout_error(
            self.request_id, self.timeout, last.raw_status if last else None, last.progress if last else None
        )

    @contextmanager
    def _errors_for_airflow(self, *, poking: bool = False) -> Iterator[None]:
        """Raise errors as Airflow and this sensor's arguments want them, in every mode.

        :param poking: whether Airflow's own loop is outside, which heeds ``silent_fail``.
        """
        try:
            yield
        except AirflowSkipException:
            raise
        except Exception as error:
            raised = _as_raised(error)
            if poking and self.silent_fail and not isinstance(raised, _FINAL):
                raise
            if self.never_fail or (self.soft_fail and isinstance(error, GrokVideoError | AirflowException)):
                raise AirflowSkipException(str(error)) from error
            if raised is error:
                raise
            raise raised from error


def _as_raised(error: Exception) -> Exception:
    """Return the error as the task raises it. A wait that has timed out is not retried."""
    if isinstance(error, GenerationTimeoutError):
        return AirflowSensorTimeout(str(error))
    if not isinstance(error, GrokVideoError):
        return error
    from airflow_provider_grokvideo.outcome import to_airflow_exception

    return to_airflow_exception(error)


def _is_refusal(error: GrokVideoError) -> bool:
    """Return whether the API refused to say anything of this id, rather than that it was out of reach."""
    return not isinstance(error, AuthenticationError | TransportError | RateLimitError | ServerError)


_FINAL = (AirflowFailException, AirflowSensorTimeout)
"""Errors after which Airflow does not retry."""
