"""One task and its attempts on both kinds of ledger: each test has a sandbox of its own, and counts what it bills.

The same paths go through a real Airflow in tests/e2e/test_clears.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.connections import connection
from tests.support.task_run import MemoryStore


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """Let the log hold what a task's log would."""
    caplog.set_level(logging.INFO, logger="airflow_provider_grokvideo")


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Return an API that no other test uses, behind the connection ``grokvideo_default``."""
    with Sandbox(render_seconds=0) as running:
        monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", connection(running.base_url, running.api_key))
        yield running


@pytest.fixture(params=["state-store", "file"])
def store(request: pytest.FixtureRequest) -> MemoryStore | None:
    """Return the task state store, or none: then the ledger is a file beside the video."""
    return MemoryStore() if request.param == "state-store" else None


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return the directory for videos."""
    return f"file://{tmp_path}/videos/"
