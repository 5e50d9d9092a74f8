"""The sensor in each mode: the same tolerances, errors and results."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_grokvideo import results
from airflow_provider_grokvideo.api import polling
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import GrokVideoError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sensors import waiting
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_0_PLUS
from tests.support.connections import connection
from tests.support.task_run import TaskRun

MODES: dict[str, dict[str, Any]] = {
    "deferred": {"deferrable": True},
    "poke": {"deferrable": False},
    "reschedule": {"deferrable": False, "mode": "reschedule"},
}
in_every_mode = pytest.mark.parametrize("mode", MODES)


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
def test_result_is_the_same_in_every_mode(mode: str, sandbox: Any) -> None:
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
def test_failure_follows_soft_fail_and_never_fail(
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
def test_unknown_id_fails_after_the_tolerance(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "REFUSAL_TOLERANCE", 1.0)
    began = time.monotonic()

    done = sense(mode, "no-such-id")

    assert isinstance(done.error, AirflowFailException)
    assert "no-such-id" in str(done.error)
    assert time.monotonic() - began >= 1.0
    assert (done.rescheduled > 2) is (mode == "reschedule")


@in_every_mode
def test_failing_polls_fail_after_the_tolerance(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "FAILURE_TOLERANCE", 1.0)
    request_id = submitted()
    sandbox.fault("poll", "server_error", times=None, request_id=request_id)
    began = time.monotonic()

    done = sense(mode, request_id)

    assert isinstance(done.error, GrokVideoError)
    assert request_id in str(done.error)
    assert time.monotonic() - began >= 1.0


@in_every_mode
def test_separate_poll_failures_do_not_add_up(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "FAILURE_TOLERANCE", 0.6)
    request_id = submitted()
    for _ in range(3):
        sandbox.fault("poll", "server_error", times=2, request_id=request_id)
        sandbox.fault("poll", "bare_id", times=3, request_id=request_id)

    done = sense(mode, request_id)

    assert done.state == "success", done.error


@in_every_mode
def test_rotated_key_is_read_again(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_grokvideo.hooks.async_connection.LOOKUP_TTL", 0.0)
    request_id = submitted()
    right = os.environ["AIRFLOW_CONN_GROKVIDEO_DEFAULT"]
    polls: list[Any] = []

    def rotate(original: Callable[..., Any]) -> Callable[..., Any]:
        def failed(poller: Any, error: Any, now: float) -> Any:
            polls.append(error)
            monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", right)
            return original(poller, error, now)

        return failed

    monkeypatch.setattr(polling.Poller, "on_error", rotate(polling.Poller.on_error))
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", connection(sandbox.base_url, "old-key"))

    done = sense(mode, request_id)

    assert done.state == "success", done.error
    assert len(polls) in {1, 2}


@in_every_mode
def test_wrong_key_ends_the_wait(mode: str, sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id = submitted()
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", connection(sandbox.base_url, "wrong-key"))

    done = sense(mode, request_id)

    assert isinstance(done.error, AirflowFailException)


@in_every_mode
def test_elapsed_seconds_counts_all_processes(mode: str, sandbox: Any) -> None:
    request_id = submitted()
    sandbox.fault("poll", "bare_id", times=6, request_id=request_id)

    done = sense(mode, request_id, poll_interval=0.2)

    assert done.state == "success", done.error
    assert done.result["elapsed_seconds"] > 1.0
    assert (done.rescheduled >= 5) is (mode == "reschedule")


@in_every_mode
def test_log_names_generation_and_timeout(mode: str, sandbox: Any, capsys: pytest.CaptureFixture[str]) -> None:
    request_id = submitted()
    sandbox.fault("poll", "unknown_status", times=1, request_id=request_id)

    sense(mode, request_id)

    # Airflow logs to one or the other.
    log = "".join(capsys.readouterr())
    assert f"Waiting for generation {request_id}" in log
    assert "20 s at most" in log
    assert "a status this package does not know" in log


@in_every_mode
def test_silent_fail_tries_again(mode: str, sandbox: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_poke_mode_respects_retry_after(sandbox: Any) -> None:
    request_id = submitted()
    sandbox.fault("poll", "rate_limited", retry_after=1, times=1, request_id=request_id)
    began = time.monotonic()

    done = sense("poke", request_id)

    assert done.state == "success"
    assert time.monotonic() - began > 1


@in_every_mode
@pytest.mark.parametrize(
    "request_id", [None, "", "  ", "None", " None ", 7, ["id"], {"request_id": "id-1", "status": "pending"}], ids=str
)
def test_invalid_request_id_is_refused(mode: str, request_id: Any, sandbox: Any) -> None:
    done = sense(mode, request_id)

    assert isinstance(done.error, AirflowFailException)
    assert "request_id" in str(done.error)
    assert "XCom" in str(done.error) or "Use its key" in str(done.error)
