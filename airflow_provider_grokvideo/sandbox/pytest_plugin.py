"""A pytest fixture that puts the sandbox behind the connection ``grokvideo_default``.

Opt in where it is wanted, in ``conftest.py``::

    pytest_plugins = ["airflow_provider_grokvideo.sandbox.pytest_plugin"]
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_grokvideo.sandbox.embedded import Sandbox


class SandboxView:
    """A sandbox as one test sees it: what other tests have done to it is left out.

    Whatever is not here, ``base_url``, ``api_key``, ``fault`` and so on, is the sandbox's own.

    :param sandbox: the session's.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._seen = {name: len(getattr(sandbox, name)) for name in _LOGS}

    def __getattr__(self, name: str) -> Any:
        """What this view does not narrow."""
        return getattr(self._sandbox, name)

    @property
    def submissions(self) -> list[dict[str, Any]]:
        """Every submission of this test that was accepted, and so would be paid for; oldest first."""
        return self._own("submissions")

    @property
    def polls(self) -> list[dict[str, Any]]:
        """Every poll of this test."""
        return self._own("polls")

    @property
    def downloads(self) -> list[dict[str, Any]]:
        """Every request of this test for a video."""
        return self._own("downloads")

    @property
    def uploads(self) -> list[dict[str, Any]]:
        """Every PUT of this test's generations to an ``upload_url``."""
        return self._own("uploads")

    @property
    def refusals(self) -> list[dict[str, Any]]:
        """Every submission of this test that was refused."""
        return self._own("refusals")

    def _own(self, name: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = getattr(self._sandbox, name)
        return entries[self._seen[name] :]


_LOGS = ("submissions", "polls", "downloads", "uploads", "refusals")


@pytest.fixture(scope="session")
def grokvideo_sandbox_options() -> dict[str, Any]:
    """Arguments of the session's ``Sandbox``; override it to change them."""
    return {}


@pytest.fixture(scope="session")
def _grokvideo_sandbox(grokvideo_sandbox_options: dict[str, Any]) -> Iterator[Sandbox]:
    with Sandbox(**grokvideo_sandbox_options) as sandbox:
        yield sandbox


@pytest.fixture
def grokvideo_sandbox(_grokvideo_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxView]:
    """A running sandbox behind the connection ``grokvideo_default``, with no faults armed."""
    connection = {"conn_type": "grokvideo", "host": _grokvideo_sandbox.base_url, "password": _grokvideo_sandbox.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", json.dumps(connection))
    _grokvideo_sandbox.clear_faults()
    yield SandboxView(_grokvideo_sandbox)
    _grokvideo_sandbox.clear_faults()
