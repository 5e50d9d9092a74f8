"""Metrics of a task, under the names of docs/metrics.md."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from airflow_provider_grokvideo.utils import metrics, retries
from tests.support.task_run import MemoryStore, TaskRun
from tests.support.video_tasks import video_task


class Stats:
    """Stands in for Airflow's, which sends to StatsD or OpenTelemetry."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)
        self.times: dict[str, list[timedelta]] = defaultdict(list)

    def incr(self, stat: str, count: int = 1) -> None:
        self.counts[stat.removeprefix("grokvideo.")] += count

    def timing(self, stat: str, dt: timedelta) -> None:
        self.times[stat.removeprefix("grokvideo.")].append(dt)


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Stats:
    stand_in = Stats()
    monkeypatch.setattr(metrics, "Stats", stand_in)
    return stand_in


def test_video_counts_time_polls_and_cost(stats: Stats, sandbox: Any) -> None:
    run = video_task(duration=2).run()

    polls = run.events[0]["polls"]
    assert polls >= 1
    assert stats.counts == {"submitted": 1, "finished.done": 1, "polls": polls, "cost_micro_usd": 100_000}
    (seconds,) = stats.times["generation_seconds"]
    assert timedelta(0) < seconds < timedelta(seconds=20)


def test_wait_on_the_worker_counts_the_same(stats: Stats, sandbox: Any) -> None:
    video_task(deferrable=False).run()

    assert {name: stats.counts[name] for name in ("submitted", "finished.done", "cost_micro_usd")} == {
        "submitted": 1,
        "finished.done": 1,
        "cost_micro_usd": 50_000,
    }
    assert stats.counts["polls"] >= 1


@pytest.mark.parametrize("state", ["moderated", "failed", "expired"])
def test_failure_counts_state_and_cost(state: str, stats: Stats, sandbox: Any) -> None:
    run = video_task(prompt=f"A crowd #{state}").run()

    cost = run.xcoms["outcome"]["cost_usd"]
    assert (stats.counts["submitted"], stats.counts[f"finished.{state}"], stats.counts["finished.done"]) == (1, 1, 0)
    assert stats.counts["cost_micro_usd"] == int(float(cost or 0) * 1_000_000)


def test_unknown_outcome_is_counted(stats: Stats, sandbox: Any) -> None:
    sandbox.fault("submit", "close_after_accept")
    video_task().run()

    assert stats.counts == {"unknown_submission": 1}


def test_refused_request_counts_nothing(stats: Stats, sandbox: Any) -> None:
    video_task(duration=99).run()

    assert stats.counts == {}


def test_resumed_generation_is_counted_once(
    stats: Stats, sandbox: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "ATTEMPTS", 1)
    sandbox.fault("video", "server_error", times=1)
    fields = {"task_id": "task", "prompt": "A lake", "duration": 1, "poll_interval": 0.05, "timeout": 20}

    run = TaskRun(
        lambda: GrokVideoGenerateOperator(**fields, output_path=f"file://{tmp_path}/"),
        retries=1,
        store=MemoryStore(),
    ).run()

    assert (run.state, run.attempts) == ("success", 2)
    counted = ("submitted", "finished.done", "cost_micro_usd")
    assert [stats.counts[name] for name in counted] == [1, 1, 50_000]
    assert len(stats.times["generation_seconds"]) == 1


def test_sensor_counts_its_generation(stats: Stats, sandbox: Any) -> None:
    request_id = video_task(wait_for_completion=False).run().result["request_id"]
    assert stats.counts == {"submitted": 1}

    video_task(GrokVideoSensor, request_id=request_id).run()

    assert (stats.counts["finished.done"], stats.counts["cost_micro_usd"]) == (1, 50_000)


@pytest.mark.parametrize("state", ["evil.name|1", "\ud800", ""])
def test_metric_names_hold_no_api_text(stats: Stats, state: str) -> None:
    metrics.finished(Generation("r", state), 1.0)  # type: ignore[arg-type]

    assert dict(stats.counts) == {"finished.other": 1}


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, 1e300])
def test_invalid_time_does_not_fail_the_task(stats: Stats, seconds: float) -> None:
    metrics.finished(Generation("r", "done"), seconds)

    assert len(stats.times["generation_seconds"]) == 1
