"""The sensor in each of its modes: the same tolerance, the same errors, the same result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_grokvideo import results
from airflow_provider_grokvideo.api import polling
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import GrokVideoError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sensors import waiting
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_0_PLUS
from tests.support.task_run import TaskRun

MODES: dict[str, dict[str, Any]] = {
    "deferred": {"deferrable": True},
    "poke": {"deferrable": False},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
}
in_every_mode = pytest.mark.parametrize("mode", MODES)
START = datetime(2026, 1, 1, tzinfo=UTC)


def submitted(prompt: str = "A lake", **fields: Any) -> str:
    """Return the id of a new generation."""
    return GrokVideoHook().submit(VideoRequest(prompt=prompt, duration=1, **fields))


class Processes(TaskRun):
    """A task whose sensor may be rescheduled: each poll is then made by an operator of its own."""

    first: datetime | None = None
    rescheduled = 0
    latest: Processes

    def context(self, operator: Any) -> dict[str, Any]:
        context = super().context(operator)
        context["ti"].try_number = 1
        context["ti"].get_first_reschedule_date = lambda _: self.first
        return context

    def run(self) -> Processes:
        Processes.latest = self
        while True:
            started = datetime.now(UTC)
            super().attempt()
            pause = getattr(self.error, "reschedule_date", None)
            if pause is None:
                return self
            self.first = self.first or started
            self.rescheduled += 1
            time.sleep(max(0.0, (pause - datetime.now(UTC)).total_seconds()))


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a sensor of Airflow 2 find its first process where the tests keep it: it asks the database."""
    if not AIRFLOW_V_3_0_PLUS:
        monkeypatch.setattr("airflow.sensors.base._is_metadatabase_mysql", lambda: False)
        monkeypatch.setattr("airflow.sensors.base._orig_start_date", lambda *_, **__: Processes.latest.first)


def sense(mode: str, request_id: Any, **given: Any) -> Processes:
    """Run the sensor to its end."""
    given = {"poll_interval": 0.1, "timeout": 20, **MODES[mode], **given}
    return Processes(lambda: GrokVideoSensor(task_id="sense", request_id=request_id, **given)).run()


@in_every_mode
def test_the_result_is_the_same(mode: str, sandbox: Any) -> None:
    request_id = submitted()

    done = sense(mode, f" {request_id}\n")

    assert done.state == "success", done.error
    assert done.result.pop("elapsed_seconds") > 0.1
    assert done.result.pop("video_url").startswith("http")
    assert done.result == {
        "request_id": request_id,
        "status": "done",
        "model": "grok-imagine-video",
        "duration": 1,
        "cost_usd": "0.05",
        "path": None,
        "size_bytes": None,
        "sha256": None,
        "content_type": None,
    }


@in_every_mode
@pytest.mark.parametrize(
    ("given", "state"), [({}, "failed"), ({"soft_fail": True}, "skipped"), ({"never_fail": True}, "skipped")], ids=str
)
@pytest.mark.parametrize("ending", ["moderated", "failed", "timeout", "empty", "connection"])
def test_every_end_is_what_the_arguments_say(
    mode: str, given: dict[str, Any], state: str, ending: str, sandbox: Any
) -> None:
    request_id: Any = None if ending == "empty" else submitted(f"A lake #{ending}" if "ed" in ending else "A lake")
    if ending == "timeout":
        sandbox.fault("poll", "bare_id", times=None, request_id=request_id)
        given = {**given, "timeout": 0.5}
    if ending == "connection":
        given = {**given, "grokvideo_conn_id": "nowhere"}

    done = sense(mode, request_id, **given)

    assert (done.state if done.state != "up_for_retry" else "failed") == state
    if ending == "timeout":
        assert isinstance(done.error, AirflowSkipException if given.keys() - {"timeout"} else AirflowSensorTimeout)
        assert request_id in str(done.error)
        assert "0.5 s" in str(done.error)


@in_every_mode
def test_an_unknown_id_is_waited_on_for_as_long(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "REFUSAL_TOLERANCE", 1.0)
    began = time.monotonic()

    done = sense(mode, "no-such-id")

    assert isinstance(done.error, AirflowFailException)
    assert "no-such-id" in str(done.error)
    assert 1.0 <= time.monotonic() - began < 6
    assert (done.rescheduled > 2) is (mode == "reschedule")


@in_every_mode
def test_polls_may_fail_for_as_long(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "FAILURE_TOLERANCE", 1.0)
    request_id = submitted()
    sandbox.fault("poll", "server_error", times=None, request_id=request_id)
    began = time.monotonic()

    done = sense(mode, request_id)

    assert isinstance(done.error, GrokVideoError)
    assert request_id in str(done.error)
    assert 1.0 <= time.monotonic() - began < 6


@in_every_mode
def test_polls_that_fail_now_and_then_do_not_add_up(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "FAILURE_TOLERANCE", 0.6)
    request_id = submitted()
    for _ in range(3):
        sandbox.fault("poll", "server_error", times=2, request_id=request_id)
        sandbox.fault("poll", "bare_id", times=3, request_id=request_id)

    done = sense(mode, request_id)

    assert done.state == "success", done.error


@in_every_mode
def test_a_rotated_key_is_read_again(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_grokvideo.hooks.async_connection.LOOKUP_TTL", 0.0)
    request_id = submitted()
    right = json.loads(AIRFLOW_CONN())
    polls: list[Any] = []

    def rotate(original: Callable[..., Any]) -> Callable[..., Any]:
        def failed(poller: Any, error: Any, now: float) -> Any:
            polls.append(error)
            monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(right))
            return original(poller, error, now)

        return failed

    monkeypatch.setattr(polling.Poller, "on_error", rotate(polling.Poller.on_error))
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps({**right, "password": "old-key"}))

    done = sense(mode, request_id)

    assert done.state == "success", done.error
    assert len(polls) in {1, 2}


@in_every_mode
def test_a_wrong_key_ends_the_wait(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id = submitted()
    connection = {**json.loads(AIRFLOW_CONN()), "password": "wrong-key"}
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))

    done = sense(mode, request_id)

    assert isinstance(done.error, AirflowFailException)


def AIRFLOW_CONN() -> str:
    """Return the connection as the fixture has set it."""
    import os

    return os.environ["AIRFLOW_CONN_GROKVIDEO_DEFAULT"]


@in_every_mode
def test_the_time_that_it_took_counts_all_processes(mode: str, sandbox: Any) -> None:
    request_id = submitted()
    sandbox.fault("poll", "bare_id", times=6, request_id=request_id)

    done = sense(mode, request_id, poll_interval=0.2)

    assert done.state == "success", done.error
    assert 1.0 < done.result["elapsed_seconds"] < 20
    assert (done.rescheduled >= 5) is (mode == "reschedule")


@in_every_mode
def test_the_log_says_what_is_waited_for(mode: str, sandbox: Any, capsys: pytest.CaptureFixture[str]) -> None:
    request_id = submitted()
    sandbox.fault("poll", "unknown_status", times=1, request_id=request_id)

    sense(mode, request_id)

    # Airflow logs to one or the other.
    log = "".join(capsys.readouterr())
    assert f"Waiting for generation {request_id}" in log
    assert "20 s at most" in log
    assert "a status this package does not know" in log


@in_every_mode
def test_silent_fail_waits_on(mode: str, sandbox: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_grokvideo.utils.retries.PAUSE", 0.01)
    request_id = submitted()
    blocked = tmp_path / "videos"
    blocked.write_text("a file where the folder is to be")

    def finish_and_unblock(*args: Any, **kwargs: Any) -> Any:
        try:
            return results.finish(*args, **kwargs)
        finally:
            if blocked.is_file():
                blocked.unlink()

    monkeypatch.setattr(waiting, "finish", finish_and_unblock)
    given = {"poll_interval": 0.1, "timeout": 20, "silent_fail": True, **MODES[mode]}
    done = Processes(
        lambda: GrokVideoSensor(task_id="sense", request_id=request_id, output_path=f"file://{blocked}/v.mp4", **given)
    ).run()

    assert done.state == "success", done.error
    assert (blocked / "v.mp4").stat().st_size == done.result["size_bytes"]


def test_a_pause_that_the_api_asks_for_is_kept_in_mode_poke(sandbox: Any) -> None:
    request_id = submitted()
    sandbox.fault("poll", "rate_limited", retry_after=1, times=1, request_id=request_id)
    began = time.monotonic()

    done = sense("poke", request_id)

    assert done.state == "success"
    assert time.monotonic() - began > 1


# --- what the triggerer hands over ---------------------------------------------------------------------


def context(try_number: int) -> Any:
    """Return what a sensor needs of a context."""
    found = TaskRun(list).context(SimpleNamespace(task_id="sense"))
    found["ti"].try_number = try_number
    return found


@pytest.mark.parametrize("status", ["timeout", "done", "error"])
def test_an_event_of_an_earlier_attempt_is_ignored(status: str, sandbox: Any) -> None:
    request_id = submitted()
    sensor = GrokVideoSensor(task_id="sense", request_id=request_id)
    event = {"status": status, "request_id": request_id}

    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute_complete(context(2), event, started_at=time.time() - 500, try_number=1)

    assert deferral.value.kwargs["try_number"] == 2
    assert time.time() - deferral.value.kwargs["started_at"] < 60
    assert deferral.value.trigger.deadline > time.time() + 800


@pytest.mark.parametrize(
    "kwargs", [{}, {"began_at": 0.0}, {"began_at": 0.0, "try_number": 2}, {"started_at": 0.0, "try_number": 2}], ids=str
)
def test_arguments_of_this_and_earlier_releases_are_taken(kwargs: dict[str, Any], sandbox: Any) -> None:
    request_id = submitted()
    GrokVideoHook().wait(request_id, poll_interval=0.1)
    kwargs = {name: time.time() - 100 if name.endswith("_at") else value for name, value in kwargs.items()}

    result = GrokVideoSensor(task_id="sense", request_id=request_id).execute_complete(
        context(2), {"status": "done", "request_id": request_id}, **kwargs
    )

    assert result["status"] == "done"
    assert (result["elapsed_seconds"] >= 100) is bool(kwargs)


@pytest.mark.parametrize(
    ("error", "kind"), [("Trigger timeout", AirflowSensorTimeout), ("Trigger failure", GrokVideoError)]
)
def test_a_trigger_that_failed_is_not_the_end_of_the_generation(
    error: str, kind: type[Exception], sandbox: Any
) -> None:
    request_id = submitted()
    sensor = GrokVideoSensor(task_id="sense", request_id=request_id)
    sandbox.fault("poll", "bare_id", times=1, request_id=request_id)

    with pytest.raises(kind, match=request_id):
        sensor.resume_execution("__fail__", {"error": error, "traceback": ["x"]}, context(1))

    GrokVideoHook().wait(request_id, poll_interval=0.1)
    assert sensor.resume_execution("__fail__", {"error": error}, context(1))["status"] == "done"


@pytest.mark.parametrize("event", ["success", "failed", None])
def test_an_end_that_dag_test_does_not_know_is_looked_up(event: Any, sandbox: Any) -> None:
    request_id = submitted()
    GrokVideoHook().wait(request_id, poll_interval=0.1)

    result = GrokVideoSensor(task_id="sense", request_id=request_id).execute_complete(context(1), event)

    assert (result["request_id"], result["status"]) == (request_id, "done")


# --- arguments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "default_args", "poll", "poke"),
    [
        ({}, {}, 5, 5),
        ({"poll_interval": 7}, {}, 7, 7),
        ({"poke_interval": 7}, {}, 7, 7),
        ({"poll_interval": 2, "poke_interval": 7}, {}, 2, 7),
        ({}, {"poke_interval": 9}, 9, 9),
        ({}, {"poll_interval": 9}, 9, 9),
        ({}, {"poll_interval": 3, "poke_interval": 9}, 3, 9),
        ({"poll_interval": 2}, {"poke_interval": 9}, 2, 2),
        ({"poke_interval": 2}, {"poll_interval": 9}, 2, 2),
        ({"poke_interval": timedelta(minutes=1)}, {"poll_interval": 9}, 60, 60),
        ({"poll_interval": timedelta(seconds=0.5)}, {"poll_interval": 9, "poke_interval": 8}, 0.5, 0.5),
        ({}, {"poke_interval": timedelta(seconds=90)}, 90, 90),
    ],
    ids=str,
)
def test_which_interval_applies(given: dict[str, Any], default_args: dict[str, Any], poll: float, poke: float) -> None:
    with DAG("dag", schedule=None, start_date=START, default_args=default_args):
        in_dag = GrokVideoSensor(task_id="sense", request_id="x", **given)
    alone = GrokVideoSensor(task_id="sense", request_id="x", default_args=default_args, **given)

    for sensor in (in_dag, alone):
        assert (sensor.poll_interval, sensor.poke_interval) == (poll, poke)
    with pytest.raises(TaskDeferred) as deferral:
        in_dag._wait.defer(context(1), time.time())
    assert deferral.value.trigger.poll_interval == poll


def test_a_mapped_sensor_keeps_its_interval() -> None:
    with DAG("dag", schedule=None, start_date=START, default_args={"poke_interval": 9}) as dag:
        GrokVideoSensor.partial(task_id="sense").expand(request_id=["a", "b"])

    assert dag.get_task("sense").unmap({"request_id": "a"}).poll_interval == 9


@pytest.mark.parametrize("timeout", [30, 30.0, timedelta(seconds=30)])
def test_the_timeout_is_a_number_or_a_timedelta(timeout: Any) -> None:
    with pytest.raises(TaskDeferred) as deferral:
        GrokVideoSensor(task_id="sense", request_id="x", timeout=timeout)._wait.defer(context(1), time.time())

    assert deferral.value.trigger.deadline - time.time() == pytest.approx(30, abs=10)


@pytest.mark.parametrize("name", ["poll_interval", "poke_interval", "timeout"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "5", True, timedelta(seconds=-1)], ids=str)
def test_what_is_no_time_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        GrokVideoSensor(task_id="sense", request_id="x", **{name: value})


@in_every_mode
@pytest.mark.parametrize(
    "request_id", [None, "", "  ", "None", " None ", 7, ["id"], {"request_id": "id-1", "status": "pending"}], ids=str
)
def test_what_is_no_id_is_refused_by_name(mode: str, request_id: Any, sandbox: Any) -> None:
    done = sense(mode, request_id)

    assert isinstance(done.error, AirflowFailException)
    assert "request_id" in str(done.error)
    assert "XCom" in str(done.error) or "Use its key" in str(done.error)
