"""What the demo prints."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from airflow_provider_grokvideo.sandbox.rendering import VideoSpec, render_video
from dev import narrator
from dev.narrator import Narrator, Step


@pytest.mark.parametrize(
    ("elapsed", "percent", "share"), [(5, None, 50), (9.9, None, 95), (100, None, 95), (5, 20, 20), (5, 100, 100)]
)
def test_estimate_never_looks_complete(elapsed: float, percent: float | None, share: float) -> None:
    assert narrator.share_done(elapsed, 10, percent) == share


def test_lines_show_seconds_and_progress() -> None:
    assert narrator.line(3.14159, "starting") == "[  3.1 s] starting"
    assert narrator.started_line("starting Airflow", 30) == "starting Airflow (about 30 s)"
    assert narrator.waiting_line("rendering", 4.2, 15, None) == "    rendering: 4 of about 15 s"
    assert narrator.waiting_line("rendering", 4.2, 15, 52) == "    rendering: 52 %, 4 of about 15 s"


class Recorder(io.StringIO):
    """Output that lets a test wait for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def write(self, text: str) -> int:
        with self.changed:
            self.changed.notify_all()
            return super().write(text)

    def wait_for(self, text: str) -> None:
        """Wait until the output contains a text."""
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.getvalue(), timeout=30)


def test_step_breaks_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Recorder()
    speaker = Narrator(Console(file=output, force_terminal=False, width=200))
    step = Step(speaker, "starting Airflow", 30)
    thread = threading.Thread(target=step.print_lines, args=(0.01,), daemon=True)
    thread.start()
    try:
        output.wait_for("starting Airflow: 0 of about 30 s")
        step.now("waiting for the API server")
        step.percent = 40
        output.wait_for("waiting for the API server: 40 %")
    finally:
        step.ended.set()
        thread.join(30)
    assert not thread.is_alive()


def test_terminal_shows_a_progress_bar() -> None:
    output = io.StringIO()
    speaker = Narrator(Console(file=output, force_terminal=True, width=100, color_system="truecolor"))
    step = Step(speaker, "making the video", 10)
    step.percent = 50
    thread = threading.Thread(target=step.draw, daemon=True)
    thread.start()
    step.ended.set()
    thread.join(30)
    assert "━" in output.getvalue()


def save_video(folder: Path) -> Path:
    """Return the path of a short video."""
    path = folder / "video.mp4"
    path.write_bytes(render_video(VideoSpec("r1", "a lake", "sandbox", width=64, height=36, seconds=1)))
    return path


def test_first_frame_becomes_half_blocks(tmp_path: Path) -> None:
    video = save_video(tmp_path)
    pixels = narrator.first_frame(video, width=16)
    assert pixels is not None
    assert {len(row) for row in pixels} == {16}
    assert len(pixels) % 2 == 0
    picture = narrator.half_blocks(pixels)
    assert picture.plain.count("▀") == 16 * len(pixels) // 2


@pytest.mark.parametrize(("colours", "shown"), [("truecolor", True), (None, False)])
def test_picture_is_shown_only_in_true_colour(colours: str | None, shown: bool, tmp_path: Path) -> None:
    video = save_video(tmp_path)
    output = io.StringIO()
    Narrator(Console(file=output, force_terminal=bool(colours), width=100, color_system=colours)).show_picture(video)
    assert ("▀" in output.getvalue()) == shown
