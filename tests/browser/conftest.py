"""One real Airflow, a sandbox and a headless Chromium for all browser tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.sandbox import Sandbox
from dev.airflow_stack import AirflowClient, AirflowStack, wait_until
from dev.processes import Child, free_port
from tests.support.once import once_per_run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
# fmt: off
FLAGS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic"]
# fmt: on

OpenPage = Callable[..., Any]
"""Opens a page of Airflow, and returns it with the frame of the preview."""


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


def of_task(run_id: str, task_id: str, map_index: int = -1, *, dag_id: str = "videos") -> str:
    """Return the path of a task instance's tab "Video" in Airflow."""
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/plugin/grokvideo"


def wait_until_playable(frame: Any, count: int = 1) -> list[float]:
    """Wait until this many videos are loaded, and return their durations."""
    frame.locator("video").nth(count - 1).wait_for()
    videos = frame.locator("video")
    for index in range(count):
        videos.nth(index).evaluate(
            "video => video.readyState >= 2 || new Promise((done) => video.addEventListener('loadeddata', done))"
        )
    return videos.evaluate_all("videos => videos.map((video) => video.duration)")


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
        Sandbox(seed=9, render_seconds=12) as steady,
    ):
        env = {
            "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "AIRFLOW__CORE__AUTH_MANAGER": "guarded_auth_manager.GuardedAuthManager",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,unprivileged:viewer",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__GROKVIDEO__PREVIEW_ROOTS": f"file://{root}/",
            "AIRFLOW_CONN_GROKVIDEO_DEFAULT": _connection(fast),
            "AIRFLOW_CONN_GROKVIDEO_SLOW": _connection(slow),
            "AIRFLOW_CONN_GROKVIDEO_STEADY": _connection(steady),
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
def axe_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the script of axe-core, which finds barriers in a page. npm installs it once per test session."""
    folder = once_per_run(tmp_path_factory, "axe", _install_axe)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def assert_accessible(html: Any) -> None:
    """Check a page that has loaded axe-core as an init script.

    :param html: the locator of its root element.
    """
    found = html.evaluate("() => axe.run(document)")
    assert len(found["passes"]) > 10
    problems = [
        f"{one['id']}: {node['html']} {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]
    ]
    assert problems == []


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Return a headless Chromium."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "CI is set, so Chromium must be installed"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser_env: BrowserEnv, browser: Any, axe_source: str) -> Iterator[OpenPage]:
    """Return a function that opens a page of Airflow, signed in, and returns the page and the preview's frame."""
    contexts = []

    def open_page(
        path: str,
        *,
        theme: str = "light",
        client: AirflowClient | None = None,
        base: str | None = None,
        on_data: Callable[[Any], None] | None = None,
        **size: int,
    ) -> Any:
        base = base or browser_env.airflow.base_url
        context = browser.new_context(viewport={"width": 1440, "height": 900, **size})
        contexts.append(context)
        token = (client or browser_env.client)._http.headers["Authorization"].removeprefix("Bearer ")
        context.add_cookies([{"name": "_token", "value": token, "url": base}])
        context.add_init_script(axe_source)
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda line: page.problems.append(line.text) if "Content Security" in line.text else None)
        if on_data:
            page.route(re.compile(r"/grokvideo/.*/videos(\?|$)"), on_data)
        page.goto(f"{base}{path}")
        # No other view of Airflow has this title.
        return page, page.frame_locator("iframe[title^=Video]")

    yield open_page
    for context in contexts:
        context.close()


def _answers(client: AirflowClient, child: Child) -> bool:
    import requests

    child.check()
    try:
        client.login()
    except requests.ConnectionError:
        return False
    return True


def _install_axe(folder: Path) -> None:
    shutil.copy(HERE / "axe" / "package.json", folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    cache = ["--cache", str(folder / "npm-cache"), "--logs-max", "0", "--update-notifier", "false"]
    ended = subprocess.run([*command, *cache], cwd=folder, check=False, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr


def _connection(sandbox: Sandbox) -> str:
    return json.dumps({"conn_type": "grokvideo", "host": sandbox.base_url, "password": sandbox.api_key})
