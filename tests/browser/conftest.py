"""One real Airflow, a sandbox and a headless Chromium for all browser tests."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.sandbox import Sandbox
from dev.airflow_stack import AirflowClient, AirflowStack, wait_until
from dev.processes import Child, free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
# fmt: off
FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic"]
# fmt: on


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests if there is no browser, except in CI."""
    if CHROMIUM or os.environ.get("CI"):
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="no Chromium here (Debian: apt-get install chromium)"))


@dataclass
class BrowserEnv:
    """The Airflow, the sandbox and the users of the browser tests."""

    airflow: AirflowStack
    slow: Sandbox
    videos: Path
    root: Path
    unprivileged_client: AirflowClient

    @property
    def client(self) -> AirflowClient:
        return self.airflow.client

    def get(self, path: str, client: AirflowClient | None = None, method: str = "GET", **kwargs: Any) -> Any:
        """Send a request to the preview, as admin unless another client is given."""
        client = client or self.client
        return client._http.request(method, f"{self.airflow.base_url}/grokvideo{path}", timeout=30, **kwargs)


def api_path(run_id: str, task_id: str = "saved", map_index: int = -1, *, dag_id: str = "videos") -> str:
    """Return the path of a task instance in the preview's API."""
    return f"/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}"


@pytest.fixture(scope="session")
def browser_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserEnv]:
    """Return the running stack."""
    home = tmp_path_factory.mktemp("airflow")
    root, dags = (tmp_path_factory.mktemp(name) for name in ("root", "dags"))
    shutil.copy(HERE / "video_dags.py", dags)
    # A short path, because the screenshots show it.
    with (
        tempfile.TemporaryDirectory(prefix="videos-") as folder,
        Sandbox(seed=7) as fast,
        Sandbox(seed=8, render_seconds=3600) as slow,
    ):
        env = {
            "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "AIRFLOW__CORE__AUTH_MANAGER": "guarded_auth_manager.GuardedAuthManager",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,unprivileged:viewer",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__GROKVIDEO__PREVIEW_ROOTS": f"file://{root}/",
            "AIRFLOW_CONN_GROKVIDEO_DEFAULT": _connection(fast),
            "AIRFLOW_CONN_GROKVIDEO_SLOW": _connection(slow),
            "VIDEOS_OUTPUT": f"file://{folder}",
        }
        with AirflowStack(home, dags, env) as airflow:
            password = json.loads((home / "passwords.json").read_text())["unprivileged"]
            unprivileged_client = AirflowClient(airflow.base_url, "unprivileged", password)
            unprivileged_client.login()
            yield BrowserEnv(airflow, slow, Path(folder), root, unprivileged_client)


@pytest.fixture(scope="session")
def run_id(browser_env: BrowserEnv) -> str:
    """Return a run of the DAG ``videos`` whose tasks have all reached their last state."""
    run = browser_env.client.trigger("videos")
    for task_id, state in {
        "saved": "success", "unsaved": "success", "other": "success", "moderated": "failed", "slow": "deferred"
    }.items():  # fmt: skip
        browser_env.client.wait_for_task("videos", run, task_id, state, timeout=120)
    for index in range(3):
        browser_env.client.wait_for_task("videos", run, "scenes", "success", map_index=index, timeout=120)
    return run


@pytest.fixture(scope="session")
def behind_base_path(browser_env: BrowserEnv) -> Iterator[str]:
    """Return the URL of a second API server of the same Airflow, behind a base path."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/air/flow"
    env = {**browser_env.airflow.env, "AIRFLOW__API__BASE_URL": url, "AIRFLOW__API__PORT": str(port)}
    log = browser_env.airflow.home / "logs" / "api-server-base-path.log"
    child = Child("api-server", browser_env.airflow._command("api-server"), env, log, browser_env.airflow.home)
    client = AirflowClient(url, "admin", browser_env.airflow.password)
    try:
        wait_until(lambda: _answers(client, child), timeout=90, what="the API server behind a base path")
        yield url
    finally:
        child.stop(timeout=5)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return the directory for screenshots: the documentation only on request, because each run's images differ."""
    return ROOT / "docs" / "images" if os.environ.get("UPDATE_IMAGES") else tmp_path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return a headless Chromium."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "CI is set, so Chromium must be installed"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def _answers(client: AirflowClient, child: Child) -> bool:
    import requests

    child.check()
    try:
        client.login()
    except requests.ConnectionError:
        return False
    return True


def _connection(sandbox: Sandbox) -> str:
    return json.dumps({"conn_type": "grokvideo", "host": sandbox.base_url, "password": sandbox.api_key})
