"""An Airflow as on several machines: PostgreSQL, Redis, Celery, two workers and two triggerers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack, SandboxProcess
from tests.distributed.services import Postgres, Redis, missing

# Only on command, however long that takes.
NEVER = 86_400


def _lacking() -> str | None:
    packages = {"airflow.providers.celery": "apache-airflow-providers-celery", "psycopg2": "psycopg2", "redis": "redis"}
    modules = [name for module, name in packages.items() if not _importable(module)]
    return missing() or (f"not installed: {', '.join(modules)}" if modules else None)


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(scope="session", autouse=True)
def _everything_is_there() -> None:
    if reason := _lacking():
        if os.environ.get("CI"):
            pytest.fail(f"CI must run these tests, but {reason}")
        pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """The API; a generation ends when the test says so."""
    with SandboxProcess(tmp_path_factory.mktemp("sandbox") / "sandbox.log", render_seconds=NEVER) as process:
        yield process


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, redis: Redis, sandbox: SandboxProcess
) -> Iterator[AirflowStack]:
    """A running Airflow whose components a test may kill one by one."""
    videos = tmp_path_factory.mktemp("videos")
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": sandbox.connection,
        "GROKVIDEO_OUTPUT": f"file://{videos}/",
        "AIRFLOW__CELERY__BROKER_URL": redis.url,
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{postgres.url}",
        # A dead worker keeps what it had fetched from the queue until Airflow misses it there.
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    }
    stack = AirflowStack(
        tmp_path_factory.mktemp("airflow"),
        Path(__file__).parent / "dags",
        env,
        database_url=postgres.url,
        executor="CeleryExecutor",
    )
    with stack:
        for name in ("worker-1", "worker-2"):
            stack.start("celery-worker", name=name)
        stack.start("triggerer", name="triggerer-2")
        yield stack
