"""One real Airflow and one sandbox for all end-to-end tests: starting them costs more than any single test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess
from tests.e2e.kill_harness import TABLE
from tests.e2e.video_runs import VideoRun, VideoRuns, add_dag_file
from tests.support.connections import connection


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if TABLE in config.stash:
        terminalreporter.write("\n" + config.stash[TABLE])


@pytest.fixture(scope="session")
def dags_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder from which the session's Airflow takes its DAGs: a test writes its own file there."""
    return tmp_path_factory.mktemp("dags")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that $GROKVIDEO_OUTPUT names in every task."""
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="session")
def api_key() -> str:
    """Return the key of both APIs: no other text is like it, so that it is found wherever it leaks to."""
    return f"sk-e2e-{secrets.token_hex(20)}"


@pytest.fixture(scope="session")
def wrong_key() -> str:
    """Return a key that both APIs refuse."""
    return f"sk-wrong-{secrets.token_hex(20)}"


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, api_key: str) -> Iterator[SandboxProcess]:
    """Return the API behind the connection grokvideo_default."""
    log = tmp_path_factory.mktemp("sandbox") / "sandbox.log"
    with SandboxProcess(log, api_key=api_key, render_seconds=8) as process:
        yield process


@pytest.fixture(scope="session")
def patient_sandbox(tmp_path_factory: pytest.TempPathFactory, api_key: str) -> Iterator[SandboxProcess]:
    """Return the API behind grokvideo_patient, whose generations go on until the test ends them."""
    log = tmp_path_factory.mktemp("patient") / "sandbox.log"
    with SandboxProcess(log, api_key=api_key, render_seconds=86400) as process:
        yield process


# How long what is silent counts as alive, where nothing is killed: a busy machine shall kill nothing either.
UNHURRIED = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "180",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "180",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "180",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
}


@pytest.fixture(scope="session")
def airflow(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    dags_folder: Path,
    videos: Path,
    sandbox: SandboxProcess,
    patient_sandbox: SandboxProcess,
    wrong_key: str,
) -> Iterator[AirflowStack]:
    """Return a running Airflow: ``airflow.client`` talks to it, ``airflow.kill_task`` and others hurt it."""
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": sandbox.connection,
        "AIRFLOW_CONN_GROKVIDEO_PATIENT": patient_sandbox.connection,
        "AIRFLOW_CONN_GROKVIDEO_WRONG_KEY": connection(sandbox.base_url, wrong_key),
        # A port without a server.
        "AIRFLOW_CONN_GROKVIDEO_NOWHERE": connection("http://127.0.0.1:9/grok/v1", wrong_key),
        "GROKVIDEO_OUTPUT": f"file://{videos}/",
    }
    if not any(item.path.name == "test_kill.py" for item in request.session.items):
        env |= UNHURRIED
    with AirflowStack(tmp_path_factory.mktemp("airflow"), dags_folder, env) as stack:
        yield stack


@pytest.fixture(scope="session")
def tasks_file(dags_folder: Path) -> None:
    """Give the session's Airflow the DAGs of ``dags/tasks.py``."""
    add_dag_file(Path(__file__).parent / "dags" / "tasks.py", dags_folder)


@pytest.fixture(scope="session")
def endings(
    airflow: AirflowStack, sandbox: SandboxProcess, patient_sandbox: SandboxProcess, tasks_file: None
) -> VideoRuns:
    """Return runs that end in every way there is."""

    def run(name: str, dag_id: str = "video", asked: str = "", **conf: Any) -> VideoRun:
        api = patient_sandbox if conf.get("connection") == "grokvideo_patient" else sandbox
        return VideoRun(airflow, api, name, dag_id, asked, conf)

    runs = [
        run("done"),
        run("done-on-worker", "video_on_worker"),
        run("moderated", asked="#moderated"),
        run("failed", asked="#failed"),
        run("expired", asked="#expired"),
        run("timed-out", "video_in_time", connection="grokvideo_patient"),
        run("bad-key", connection="grokvideo_wrong_key"),
        run("no-quota", asked="#fault:no_quota"),
        run("bad-field", duration=16),
        run("unknown-model", asked="#fault:model_not_found"),
        run("unknown-submission", asked="#fault:close_after_accept"),
        run("unreachable", connection="grokvideo_nowhere"),
        run("rate-limited"),
    ]
    faults = {"rate-limited": [{"on": "submit", "fault": "rate_limited", "retry_after": 8}]}
    return VideoRuns((each, faults.get(each.name, [])) for each in runs)
