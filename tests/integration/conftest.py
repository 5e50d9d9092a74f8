from __future__ import annotations

import json

import pytest

from airflow_provider_grokvideo.sandbox import Sandbox

KEY = "sandbox-key"


@pytest.fixture(scope="module")
def _sandbox():
    with Sandbox(api_key=KEY, render_seconds=0.2) as running:
        yield running


@pytest.fixture
def sandbox(_sandbox, monkeypatch):
    """The API, with no faults armed, behind the connection ``grokvideo_default``."""
    _sandbox.clear_faults()
    extra = {"request_timeout": 2}
    monkeypatch.setenv(
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT",
        json.dumps({"conn_type": "grokvideo", "host": _sandbox.base_url, "password": KEY, "extra": extra}),
    )
    yield _sandbox
    _sandbox.clear_faults()
