"""The video preview as somebody sees it in Airflow, and as somebody tries to misuse it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from conftest import Stage

from dev.airflow_stack import AirflowApiError, AirflowClient

THEMES = ("light", "dark")
OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(stage: Stage, browser: Any) -> Iterator[OpenPage]:
    """Return a function that opens a page of Airflow, signed in, and gives the preview's frame."""
    contexts = []

    def open_page(
        path: str, *, theme: str = "light", client: AirflowClient | None = None, base: str | None = None, **size: int
    ) -> Any:
        base = base or stage.airflow.base_url
        context = browser.new_context(viewport={"width": 1440, "height": 900, **size})
        contexts.append(context)
        token = (client or stage.client)._http.headers["Authorization"].removeprefix("Bearer ")
        context.add_cookies([{"name": "_token", "value": token, "url": base}])
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda line: page.problems.append(line.text) if "Content Security" in line.text else None)
        page.goto(f"{base}{path}")
        # A name that no other view of Airflow has; the frame's page is as wide as the tab.
        return page, page.frame_locator("iframe[title^=Video]")

    yield open_page
    for context in contexts:
        context.close()


def of_task(run_id: str, task_id: str, map_index: int = -1) -> str:
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"/dags/films/runs/{run_id}/tasks/{task_id}{mapped}/plugin/grokvideo"


def api_path(run_id: str, task_id: str = "landed", map_index: int = -1, *, dag_id: str = "films") -> str:
    return f"/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{map_index}"


def wait_until_playable(frame: Any, count: int = 1) -> list[float]:
    """Wait until so many videos are loaded, and return their durations."""
    frame.locator("video").nth(count - 1).wait_for()
    videos = frame.locator("video")
    for index in range(count):
        videos.nth(index).evaluate(
            "video => video.readyState >= 2 || new Promise((done) => video.addEventListener('loadeddata', done))"
        )
    return videos.evaluate_all("videos => videos.map((video) => video.duration)")


# -- what one sees


@pytest.mark.parametrize("theme", THEMES)
def test_a_landed_video_plays_in_the_tab(
    stage: Stage, run_id: str, open_page: OpenPage, images: Path, theme: str
) -> None:
    page, frame = open_page(of_task(run_id, "landed"), theme=theme)

    assert wait_until_playable(frame) == [pytest.approx(2, abs=0.1)]
    video = frame.locator("video")
    source = unquote(video.evaluate("video => video.currentSrc"))
    assert source == f"{stage.airflow.base_url}/grokvideo{api_path(run_id)}/media"
    # Seeking needs ranges; playing needs the bytes behind them.
    video.evaluate("video => { video.muted = true; video.currentTime = 1; return video.play(); }")
    page.wait_for_function("() => frames[0].document.querySelector('video').currentTime > 1.3")
    video.evaluate("video => { video.pause(); video.currentTime = 0.6; }")

    text = frame.locator(".card").inner_text()
    assert "A lighthouse at dusk, waves breaking, cinematic" in text
    assert re.search(r"Done\b", text)
    assert re.search(r"Duration\s+2 s", text)
    assert re.search(r"Cost\s+\$0\.10", text)
    assert re.search(r"Size\s+[\d.]+ KiB", text)
    assert re.search(r"File\s+file://", text)
    assert frame.locator("html").evaluate("html => html.classList.contains('dark')") is (theme == "dark")
    assert page.problems == []
    page.wait_for_timeout(1500)
    page.screenshot(path=images / f"preview-task-{theme}.png")


@pytest.mark.parametrize("theme", THEMES)
def test_the_gallery_shows_every_video_of_the_run(
    stage: Stage, run_id: str, open_page: OpenPage, images: Path, theme: str
) -> None:
    stage.slow.set_progress(stage.client.xcom("films", run_id, "slow", "request_id"), 42)
    page, frame = open_page(f"/dags/films/runs/{run_id}/plugin/grokvideo-run", theme=theme, width=1600, height=1400)

    assert len(wait_until_playable(frame, 5)) == 5
    frame.get_by_text("42 %").wait_for()
    frame.get_by_text("rejected by content moderation").wait_for()
    names = frame.locator(".name").all_inner_texts()
    assert names == ["landed", "refused", "scenes [0]", "scenes [1]", "scenes [2]", "slow", "unlanded"]
    assert "7 videos · 5 done · 1 rejected by moderation · 1 rendering · $0.35" in frame.locator("#summary").inner_text()
    assert page.problems == []
    page.wait_for_timeout(1500)
    page.screenshot(path=images / f"preview-run-{theme}.png")


def test_a_mapped_task_has_a_tab_of_its_own(run_id: str, open_page: OpenPage) -> None:
    _, frame = open_page(of_task(run_id, "scenes", 1))

    assert len(wait_until_playable(frame)) == 1
    assert "A glass whale between clouds" in frame.locator(".card").inner_text()


@pytest.mark.parametrize("theme", THEMES)
def test_a_video_still_rendering_shows_its_progress(
    stage: Stage, run_id: str, open_page: OpenPage, images: Path, theme: str
) -> None:
    request_id = stage.client.xcom("films", run_id, "slow", "request_id")
    stage.slow.set_progress(request_id, 42)
    page, frame = open_page(of_task(run_id, "slow"), theme=theme)
    frame.get_by_text("42 %").wait_for()
    assert frame.get_by_role("progressbar").evaluate("bar => bar.value") == 42
    page.screenshot(path=images / f"preview-rendering-{theme}.png")

    stage.slow.set_progress(request_id, 77)

    frame.get_by_text("77 %").wait_for(timeout=20_000)


@pytest.mark.parametrize("theme", THEMES)
def test_a_refused_video_says_why(run_id: str, open_page: OpenPage, images: Path, theme: str) -> None:
    page, frame = open_page(of_task(run_id, "refused"), theme=theme)

    frame.get_by_text("rejected by content moderation").wait_for()
    assert "Rejected by moderation" in frame.locator(".state").inner_text()
    page.screenshot(path=images / f"preview-refused-{theme}.png")


def test_a_video_that_was_not_landed_plays_from_the_api(run_id: str, open_page: OpenPage) -> None:
    page, frame = open_page(of_task(run_id, "unlanded"))

    assert wait_until_playable(frame) == [pytest.approx(1, abs=0.1)]
    assert "/grokvideo/" not in frame.locator("video").evaluate("video => video.currentSrc")
    assert page.problems == []


def test_a_task_of_another_kind_makes_no_video(run_id: str, open_page: OpenPage) -> None:
    _, frame = open_page(of_task(run_id, "other"))

    frame.get_by_text("This task makes no video.").wait_for()


def test_the_page_follows_a_change_of_theme(run_id: str, open_page: OpenPage) -> None:
    page, frame = open_page(of_task(run_id, "landed"))
    wait_until_playable(frame)
    before = frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")

    page.evaluate("document.documentElement.className = 'dark'")
    frame.locator("html.dark").wait_for()

    assert frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor") != before


def test_the_page_fits_a_narrow_window(run_id: str, stage: Stage, open_page: OpenPage) -> None:
    page, _ = open_page(f"/grokvideo/dags/films/runs/{run_id}", width=360)

    page.locator("video").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_everything_can_be_reached_with_the_keyboard(run_id: str, open_page: OpenPage) -> None:
    page, _ = open_page(f"/grokvideo{api_path(run_id)}")
    page.locator("video").wait_for()

    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.tagName") == "VIDEO"


def test_it_works_behind_a_base_path(run_id: str, behind_base_path: str, open_page: OpenPage) -> None:
    page, frame = open_page(of_task(run_id, "landed"), base=behind_base_path)

    assert len(wait_until_playable(frame)) == 1
    assert frame.locator("video").evaluate("video => video.currentSrc").startswith(f"{behind_base_path}/grokvideo/")
    assert page.problems == []
    _, gallery = open_page(f"/dags/films/runs/{run_id}/plugin/grokvideo-run", base=behind_base_path)
    wait_until_playable(gallery, 5)


def test_a_user_who_may_not_read_xcoms_is_told_so(stage: Stage, run_id: str, open_page: OpenPage) -> None:
    _, frame = open_page(of_task(run_id, "landed"), client=stage.stranger)

    frame.get_by_text("You may not see the videos of this DAG.").wait_for()
    assert frame.locator("video").count() == 0


# -- who may ask


ROUTES = ["", "/videos", "/tasks/landed/-1", "/tasks/landed/-1/videos", "/tasks/landed/-1/progress"]
ROUTES += ["/tasks/landed/-1/media"]


@pytest.mark.parametrize(("route", "method"), [*((route, "GET") for route in ROUTES), (ROUTES[-1], "HEAD")])
def test_every_route_asks_airflow_who_this_is(stage: Stage, run_id: str, route: str, method: str) -> None:
    run = f"/dags/films/runs/{run_id}"
    anonymous = AirflowClient(stage.airflow.base_url, "nobody", "")

    assert stage.get(run + route, method=method).status_code == 200
    assert stage.get(run + route, stage.stranger, method).status_code == 403
    assert stage.get(run + route, anonymous, method).status_code == 401
    assert stage.get(f"/dags/films/runs/none{route}", method=method).status_code == 404
    assert stage.get(f"/dags/none/runs/{run_id}{route}", method=method).status_code == 404
    assert stage.get(f"/dags/none/runs/{run_id}{route}", stage.stranger, method).status_code == 403
    assert stage.get(f"/dags/forgers/runs/{run_id}{route}", method=method).status_code == 404


@pytest.mark.parametrize(
    "task", ["none/-1", "landed/0", "landed/x", "scenes/3", "scenes/-1", "landed/-2", "landed/1e9", "landed/%00"]
)
@pytest.mark.parametrize("route", ["", "/videos", "/media", "/progress"])
def test_what_does_not_exist_is_not_found(stage: Stage, run_id: str, task: str, route: str) -> None:
    assert stage.get(f"/dags/films/runs/{run_id}/tasks/{task}{route}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2froutes.py",
        "/static/%2e%2e/routes.py",
        "/static/../routes.py",
        "/static/%2fetc%2fpasswd",
        "/static/video.html",
        "/dags/films/runs/{run}/tasks/landed/-1/media/..%2f..%2f..%2fetc%2fpasswd",
        "/dags/films/runs/{run}/tasks/..%2flanded/-1/media",
        "/dags/~/runs/~/videos",
        "/dags/%7E/runs/{run}/tasks/landed/-1/media",
        "/openapi.json",
        "/docs",
    ],
)
def test_no_path_in_a_request_is_opened(stage: Stage, run_id: str, path: str) -> None:
    answer = stage.get(path.replace("{run}", run_id))

    assert "def " not in answer.text
    assert "root:" not in answer.text
    # What is no path of the preview any more is Airflow's own page.
    assert answer.status_code == 404 or '<div id="root"' in answer.text


# -- what is sent


def test_a_range_is_answered_as_one(stage: Stage, run_id: str) -> None:
    path = f"{api_path(run_id)}/media"
    result = stage.client.xcom("films", run_id, "landed")
    content = Path(result["path"].removeprefix("file://")).read_bytes()

    whole = stage.get(path, headers={"Accept-Encoding": "gzip"})
    part = stage.get(path, headers={"Range": "bytes=100-199", "Accept-Encoding": "gzip"})
    tail = stage.get(path, headers={"Range": "bytes=-10"})
    head = stage.get(path, method="HEAD", headers={"Range": "bytes=5-"})
    behind = stage.get(path, headers={"Range": f"bytes={len(content)}-"})
    other = stage.get(path, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    same = stage.get(path, headers={"If-None-Match": whole.headers["ETag"]})

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


def test_nothing_of_the_connection_reaches_the_browser(stage: Stage, run_id: str) -> None:
    for route in ROUTES[:-1]:
        assert stage.slow.api_key not in stage.get(f"/dags/films/runs/{run_id}{route}").text


# -- what is not shown


@pytest.fixture
def landed(stage: Stage) -> Iterator[Callable[..., Any]]:
    """Return a function that gives the preview of ``landed`` after its result was changed by hand."""
    run = stage.client.trigger("films")
    stage.client.wait_for_task("films", run, "landed", "success", timeout=120)
    entry = f"/dags/films/dagRuns/{quote(run, safe='')}/taskInstances/landed/xcomEntries/return_value"

    def patched(entry: str, value: dict[str, Any]) -> bool:
        try:
            stage.client.call("PATCH", entry, json={"value": value, "map_index": -1})
        except AirflowApiError as error:
            if error.status != 500:
                raise
            return False
        return True

    def forge(path: str, file: Path | None = None) -> Any:
        value = {"request_id": "r", "status": "done", "path": path}
        value["size_bytes"] = file.stat().st_size if file else 10
        stage.client.wait_until(lambda: patched(entry, value), 30, "SQLite to be free for a write")
        if isinstance(stage.client.xcom("films", run, "landed"), str):
            pytest.skip("this Airflow's API makes a text of a result that is changed by hand")
        return stage.get(f"{api_path(run)}/media")

    yield forge
    stage.client.call("PATCH", f"/dags/films/dagRuns/{quote(run, safe='')}", json={"state": "failed"})


def test_a_result_changed_by_hand_opens_nothing_outside(
    stage: Stage, run_id: str, landed: Callable[..., Any], tmp_path: Path
) -> None:
    film = Path(stage.client.xcom("films", run_id, "landed")["path"].removeprefix("file://"))
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(film.read_bytes())
    own = stage.videos / "films"
    (own / "link.mp4").unlink(missing_ok=True)
    (own / "link.mp4").symlink_to(secret)
    (own / "up").unlink(missing_ok=True)
    (own / "up").symlink_to(tmp_path)
    passwd = Path("/etc/passwd")
    (own / "passwd.mp4").write_bytes(passwd.read_bytes())
    in_root = stage.root / f"{uuid.uuid4()}.mp4"
    in_root.write_bytes(film.read_bytes())
    other_dag = next((stage.videos / "scenes").glob("*.mp4"))

    # What may be shown is, or all that follows would prove nothing.
    assert landed(f"file://{film}", film).content == film.read_bytes()
    assert landed(f"file://{in_root}", in_root).content == film.read_bytes()

    for path, file in {
        "file:///etc/passwd": passwd,
        "/etc/passwd": passwd,
        f"file://{secret}": secret,
        f"file://{own}/../../{secret.relative_to('/')}": secret,
        f"file://{own}/%2e%2e/scenes/{other_dag.name}": other_dag,
        f"file://{own}/..%2fscenes%2f{other_dag.name}": other_dag,
        f"file://{stage.root}/../{secret.name}": secret,
        f"file://{other_dag}": other_dag,
        f"simplecache::file://{film}": film,
        f"http://127.0.0.1:1/{film.name}": film,
        "s3://bucket/films/v.mp4": film,
    }.items():
        answer = landed(path, file)
        assert answer.status_code == 403, path
        assert answer.headers["Content-Type"] == "application/json"
    for path, file in {
        f"file://{own}/link.mp4": secret,
        f"file://{own}/up/secret.mp4": secret,
        f"file://{own}/passwd.mp4": passwd,
        f"file://{own}/none.mp4": film,
        f"file://{own}/": film,
        f"file://{film}": secret.parent,
    }.items():
        answer = landed(path, file)
        assert answer.status_code in {403, 404}, path
        assert answer.headers["Content-Type"] == "application/json"


def test_a_result_that_another_operator_returns_is_not_shown(stage: Stage, run_id: str) -> None:
    result = stage.client.xcom("films", run_id, "landed")
    forger = stage.client.trigger("forgers", {"result": result})
    assert stage.client.wait_for_run("forgers", forger) == "success"
    assert stage.client.xcom("forgers", forger, "forged")["path"] == result["path"]

    media = stage.get(f"{api_path(forger, 'forged', dag_id='forgers')}/media")
    listed = stage.get(f"/dags/forgers/runs/{forger}/videos")
    single = stage.get(f"{api_path(forger, 'forged', dag_id='forgers')}/videos")

    assert media.status_code == 404
    assert listed.json() == single.json() == {"videos": [], "more": False}
    asked = stage.get(f"{api_path(forger, 'forged', dag_id='forgers')}/progress").json()
    assert asked["state"] == "unknown"


def test_a_sensor_shows_what_it_landed(stage: Stage, run_id: str) -> None:
    request_id = stage.client.xcom("films", run_id, "unlanded", "request_id")
    watcher = stage.client.trigger("watchers", {"request_id": request_id})
    assert stage.client.wait_for_run("watchers", watcher, timeout=120) == "success"

    answer = stage.get(f"{api_path(watcher, 'watch', dag_id='watchers')}/media", headers={"Range": "bytes=4-7"})

    assert (answer.status_code, answer.content) == (206, b"ftyp")
    # The next run lands its video at the same place, and this is not it.
    result = stage.client.xcom("watchers", watcher, "watch")
    Path(result["path"].removeprefix("file://")).write_bytes(b"\0\0\0\x18ftyp and another video")
    replaced = stage.get(f"{api_path(watcher, 'watch', dag_id='watchers')}/media")
    assert replaced.status_code == 404
    assert "replaced" in json.loads(replaced.content)["detail"]
