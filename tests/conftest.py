"""What all tests share: an Airflow home of their own, set before anything imports Airflow, and stores."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The Airflow of whoever runs the tests is neither read nor written. Each worker of pytest-xdist has a home of its own.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "_AIRFLOW_"))]:
    del os.environ[_name]
_home = tempfile.TemporaryDirectory(prefix="grokvideo-tests-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"

# A slow machine is no failure.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep tests that share something on one worker of pytest-xdist."""
    from tests.support.scheduling import make_scheduler

    return make_scheduler(config, log)


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Confirm intents at once: tests/robustness, whose processes do not see this, proves the pause before it."""
    monkeypatch.setattr("airflow_provider_grokvideo.ledger_stores.SETTLE_SECONDS", 0.0)


@pytest.fixture
def attached() -> Callable[..., str]:
    """Return what makes Airflow use an fsspec filesystem, and returns the URL below which it does."""
    try:
        from airflow.sdk.io import attach
    except ImportError:
        from airflow.io.store import attach

    def attach_it(filesystem: Any, protocol: str = "memory") -> str:
        conn_id = uuid.uuid4().hex
        attach(protocol, conn_id=conn_id, fs=filesystem)
        return f"{protocol}://{conn_id}@"

    return attach_it
