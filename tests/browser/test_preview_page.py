"""The pages of the preview in a browser, on records of a substitute database: what changes while they are open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi", reason="this Airflow has no pages of plugins")

from conftest import assert_accessible
from fastapi.testclient import TestClient

from airflow_provider_grokvideo.plugins.preview import database, routes
from airflow_provider_grokvideo.plugins.preview.progress import UNKNOWN
from airflow_provider_grokvideo.plugins.preview.records import TaskRecord
from airflow_provider_grokvideo.sandbox.rendering import VideoSpec, render_video

ORIGIN = "http://preview.test"
RUN = "/dags/d/runs/r"
GALLERY = f"/grokvideo{RUN}"
OPERATOR = "airflow_provider_grokvideo.operators.grokvideo"
SENSOR = "airflow_provider_grokvideo.sensors.grokvideo"
TASK_SANDBOX = "allow-scripts allow-same-origin allow-forms"


class FakePreview:
    """The preview on records that a test sets, and a page of Airflow around it."""

    def __init__(self) -> None:
        self.records: list[TaskRecord] = []
        self.more = False
        self.api: dict[str, Any] = {}
        self.sandbox = TASK_SANDBOX
        self.limits: list[int] = []
        app = routes.create_app()
        for dependency in routes.video_router.dependencies:
            app.dependency_overrides[dependency.dependency] = lambda: None
        self.client = TestClient(app)

    def list_records(self, dag_id: str, run_id: str, limit: int) -> tuple[list[TaskRecord], bool]:
        self.limits.append(limit)
        return self.records[:limit], self.more or len(self.records) > limit

    def get_record(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> TaskRecord:
        return next(one for one in self.records if (one.task_id, one.map_index) == (task_id, map_index))

    def progress(self, conn_id: str, request_id: str) -> dict[str, Any]:
        return {**UNKNOWN, **self.api.get(request_id, {})}

    def handle(self, route: Any) -> None:
        url = urlsplit(route.request.url)
        if url.path.startswith("/grokvideo/"):
            path = url.path.removeprefix("/grokvideo") + (f"?{url.query}" if url.query else "")
            wanted = {"accept", "range"}
            headers = {name: value for name, value in route.request.headers.items() if name in wanted}
            answer = self.client.get(path, headers=headers)
            route.fulfill(status=answer.status_code, headers=dict(answer.headers), body=answer.content)
        elif url.path.startswith("/shell/"):
            inner = url.path.removeprefix("/shell")
            body = f'<!doctype html><iframe title="Video" sandbox="{self.sandbox}" src="{inner}" width=900 height=800>'
            route.fulfill(content_type="text/html", body=body)
        else:
            route.fulfill(content_type="text/html", body="<!doctype html><title>Airflow</title>")


@pytest.fixture
def video_file(tmp_path: Path) -> Path:
    return render(tmp_path, 848, 480)


@pytest.fixture
def preview(monkeypatch: pytest.MonkeyPatch) -> FakePreview:
    preview = FakePreview()
    monkeypatch.setattr(database, "check_run", lambda *ids: None)
    monkeypatch.setattr(database, "list_records", preview.list_records)
    monkeypatch.setattr(database, "get_record", preview.get_record)
    monkeypatch.setattr(database, "find_submitter", lambda *ids: None)
    monkeypatch.setattr(routes._progress_cache, "get", preview.progress)
    return preview


@pytest.fixture
def page(browser: Any, preview: FakePreview, axe_source: str) -> Iterator[Any]:
    """Return a page whose clock a test moves, so that no test waits for a refresh."""
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    context.add_init_script(axe_source)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
    page.route(f"{ORIGIN}/**", preview.handle)
    page.clock.install()
    yield page
    context.close()
    assert problems == []


def task(task_id: str, state: str | None, map_index: int = -1, **given: Any) -> TaskRecord:
    return TaskRecord(task_id, map_index, state, OPERATOR, try_number=1, **given)


def render(folder: Path, width: int, height: int) -> Path:
    """Return a new MP4 file of one second."""
    path = folder / "video.mp4"
    path.write_bytes(render_video(VideoSpec("r-1", "A lake", "", width, height, 1)))
    return path


def saved(task_id: str, path: Path) -> TaskRecord:
    result = {"request_id": "r-1", "status": "done", "path": str(path), "size_bytes": path.stat().st_size}
    return task(task_id, "success", return_value_xcom=json.dumps(result), fields={"output_path": str(path)})


def states(page: Any) -> list[str]:
    found: list[str] = page.locator(".card .state").all_inner_texts()
    return found


def is_data(exchange: Any) -> bool:
    """Return whether a request or response is that of the cards."""
    return urlsplit(exchange.url).path.endswith("/videos")


def refresh(page: Any) -> None:
    """Move the clock until the page has refreshed."""
    responses: list[Any] = []
    page.on("response", lambda response: responses.append(response) if is_data(response) else None)
    for _ in range(100):
        # The page may set its timer only after this call has begun.
        page.clock.run_for(61_000)
        if responses:
            return
    raise AssertionError("the page does not refresh")


def test_changes_are_shown_and_announced(preview: FakePreview, page: Any) -> None:
    preview.records = [task("make", "deferred", request_id_xcom="r-1")]
    preview.api["r-1"] = {"state": "pending", "progress": 42}
    page.goto(ORIGIN + GALLERY)
    page.get_by_text("42 %").wait_for()
    assert page.locator("#changes").inner_text() == ""

    preview.api["r-1"] = {"state": "done"}
    refresh(page)
    page.get_by_role("status").get_by_text("make: Saving.").wait_for()
    assert states(page) == ["Saving"]

    # Cleared: nothing of the earlier attempt stays.
    preview.records = [task("make", None, request_id_xcom="r-1")]
    refresh(page)
    page.get_by_role("status").get_by_text("make: Waiting.").wait_for()
    assert "r-1" not in page.locator("article").inner_text()


def test_finished_task_that_is_cleared_is_noticed(preview: FakePreview, page: Any, video_file: Path) -> None:
    preview.records = [saved("make", video_file)]
    page.goto(ORIGIN + GALLERY)
    page.locator("video").wait_for()

    preview.records = [replace(preview.records[0], state="scheduled")]
    refresh(page)

    page.get_by_text("The task has not started.").wait_for()
    assert page.locator("video").count() == 0


def test_card_of_an_expanded_task_disappears(preview: FakePreview, page: Any) -> None:
    preview.records = [task("scenes", None), task("x", "running")]
    page.goto(ORIGIN + GALLERY)
    page.locator("article").nth(1).wait_for()

    preview.records = [task("scenes", "running", 0), task("scenes", "running", 1), task("x", "running")]
    refresh(page)

    page.get_by_role("heading", name="scenes [1]").wait_for()
    assert page.locator(".name").all_inner_texts() == ["scenes [0]", "scenes [1]", "x"]


def test_generation_that_finished_after_its_task_gets_advice(preview: FakePreview, page: Any) -> None:
    preview.records = [task("make", "failed", request_id_xcom="r-1")]
    preview.api["r-1"] = {"state": "done"}

    page.goto(ORIGIN + GALLERY)

    page.get_by_text("without paying again, clear this task").wait_for()
    assert states(page) == ["Finished at the API"]


def test_sensor_shares_the_card_of_its_submitter(preview: FakePreview, page: Any) -> None:
    result = {"request_id": "r-1", "status": "pending"}
    submitted = task("submit", "success", return_value_xcom=json.dumps(result), fields={"prompt": "A lake"})
    waiting = TaskRecord("wait", -1, "deferred", SENSOR, fields={"request_id": "r-1"})
    preview.records = [submitted, waiting]

    page.goto(ORIGIN + GALLERY)

    page.get_by_role("article", name="submit, wait").wait_for()
    assert page.locator("article").count() == 1
    assert page.locator(".prompt").inner_text() == "A lake"
    assert page.get_by_role("link", name="Log of submit").get_attribute("href") == f"{RUN}/tasks/submit?try_number=1"
    assert page.get_by_role("link", name="Video of wait").get_attribute("href") == f"{RUN}/tasks/wait/plugin/grokvideo"


def test_show_more_keeps_the_keyboards_place(preview: FakePreview, page: Any) -> None:
    preview.records = [task("make", "running", index) for index in range(250)]
    page.goto(ORIGIN + GALLERY)
    page.locator("article").nth(199).wait_for()
    assert page.locator("article").count() == 200

    page.get_by_role("button", name="Show more").press("Enter")

    page.locator("article").nth(249).wait_for()
    assert preview.limits[0] == 200
    assert preview.limits[-1] == 400
    page.wait_for_function("() => document.activeElement.closest('article')?.dataset.key === 'make/200'")
    assert page.get_by_role("button", name="Show more").count() == 0


def test_only_cards_near_the_window_are_polled(preview: FakePreview, page: Any) -> None:
    preview.records = [task("make", "deferred", index, request_id_xcom=f"r-{index}") for index in range(100)]
    polled: set[str] = set()
    page.on("request", lambda request: polled.add(request.url) if request.url.endswith("/progress") else None)
    page.goto(ORIGIN + GALLERY)
    page.locator("article").nth(99).wait_for()
    page.wait_for_load_state("networkidle")
    assert 0 < len(polled) < 20

    assert not any(url.endswith("/make/99/progress") for url in polled)

    page.locator("article").nth(99).scroll_into_view_if_needed()
    with page.expect_request("**/make/99/progress"):
        refresh(page)


@pytest.mark.parametrize("link", ["Log of make", "Task of make"])
def test_link_leaves_the_sandboxed_tab(preview: FakePreview, page: Any, link: str) -> None:
    preview.records = [task("make", "running")]
    page.goto(f"{ORIGIN}/shell{GALLERY}")
    found = page.frame_locator("iframe").get_by_role("link", name=link)
    href = found.get_attribute("href")

    found.click()

    page.wait_for_url(ORIGIN + href)
    assert href.startswith(f"{RUN}/tasks/make")


def test_link_opens_a_new_tab_with_a_modifier(preview: FakePreview, page: Any) -> None:
    preview.records = [task("make", "running")]
    page.context.route(f"{ORIGIN}/**", preview.handle)
    page.goto(f"{ORIGIN}/shell{GALLERY}")

    with page.context.expect_page() as opened:
        page.frame_locator("iframe").get_by_role("link", name="Log of make").click(modifiers=["ControlOrMeta"])

    opened.value.wait_for_url(f"{ORIGIN}{RUN}/tasks/make?try_number=1")
    assert page.url == f"{ORIGIN}/shell{GALLERY}"


def test_download_works_where_the_tab_allows_it(preview: FakePreview, page: Any, video_file: Path) -> None:
    preview.records = [saved("make", video_file)]
    preview.sandbox = f"{TASK_SANDBOX} allow-downloads"
    page.goto(f"{ORIGIN}/shell{GALLERY}/tasks/make/-1")

    download = page.frame_locator("iframe").get_by_role("link", name="Download the video of make")

    assert download.get_attribute("download") == "make.mp4"
    assert download.get_attribute("href") == f"{GALLERY}/tasks/make/-1/media"


def test_download_is_explained_where_the_tab_forbids_it(preview: FakePreview, page: Any, video_file: Path) -> None:
    preview.records = [saved("make", video_file)]
    page.goto(f"{ORIGIN}/shell{GALLERY}/tasks/make/-1")
    frame = page.frame_locator("iframe")

    frame.get_by_text("This version of Airflow allows no downloads in its tabs.").wait_for()
    frame.get_by_role("link", name="open this page by itself").click()

    page.wait_for_url(f"{ORIGIN}{GALLERY}/tasks/make/-1")
    page.get_by_role("link", name="Download the video of make").wait_for()


def test_error_is_shown_and_disappears(preview: FakePreview, page: Any) -> None:
    preview.records = [task("make", "running")]
    page.goto(ORIGIN + GALLERY)
    page.locator("article").wait_for()
    page.route(f"{ORIGIN}{GALLERY}/videos*", lambda route: route.fulfill(status=401, json={"detail": "x"}))

    refresh(page)
    page.get_by_role("alert").get_by_text("Sign in to Airflow to see this.").wait_for()
    page.unroute(f"{ORIGIN}{GALLERY}/videos*")
    refresh(page)

    page.wait_for_function("() => document.getElementById('message').textContent === ''")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_state_is_accessible(preview: FakePreview, page: Any, theme: str, video_file: Path) -> None:
    outcome = json.dumps({"request_id": "r-2", "status": "moderated", "error_message": "No."})
    preview.records = [
        task("waiting", None),
        task("submitting", "running"),
        task("rendering", "deferred", request_id_xcom="r-1"),
        task("saving", "deferred", request_id_xcom="r-3"),
        task("late", "failed", request_id_xcom="r-3"),
        task("moderated", "failed", request_id_xcom="r-2", outcome_xcom=outcome),
        task("retrying", "up_for_retry"),
        task("skipped", "skipped"),
        saved("saved", video_file),
    ]
    preview.api = {"r-1": {"state": "pending", "progress": 42}, "r-3": {"state": "done"}}
    preview.more = True
    page.emulate_media(color_scheme=theme)
    page.goto(ORIGIN + GALLERY)
    page.get_by_text("42 %").wait_for()
    page.locator("article").get_by_text("Finished at the API", exact=True).wait_for()

    assert page.locator("html.dark").count() == (theme == "dark")
    assert_accessible(page.locator("html"))


def test_hidden_page_refreshes_when_it_is_shown(preview: FakePreview, page: Any) -> None:
    preview.records = [task("make", "running")]
    page.goto(ORIGIN + GALLERY)
    page.locator("article").wait_for()
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.isHidden, configurable: true })")
    page.evaluate("window.isHidden = true")
    refresh(page)
    page.wait_for_load_state("networkidle")
    count = len(preview.limits)

    page.clock.run_for(50_000)
    assert len(preview.limits) == count
    page.evaluate("window.isHidden = false")
    with page.expect_response(is_data):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.mark.parametrize(
    ("width", "height", "fit"), [(848, 480, "cover"), (480, 848, "contain"), (480, 480, "contain")]
)
def test_video_of_any_ratio_fills_its_box(
    preview: FakePreview, page: Any, tmp_path: Path, width: int, height: int, fit: str
) -> None:
    preview.records = [saved("make", render(tmp_path, width, height))]
    loaded = "() => document.querySelector('video')?.style.objectFit"

    page.goto(f"{ORIGIN}{GALLERY}/tasks/make/-1")
    page.wait_for_function(loaded)
    box = page.locator(".media").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.02)
    assert box["height"] <= 900

    page.goto(ORIGIN + GALLERY)
    page.wait_for_function(loaded)
    # The box of a gallery is 16:9: a video of nearly this ratio is cropped; beside others is the page's color.
    assert page.locator("video").evaluate("video => getComputedStyle(video).objectFit") == fit
    assert page.locator("video").evaluate("video => getComputedStyle(video).backgroundColor") == "rgba(0, 0, 0, 0)"
