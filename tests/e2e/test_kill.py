"""Processes are killed at every point: no request is paid twice, and no paid video is lost."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess
from tests.e2e.kill_harness import TABLE, KillHarness, Outcome, defects
from tests.e2e.kill_points import POINTS, KillPoint
from tests.e2e.kill_table import markdown
from tests.e2e.video_runs import add_dag_file

# The first test waits for all rows.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def outcomes(
    airflow: AirflowStack,
    patient_sandbox: SandboxProcess,
    dags_folder: Path,
    videos: Path,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> dict[str, Outcome]:
    add_dag_file(Path(__file__).parent / "dags" / "kill.py", dags_folder)
    harness = KillHarness(airflow, patient_sandbox, videos, tmp_path_factory.mktemp("holds"))
    rows = harness.run()
    pytestconfig.stash[TABLE] = markdown(rows)
    return {row.point.run_id: row for row in rows}


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.run_id)
def test_task_survives_a_kill_at_each_point(point: KillPoint, outcomes: dict[str, Outcome], videos: Path) -> None:
    outcome = outcomes[point.run_id]

    assert defects(outcome) == [], outcome.log
    if point.known:
        if outcome.point.dag_id != "kill_peer":
            content = (videos / f"{outcome.result['request_id']}.mp4").read_bytes()
            assert hashlib.sha256(content).hexdigest() == outcome.result["sha256"]
    else:
        assert "may be billed" in outcome.log
        assert "Look it up" in outcome.log
        assert "GrokVideoSensor" in outcome.log


def test_killed_process_leaves_no_partial_file(outcomes: dict[str, Outcome], videos: Path) -> None:
    assert outcomes
    assert not list(videos.glob("**/*.part"))
