"""The animated picture of the README: a video from its submission until it plays."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

from conftest import BrowserEnv, OpenPage, of_task, wait_until_playable
from PIL import Image

SECONDS = 0.4
"""Between two pictures, in the browser and in the file."""
WIDTH = 900
COLORS = 96
MAX_BYTES = 3_000_000
PLAYED = 3.0
"""Seconds of the video at the end."""
TIMEOUT = 120.0


def take_picture(page: Any) -> Image.Image:
    """Return the page as a small picture."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return picture.resize((WIDTH, round(WIDTH * picture.height / picture.width)), Image.Resampling.LANCZOS)


def save_animation(pictures: list[Image.Image], path: Path) -> None:
    """Save pictures as one animated GIF, which stops for a moment at its end."""
    frames = [picture.quantize(COLORS, dither=Image.Dither.NONE) for picture in pictures]
    durations = [int(SECONDS * 1000)] * (len(frames) - 1) + [2500]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)


def test_screencast_shows_a_video_from_submission_to_playing(
    browser_env: BrowserEnv, open_page: OpenPage, images: Path
) -> None:
    run = browser_env.client.trigger("screencast")
    browser_env.client.wait_for_task("screencast", run, "generate", "deferred", timeout=TIMEOUT)
    page, frame = open_page(of_task(run, "generate", dag_id="screencast"), height=810)
    frame.locator(".state").first.wait_for()

    pictures, states = [], []
    deadline = time.monotonic() + TIMEOUT
    while not states or states[-1] != "Done":
        assert time.monotonic() < deadline, states
        pictures.append(take_picture(page))
        states.append(frame.locator(".state").first.inner_text())
        page.wait_for_timeout(SECONDS * 1000)
    wait_until_playable(frame)
    video = frame.locator("video")
    video.evaluate("video => { video.muted = true; return video.play(); }")
    while (played := video.evaluate("video => video.currentTime")) < PLAYED:
        assert time.monotonic() < deadline, played
        pictures.append(take_picture(page))
        page.wait_for_timeout(SECONDS * 1000)
    save_animation(pictures, images / "screencast.gif")

    assert "Rendering" in states
    assert (images / "screencast.gif").stat().st_size < MAX_BYTES
    with Image.open(images / "screencast.gif") as saved:
        assert saved.n_frames > 10
