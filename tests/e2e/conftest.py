"""One real Airflow and one sandbox for all end-to-end tests: starting them costs more than any single test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess

SUMMARY = pytest.StashKey[str]()
"""What is shown at the end of the run."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if SUMMARY in config.stash:
        terminalreporter.write("\n" + config.stash[SUMMARY])


@pytest.fixture(scope="session")
def dags_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder from which the session's Airflow takes its DAGs: a test writes its own file there."""
    return tmp_path_factory.mktemp("dags")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that $GROKVIDEO_OUTPUT names in every task."""
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """Return the API behind the connection grokvideo_default."""
    with SandboxProcess(tmp_path_factory.mktemp("sandbox") / "sandbox.log", render_seconds=3) as process:
        yield process


@pytest.fixture(scope="session")
def patient_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """Return the API behind grokvideo_patient, whose generations go on until the test ends them."""
    with SandboxProcess(tmp_path_factory.mktemp("patient") / "sandbox.log", render_seconds=86400) as process:
        yield process


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory,
    dags_folder: Path,
    videos: Path,
    sandbox: SandboxProcess,
    patient_sandbox: SandboxProcess,
) -> Iterator[AirflowStack]:
    """Return a running Airflow: ``airflow.client`` talks to it, ``airflow.kill_task`` and others hurt it."""
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": sandbox.connection,
        "AIRFLOW_CONN_GROKVIDEO_PATIENT": patient_sandbox.connection,
        "GROKVIDEO_OUTPUT": f"file://{videos}/",
    }
    with AirflowStack(tmp_path_factory.mktemp("airflow"), dags_folder, env) as stack:
        yield stack
