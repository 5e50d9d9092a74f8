"""What the demo prints: steps with their expected seconds, a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.style import Style
from rich.text import Text

SILENCE = 4
"""Seconds after which a step that still runs is named again where there is no progress bar."""
REDRAW = 0.2
ALMOST = 95
"""Percent that an estimate stops at: only what has ended is complete."""
PICTURE_WIDTH = 48

RGB = tuple[int, int, int]


def line(elapsed: float, text: str) -> str:
    """Return a line with the seconds since the start."""
    return f"[{elapsed:5.1f} s] {text}"


def started_line(text: str, expected: float) -> str:
    """Return the line at the start of a step."""
    return f"{text} (about {expected:g} s)"


def waiting_line(what: str, elapsed: float, expected: float, percent: float | None) -> str:
    """Return the line while a step continues."""
    done = "" if percent is None else f"{percent:.0f} %, "
    return f"    {what}: {done}{elapsed:.0f} of about {expected:g} s"


def share_done(elapsed: float, expected: float, percent: float | None) -> float:
    """Return the percent that a bar shows: what is known, or an estimate from the time."""
    return percent if percent is not None else min(ALMOST, 100 * elapsed / expected)


def half_blocks(pixels: Sequence[Sequence[RGB]]) -> Text:
    """Return a picture as text: each character shows two pixels, one above the other."""
    picture = Text()
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=False):
        for above, below in zip(upper, lower, strict=True):
            picture.append(
                "▀", Style(color="#{:02x}{:02x}{:02x}".format(*above), bgcolor="#{:02x}{:02x}{:02x}".format(*below))
            )
        picture.append("\n")
    return picture


def first_frame(video: Path, width: int = PICTURE_WIDTH) -> list[list[RGB]] | None:
    """Return the pixels of a video's first frame, made small; none without the packages of the extra ``sandbox``."""
    try:
        import av
        from PIL import Image  # noqa: F401 - what av makes images with
    except ImportError:
        return None
    with av.open(str(video)) as container:
        image = next(container.decode(video=0)).to_image()
    height = max(2, round(width * image.height / image.width / 2) * 2)
    small = image.convert("RGB").resize((width, height))
    data = small.tobytes()
    return [[(*data[at : at + 3],) for at in range(row, row + 3 * width, 3)] for row in range(0, len(data), 3 * width)]


class Narrator:
    """Prints one line for each thing that happens, with the seconds since the start."""

    def __init__(self, console: Console | None = None) -> None:
        # Not what FORCE_COLOR and others want: a file and the log of a CI get no control characters.
        terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.console = console or Console(force_terminal=terminal, highlight=False, soft_wrap=True)
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(Text(line(time.monotonic() - self._start, text)))

    def show_file(self, label: str, path: Path) -> None:
        """Print the URI of a file, which a terminal shows as a link."""
        uri = path.as_uri()
        self.console.print(Text.assemble(label, Text(uri, Style(link=uri))))

    def show_picture(self, video: Path) -> None:
        """Print the first frame of a video where the terminal has the colours for it."""
        if self.console.color_system == "truecolor" and (pixels := first_frame(video)):
            self.console.print(half_blocks(pixels))

    @contextmanager
    def step(self, text: str, expected: float) -> Iterator[Step]:
        """Say what starts now, and show that it goes on until the block ends."""
        self.say(started_line(text, expected))
        step = Step(self, text, expected)
        thread = threading.Thread(target=step.draw if self.console.is_terminal else step.print_lines, daemon=True)
        thread.start()
        try:
            yield step
        finally:
            step.ended.set()
            thread.join()


class Step:
    """Something that takes seconds; ``what`` and ``percent`` may change meanwhile."""

    def __init__(self, narrator: Narrator, what: str, expected: float) -> None:
        self.what = what
        self.percent: float | None = None
        self.ended = threading.Event()
        self._narrator = narrator
        self._expected = expected
        self._start = time.monotonic()

    def now(self, what: str) -> None:
        """Change the text of the step."""
        self.what = what

    def print_lines(self, silence: float = SILENCE) -> None:
        """Print a line now and then."""
        while not self.ended.wait(silence):
            elapsed = time.monotonic() - self._start
            self._narrator.say(waiting_line(self.what, elapsed, self._expected, self.percent))

    def draw(self) -> None:
        """Show a progress bar."""
        columns = (TextColumn("        "), BarColumn(), TextColumn("{task.description}", markup=False))
        with Progress(*columns, console=self._narrator.console, transient=True) as progress:
            bar = progress.add_task("", total=100)
            while not self.ended.wait(REDRAW):
                elapsed = time.monotonic() - self._start
                shown = waiting_line(self.what, elapsed, self._expected, self.percent).strip()
                progress.update(bar, completed=share_done(elapsed, self._expected, self.percent), description=shown)
