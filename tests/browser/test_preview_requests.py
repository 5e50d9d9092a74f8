"""Requests to the preview in a real Airflow: access, ranges, and results that a user has edited."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import BrowserEnv, api_path

from dev.airflow_stack import AirflowApiError, AirflowClient

ROUTES = ["", "/videos", "/tasks/saved/-1", "/tasks/saved/-1/videos", "/tasks/saved/-1/progress"]
ROUTES += ["/tasks/saved/-1/media"]


@pytest.mark.parametrize(("route", "method"), [*((route, "GET") for route in ROUTES), (ROUTES[-1], "HEAD")])
def test_every_route_checks_the_users_access(browser_env: BrowserEnv, run_id: str, route: str, method: str) -> None:
    run = f"/dags/videos/runs/{run_id}"
    anonymous = AirflowClient(browser_env.airflow.base_url, "nobody", "")

    assert browser_env.get(run + route, method=method).status_code == 200
    assert browser_env.get(run + route, browser_env.unprivileged_client, method).status_code == 403
    assert browser_env.get(run + route, anonymous, method).status_code == 401
    assert browser_env.get(f"/dags/videos/runs/none{route}", method=method).status_code == 404
    assert browser_env.get(f"/dags/none/runs/{run_id}{route}", method=method).status_code == 404
    assert (
        browser_env.get(f"/dags/none/runs/{run_id}{route}", browser_env.unprivileged_client, method).status_code == 403
    )
    assert browser_env.get(f"/dags/forgers/runs/{run_id}{route}", method=method).status_code == 404


@pytest.mark.parametrize(
    "task", ["none/-1", "saved/0", "saved/x", "scenes/3", "scenes/-1", "saved/-2", "saved/1e9", "saved/%00"]
)
@pytest.mark.parametrize("route", ["", "/videos", "/media", "/progress"])
def test_missing_task_instance_is_not_found(browser_env: BrowserEnv, run_id: str, task: str, route: str) -> None:
    assert browser_env.get(f"/dags/videos/runs/{run_id}/tasks/{task}{route}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2froutes.py",
        "/static/%2e%2e/routes.py",
        "/static/../routes.py",
        "/static/%2fetc%2fpasswd",
        "/static/video.html",
        "/dags/videos/runs/{run}/tasks/saved/-1/media/..%2f..%2f..%2fetc%2fpasswd",
        "/dags/videos/runs/{run}/tasks/..%2fsaved/-1/media",
        "/dags/~/runs/~/videos",
        "/dags/%7E/runs/{run}/tasks/saved/-1/media",
        "/openapi.json",
        "/docs",
    ],
)
def test_no_path_in_a_request_is_opened(browser_env: BrowserEnv, run_id: str, path: str) -> None:
    response = browser_env.get(path.replace("{run}", run_id))

    assert "def " not in response.text
    assert "root:" not in response.text
    # A path outside the preview gets Airflow's own page.
    assert response.status_code == 404 or '<div id="root"' in response.text


# -- responses


def test_range_request_gets_the_range(browser_env: BrowserEnv, run_id: str) -> None:
    path = f"{api_path(run_id)}/media"
    result = browser_env.client.xcom("videos", run_id, "saved")
    content = Path(result["path"].removeprefix("file://")).read_bytes()

    whole = browser_env.get(path, headers={"Accept-Encoding": "gzip"})
    part = browser_env.get(path, headers={"Range": "bytes=100-199", "Accept-Encoding": "gzip"})
    tail = browser_env.get(path, headers={"Range": "bytes=-10"})
    head = browser_env.get(path, method="HEAD", headers={"Range": "bytes=5-"})
    behind = browser_env.get(path, headers={"Range": f"bytes={len(content)}-"})
    other = browser_env.get(path, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    same = browser_env.get(path, headers={"If-None-Match": whole.headers["ETag"]})

    assert (whole.status_code, whole.content) == (200, content)
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(content)}"
    assert part.headers["Content-Length"] == "100"
    assert tail.content == content[-10:]
    assert (head.status_code, head.headers["Content-Length"]) == (206, str(len(content) - 5))
    assert head.content == b""
    assert (behind.status_code, behind.headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    assert (other.status_code, len(other.content)) == (200, len(content))
    assert same.status_code == 304
    assert whole.headers["Content-Type"] == "video/mp4"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert whole.headers["Cache-Control"].startswith("private")
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert "sandbox" in whole.headers["Content-Security-Policy"]


def test_api_key_does_not_reach_the_browser(browser_env: BrowserEnv, run_id: str) -> None:
    for route in ROUTES[:-1]:
        assert browser_env.slow.api_key not in browser_env.get(f"/dags/videos/runs/{run_id}{route}").text


# -- what is not shown


@pytest.fixture
def media_of(browser_env: BrowserEnv) -> Iterator[Callable[..., Any]]:
    """Return a function that edits the result of the task ``saved`` and requests its media."""
    run = browser_env.client.trigger("videos")
    browser_env.client.wait_for_task("videos", run, "saved", "success", timeout=120)
    entry = f"/dags/videos/dagRuns/{quote(run, safe='')}/taskInstances/saved/xcomEntries/return_value"

    def patched(entry: str, value: dict[str, Any]) -> bool:
        try:
            browser_env.client.call("PATCH", entry, json={"value": value, "map_index": -1})
        except AirflowApiError as error:
            if error.status != 500:
                raise
            return False
        return True

    def edit_and_get(path: str, file: Path | None = None) -> Any:
        value = {"request_id": "r", "status": "done", "path": path}
        value["size_bytes"] = file.stat().st_size if file else 10
        browser_env.client.wait_until(lambda: patched(entry, value), 30, "SQLite to accept a write")
        if isinstance(browser_env.client.xcom("videos", run, "saved"), str):
            pytest.skip("this Airflow's API converts an edited result to a text")
        return browser_env.get(f"{api_path(run)}/media")

    yield edit_and_get
    browser_env.client.call("PATCH", f"/dags/videos/dagRuns/{quote(run, safe='')}", json={"state": "failed"})


def test_edited_result_opens_no_other_file(
    browser_env: BrowserEnv, run_id: str, media_of: Callable[..., Any], tmp_path: Path
) -> None:
    video_file = Path(browser_env.client.xcom("videos", run_id, "saved")["path"].removeprefix("file://"))
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(video_file.read_bytes())
    own = browser_env.videos / "videos"
    (own / "link.mp4").unlink(missing_ok=True)
    (own / "link.mp4").symlink_to(secret)
    (own / "up").unlink(missing_ok=True)
    (own / "up").symlink_to(tmp_path)
    passwd = Path("/etc/passwd")
    (own / "passwd.mp4").write_bytes(passwd.read_bytes())
    in_root = browser_env.root / f"{uuid.uuid4()}.mp4"
    in_root.write_bytes(video_file.read_bytes())
    other_dag = next((browser_env.videos / "scenes").glob("*.mp4"))

    # The allowed files are sent. Otherwise the checks below would prove nothing.
    assert media_of(f"file://{video_file}", video_file).content == video_file.read_bytes()
    assert media_of(f"file://{in_root}", in_root).content == video_file.read_bytes()

    for path, file in {
        "file:///etc/passwd": passwd,
        "/etc/passwd": passwd,
        f"file://{secret}": secret,
        f"file://{own}/../../{secret.relative_to('/')}": secret,
        f"file://{own}/%2e%2e/scenes/{other_dag.name}": other_dag,
        f"file://{own}/..%2fscenes%2f{other_dag.name}": other_dag,
        f"file://{browser_env.root}/../{secret.name}": secret,
        f"file://{other_dag}": other_dag,
        f"simplecache::file://{video_file}": video_file,
        f"http://127.0.0.1:1/{video_file.name}": video_file,
        "s3://bucket/videos/v.mp4": video_file,
    }.items():
        response = media_of(path, file)
        assert response.status_code == 403, path
        assert response.headers["Content-Type"] == "application/json"
    for path, file in {
        f"file://{own}/link.mp4": secret,
        f"file://{own}/up/secret.mp4": secret,
        f"file://{own}/passwd.mp4": passwd,
        f"file://{own}/none.mp4": video_file,
        f"file://{own}/": video_file,
        f"file://{video_file}": secret.parent,
    }.items():
        response = media_of(path, file)
        assert response.status_code in {403, 404}, path
        assert response.headers["Content-Type"] == "application/json"


def test_result_of_another_operator_is_not_shown(browser_env: BrowserEnv, run_id: str) -> None:
    result = browser_env.client.xcom("videos", run_id, "saved")
    other_run = browser_env.client.trigger("forgers", {"result": result})
    assert browser_env.client.wait_for_run("forgers", other_run) == "success"
    assert browser_env.client.xcom("forgers", other_run, "forged")["path"] == result["path"]

    media = browser_env.get(f"{api_path(other_run, 'forged', dag_id='forgers')}/media")
    listed = browser_env.get(f"/dags/forgers/runs/{other_run}/videos")
    single = browser_env.get(f"{api_path(other_run, 'forged', dag_id='forgers')}/videos")

    assert media.status_code == 404
    assert listed.json() == single.json() == {"videos": [], "more": False}
    progress = browser_env.get(f"{api_path(other_run, 'forged', dag_id='forgers')}/progress").json()
    assert progress["state"] == "unknown"


def test_sensor_shows_its_saved_video(browser_env: BrowserEnv, run_id: str) -> None:
    request_id = browser_env.client.xcom("videos", run_id, "unsaved", "request_id")
    sensor_run = browser_env.client.trigger("watchers", {"request_id": request_id})
    assert browser_env.client.wait_for_run("watchers", sensor_run, timeout=120) == "success"

    response = browser_env.get(
        f"{api_path(sensor_run, 'watch', dag_id='watchers')}/media", headers={"Range": "bytes=4-7"}
    )

    assert (response.status_code, response.content) == (206, b"ftyp")
    # Another run may save its video at the same path, and that is not this run's video.
    result = browser_env.client.xcom("watchers", sensor_run, "watch")
    Path(result["path"].removeprefix("file://")).write_bytes(b"\0\0\0\x18ftyp and another video")
    replaced = browser_env.get(f"{api_path(sensor_run, 'watch', dag_id='watchers')}/media")
    assert replaced.status_code == 404
    assert "replaced" in json.loads(replaced.content)["detail"]
