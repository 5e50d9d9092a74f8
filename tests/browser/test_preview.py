"""The video preview in a real Airflow and a real browser: what users see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from conftest import BrowserEnv, api_path

from dev.airflow_stack import AirflowClient

THEMES = ("light", "dark")
OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(browser_env: BrowserEnv, browser: Any) -> Iterator[OpenPage]:
    """Return a function that opens a page of Airflow, signed in, and returns the page and the preview's frame."""
    contexts = []

    def open_page(
        path: str, *, theme: str = "light", client: AirflowClient | None = None, base: str | None = None, **size: int
    ) -> Any:
        base = base or browser_env.airflow.base_url
        context = browser.new_context(viewport={"width": 1440, "height": 900, **size})
        contexts.append(context)
        token = (client or browser_env.client)._http.headers["Authorization"].removeprefix("Bearer ")
        context.add_cookies([{"name": "_token", "value": token, "url": base}])
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda line: page.problems.append(line.text) if "Content Security" in line.text else None)
        page.goto(f"{base}{path}")
        # No other view of Airflow has this title.
        return page, page.frame_locator("iframe[title^=Video]")

    yield open_page
    for context in contexts:
        context.close()


def of_task(run_id: str, task_id: str, map_index: int = -1) -> str:
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"/dags/videos/runs/{run_id}/tasks/{task_id}{mapped}/plugin/grokvideo"


def wait_until_playable(frame: Any, count: int = 1) -> list[float]:
    """Wait until this many videos are loaded, and return their durations."""
    frame.locator("video").nth(count - 1).wait_for()
    videos = frame.locator("video")
    for index in range(count):
        videos.nth(index).evaluate(
            "video => video.readyState >= 2 || new Promise((done) => video.addEventListener('loadeddata', done))"
        )
    return videos.evaluate_all("videos => videos.map((video) => video.duration)")


# -- what users see


@pytest.mark.parametrize("theme", THEMES)
def test_saved_video_plays_in_the_tab(
    browser_env: BrowserEnv, run_id: str, open_page: OpenPage, images: Path, theme: str
) -> None:
    page, frame = open_page(of_task(run_id, "saved"), theme=theme)

    assert wait_until_playable(frame) == [pytest.approx(2, abs=0.1)]
    video = frame.locator("video")
    source = unquote(video.evaluate("video => video.currentSrc"))
    assert source == f"{browser_env.airflow.base_url}/grokvideo{api_path(run_id)}/media"
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
def test_gallery_shows_every_video_of_the_run(
    browser_env: BrowserEnv, run_id: str, open_page: OpenPage, images: Path, theme: str
) -> None:
    browser_env.slow.set_progress(browser_env.client.xcom("videos", run_id, "slow", "request_id"), 42)
    page, frame = open_page(f"/dags/videos/runs/{run_id}/plugin/grokvideo-run", theme=theme, width=1600, height=1400)

    assert len(wait_until_playable(frame, 5)) == 5
    frame.get_by_text("42 %").wait_for()
    frame.get_by_text("rejected by content moderation").wait_for()
    names = frame.locator(".name").all_inner_texts()
    assert names == ["moderated", "saved", "scenes [0]", "scenes [1]", "scenes [2]", "slow", "unsaved"]
    summary = frame.locator("#summary").inner_text()
    assert summary == "7 videos · 1 rejected by moderation · 5 done · 1 rendering · $0.35"
    assert page.problems == []
    page.wait_for_timeout(1500)
    page.screenshot(path=images / f"preview-run-{theme}.png")


def test_mapped_task_instance_has_its_own_tab(run_id: str, open_page: OpenPage) -> None:
    _, frame = open_page(of_task(run_id, "scenes", 1))

    assert len(wait_until_playable(frame)) == 1
    assert "A glass whale between clouds" in frame.locator(".card").inner_text()


@pytest.mark.parametrize("theme", THEMES)
def test_rendering_video_shows_its_progress(
    browser_env: BrowserEnv, run_id: str, open_page: OpenPage, images: Path, theme: str
) -> None:
    request_id = browser_env.client.xcom("videos", run_id, "slow", "request_id")
    browser_env.slow.set_progress(request_id, 42)
    page, frame = open_page(of_task(run_id, "slow"), theme=theme)
    frame.get_by_text("42 %").wait_for()
    assert frame.get_by_role("progressbar").evaluate("bar => bar.value") == 42
    page.screenshot(path=images / f"preview-rendering-{theme}.png")

    browser_env.slow.set_progress(request_id, 77)

    frame.get_by_text("77 %").wait_for(timeout=20_000)


@pytest.mark.parametrize("theme", THEMES)
def test_moderated_video_shows_the_reason(run_id: str, open_page: OpenPage, images: Path, theme: str) -> None:
    page, frame = open_page(of_task(run_id, "moderated"), theme=theme)

    frame.get_by_text("rejected by content moderation").wait_for()
    assert "Rejected by moderation" in frame.locator(".state").inner_text()
    page.screenshot(path=images / f"preview-moderated-{theme}.png")


def test_video_that_was_not_saved_plays_from_the_api(run_id: str, open_page: OpenPage) -> None:
    page, frame = open_page(of_task(run_id, "unsaved"))

    assert wait_until_playable(frame) == [pytest.approx(1, abs=0.1)]
    assert "/grokvideo/" not in frame.locator("video").evaluate("video => video.currentSrc")
    assert page.problems == []


def test_task_of_another_operator_has_no_video(run_id: str, open_page: OpenPage) -> None:
    _, frame = open_page(of_task(run_id, "other"))

    frame.get_by_text("This task makes no video.").wait_for()


def test_page_follows_a_change_of_theme(run_id: str, open_page: OpenPage) -> None:
    page, frame = open_page(of_task(run_id, "saved"))
    wait_until_playable(frame)
    before = frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")

    page.evaluate("document.documentElement.className = 'dark'")
    frame.locator("html.dark").wait_for()

    assert frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor") != before


def test_page_fits_a_narrow_window(run_id: str, browser_env: BrowserEnv, open_page: OpenPage) -> None:
    page, _ = open_page(f"/grokvideo/dags/videos/runs/{run_id}", width=360)

    page.locator("video").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_player_is_reached_with_the_keyboard(run_id: str, open_page: OpenPage) -> None:
    page, _ = open_page(f"/grokvideo{api_path(run_id)}")
    page.locator("video").wait_for()

    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.tagName") == "VIDEO"


def test_preview_works_behind_a_base_path(run_id: str, behind_base_path: str, open_page: OpenPage) -> None:
    page, frame = open_page(of_task(run_id, "saved"), base=behind_base_path)

    assert len(wait_until_playable(frame)) == 1
    assert frame.locator("video").evaluate("video => video.currentSrc").startswith(f"{behind_base_path}/grokvideo/")
    assert page.problems == []
    _, gallery = open_page(f"/dags/videos/runs/{run_id}/plugin/grokvideo-run", base=behind_base_path)
    wait_until_playable(gallery, 5)


def test_user_without_xcom_access_gets_a_message(browser_env: BrowserEnv, run_id: str, open_page: OpenPage) -> None:
    _, frame = open_page(of_task(run_id, "saved"), client=browser_env.unprivileged_client)

    frame.get_by_text("You may not see the videos of this DAG.").wait_for()
    assert frame.locator("video").count() == 0
