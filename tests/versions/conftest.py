"""The installed package within one version of Airflow: a metadata database, the example DAGs, the sandbox.

dev/versions.py runs these tests in each supported version.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Read when Airflow is imported, and by the DAG files when they are parsed.
VIDEOS = Path(tempfile.mkdtemp(prefix="grokvideo-videos-"))
os.environ |= {
    "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).resolve().parents[2] / "example_dags"),
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "GROKVIDEO_OUTPUT": f"file://{VIDEOS}/",
}

import pytest  # noqa: E402

from airflow_provider_grokvideo.sandbox import Sandbox  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def database() -> None:
    """Airflow's metadata database, on SQLite in the tests' own AIRFLOW_HOME."""
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The API behind the connection ``grokvideo_default``."""
    with Sandbox(api_key="sandbox-key", render_seconds=0.5) as running:
        os.environ["AIRFLOW_CONN_GROKVIDEO_DEFAULT"] = json.dumps(
            {"conn_type": "grokvideo", "host": running.base_url, "password": "sandbox-key"}
        )
        yield running


@pytest.fixture
def videos() -> Path:
    """The folder that ``$GROKVIDEO_OUTPUT`` names in the example DAGs."""
    return VIDEOS
