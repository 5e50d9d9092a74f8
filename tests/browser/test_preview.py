"""The video preview in a real Airflow and a real browser: what users see."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from conftest import BrowserEnv, OpenPage, api_path, assert_accessible, of_task, wait_until_playable

THEMES = ("light", "dark")


# -- what users see


@pytest.mark.parametrize("theme", THEMES)
def test_skeleton_is_shown_until_the_data_arrives(run_id: str, open_page: OpenPage, theme: str) -> None:
    held: list[Any] = []

    # Playwright accepts no built-in function.
    def hold(route: Any) -> None:
        held.append(route)

    page, frame = open_page(of_task(run_id, "saved"), theme=theme, on_data=hold)

    frame.locator(".skeleton").first.wait_for()
    while not held:
        page.wait_for_event("request")
    assert frame.locator("main").get_attribute("aria-busy") == "true"
    assert frame.locator("article").count() == 0
    # A white page must not flash in Airflow's dark theme.
    assert frame.locator("html.dark").count() == (theme == "dark")

    held.pop().continue_()

    frame.locator("article").wait_for()
    assert frame.locator(".skeleton").count() == 0
    assert frame.locator("main").get_attribute("aria-busy") is None


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
    assert_accessible(frame.locator("html"))
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
    assert_accessible(frame.locator("html"))
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
    assert frame.locator("article").count() == 0


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


# -- what changes, and where links lead


@pytest.fixture(scope="module")
def variants_run(browser_env: BrowserEnv) -> str:
    """Return a run of the DAG ``variants`` whose generations are all pending, that of a failed task included."""
    run = browser_env.client.trigger("variants")
    states = {"late": "failed", "submit": "success", "await": "deferred", "described": "deferred"}
    for task_id, state in states.items():
        browser_env.client.wait_for_task("variants", run, task_id, state, timeout=120)
    return run


def test_generations_of_other_tasks_are_explained(
    browser_env: BrowserEnv, variants_run: str, open_page: OpenPage
) -> None:
    _, frame = open_page(f"/dags/variants/runs/{variants_run}/plugin/grokvideo-run")

    # The prompt of a decorated task, while it waits; and the sensor shows that of the task that submitted.
    frame.get_by_role("article", name="described").get_by_text("A stork over wet meadows").wait_for()
    shared = frame.get_by_role("article", name="submit, await")
    shared.get_by_text("A heron").wait_for()
    assert frame.locator("article").count() == 3
    late = frame.get_by_role("article", name="late")
    late.get_by_text("The generation continues at the API.").wait_for()

    browser_env.slow.finish(browser_env.client.xcom("variants", variants_run, "late", "request_id"))

    late.get_by_text("The video is finished at the API.").wait_for()
    assert late.locator(".state").inner_text() == "Finished at the API"
    assert len(wait_until_playable(frame)) == 1


def test_clear_of_a_finished_task_is_noticed(browser_env: BrowserEnv, open_page: OpenPage) -> None:
    run = browser_env.client.trigger("videos")
    browser_env.client.wait_for_task("videos", run, "unsaved", "success", timeout=120)
    first = browser_env.client.xcom("videos", run, "unsaved", "request_id")
    _, frame = open_page(of_task(run, "unsaved"))
    wait_until_playable(frame)
    frame.get_by_text(first).wait_for()

    browser_env.client.clear("videos", run, ["unsaved"])

    frame.get_by_text(first).wait_for(state="detached")
    browser_env.client.wait_for_task("videos", run, "unsaved", "success", timeout=120)
    second = browser_env.client.xcom("videos", run, "unsaved", "request_id")
    assert second != first
    frame.get_by_text(second).wait_for()
    wait_until_playable(frame)
    browser_env.client.call("PATCH", f"/dags/videos/dagRuns/{run}", json={"state": "failed"})


def test_links_lead_into_airflow(browser_env: BrowserEnv, run_id: str, open_page: OpenPage) -> None:
    page, frame = open_page(f"/dags/videos/runs/{run_id}/plugin/grokvideo-run")

    frame.get_by_role("link", name="Video of scenes [1]", exact=True).click()
    page.wait_for_url(lambda url: unquote(url).endswith(of_task(run_id, "scenes", 1)))
    wait_until_playable(frame)
    frame.get_by_role("link", name="Log of scenes [1]").click()

    page.get_by_text("Waiting for generation").first.wait_for()
    assert page.locator("iframe").count() == 0


def test_saved_video_is_downloaded_or_the_page_says_how(
    browser_env: BrowserEnv, run_id: str, open_page: OpenPage
) -> None:
    page, frame = open_page(of_task(run_id, "saved"))
    wait_until_playable(frame)
    if "allow-downloads" not in page.locator("iframe[title^=Video]").get_attribute("sandbox"):
        frame.get_by_role("link", name="open this page by itself").click()
        page.wait_for_url("**/grokvideo/dags/**")
        frame = page

    with page.expect_download() as started:
        frame.get_by_role("link", name="Download the video of saved").click()

    assert started.value.suggested_filename == "saved.mp4"
    result = browser_env.client.xcom("videos", run_id, "saved")
    assert Path(started.value.path()).stat().st_size == result["size_bytes"]
