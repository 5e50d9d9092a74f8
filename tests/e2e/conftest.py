"""One real Airflow for all end-to-end tests: starting it costs more than any single test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack


@pytest.fixture(scope="session")
def dags_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder from which the session's Airflow takes its DAGs: a test writes its own file there."""
    return tmp_path_factory.mktemp("dags")


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, dags_folder: Path) -> Iterator[AirflowStack]:
    """Return a running Airflow: ``airflow.client`` talks to it, ``airflow.kill_task`` and others hurt it."""
    with AirflowStack(tmp_path_factory.mktemp("airflow"), dags_folder) as stack:
        yield stack
