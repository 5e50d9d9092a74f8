"""Pytest fixture of a sandbox, to which the connection ``grokvideo_default`` points.

Enable it in ``conftest.py``::

    pytest_plugins = ["airflow_provider_grokvideo.sandbox.pytest_plugin"]
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_grokvideo.sandbox.embedded import Sandbox


class SandboxView:
    """A sandbox whose logs contain only the requests of the current test.

    All other attributes, such as ``base_url``, ``api_key`` and ``fault``, are those of the sandbox.

    :param sandbox: the sandbox of the test session.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._offsets = {name: len(getattr(sandbox, name)) for name in _LOGS}

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the sandbox."""
        return getattr(self._sandbox, name)

    @property
    def submissions(self) -> list[dict[str, Any]]:
        """Accepted submissions of this test, which the real API would bill; oldest first."""
        return self._entries("submissions")

    @property
    def polls(self) -> list[dict[str, Any]]:
        """All polls of this test."""
        return self._entries("polls")

    @property
    def downloads(self) -> list[dict[str, Any]]:
        """All requests for a video of this test."""
        return self._entries("downloads")

    @property
    def uploads(self) -> list[dict[str, Any]]:
        """All PUTs to an ``upload_url`` for generations of this test."""
        return self._entries("uploads")

    @property
    def refusals(self) -> list[dict[str, Any]]:
        """All rejected submissions of this test."""
        return self._entries("refusals")

    def _entries(self, name: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = getattr(self._sandbox, name)
        return entries[self._offsets[name] :]


_LOGS = ("submissions", "polls", "downloads", "uploads", "refusals")


@pytest.fixture(scope="session")
def grokvideo_sandbox_options() -> dict[str, Any]:
    """Return the arguments of the session's ``Sandbox``; override this fixture to change them."""
    return {}


@pytest.fixture(scope="session")
def _grokvideo_sandbox(grokvideo_sandbox_options: dict[str, Any]) -> Iterator[Sandbox]:
    with Sandbox(**grokvideo_sandbox_options) as sandbox:
        yield sandbox


@pytest.fixture
def grokvideo_sandbox(_grokvideo_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxView]:
    """Yield a running sandbox without faults, to which the connection ``grokvideo_default`` points."""
    connection = {"conn_type": "grokvideo", "host": _grokvideo_sandbox.base_url, "password": _grokvideo_sandbox.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))
    _grokvideo_sandbox.clear_faults()
    yield SandboxView(_grokvideo_sandbox)
    _grokvideo_sandbox.clear_faults()
