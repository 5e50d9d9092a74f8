"""Rendering of MP4 files: frames with a moving background, the prompt and a clock, encoded as H.264."""

from __future__ import annotations

import colorsys
import hashlib
import io
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Size of the background relative to the frame; the rest lets it move behind the text.
_BACKGROUND_SCALE = 1.12
_WHITE = (255, 255, 255)
_IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
_MAX_IMAGE_PIXELS = 16 * 1000 * 1000
"""Limit because a PNG of half a megabyte may decode to gigabytes."""


@dataclass(frozen=True)
class VideoSpec:
    """All inputs of a rendering; equal specs give identical files."""

    request_id: str
    prompt: str
    label: str
    width: int
    height: int
    seconds: float
    seed: int | None = None
    image: bytes | None = None

    @property
    def short_side(self) -> int:
        """The shorter side in pixels, to which text is scaled."""
        return min(self.width, self.height)


class FrameRenderer:
    """Renderer of the frames of one video."""

    def __init__(self, spec: VideoSpec) -> None:
        self._spec = spec
        self._random = random.Random(  # noqa: S311
            hashlib.sha256(f"{spec.seed}:{spec.prompt}:{spec.label}".encode()).digest()
        )
        self._background = self._image_background() or self._gradient_background()
        self._overlay = self._draw_overlay()
        self._clock_font = load_font(True, max(12, spec.short_side // 26))

    def frame(self, seconds: float) -> Image.Image:
        """Return the frame at that time."""
        from PIL import ImageDraw

        spec = self._spec
        share = seconds / spec.seconds if spec.seconds else 0.0
        margin_x, margin_y = (
            self._background.width - spec.width,
            self._background.height - spec.height,
        )
        # Even pixels: smaller moves are hardly visible, but enlarge the file.
        left = int(margin_x * share) // 2 * 2
        top = int(margin_y * (1 - share)) // 2 * 2
        image = self._background.crop((left, top, left + spec.width, top + spec.height))
        image.paste(self._overlay, (0, 0), self._overlay)
        draw = ImageDraw.Draw(image)
        margin, bar = spec.short_side // 24, max(4, spec.short_side // 80)
        draw.text(
            (spec.width - margin, margin + spec.short_side // 40),
            f"{seconds:05.2f} / {spec.seconds:05.2f} s",
            font=self._clock_font,
            fill=_WHITE,
            anchor="rm",
        )
        draw.rectangle((0, spec.height - bar, int(spec.width * share), spec.height), fill=self._accent)
        return image

    def _image_background(self) -> Image.Image | None:
        from PIL import Image, ImageEnhance, ImageOps

        if self._spec.image is None:
            return None
        try:
            opened = Image.open(io.BytesIO(self._spec.image), formats=_IMAGE_FORMATS)
            # Reads a large JPEG at reduced size.
            opened.draft("RGB", self._background_size())
            if opened.width * opened.height > _MAX_IMAGE_PIXELS:
                return None
            image = ImageOps.exif_transpose(opened).convert("RGB")
        except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
            # Validation checks only the first bytes. A broken image is not an error: the video has a plain background.
            return None
        self._accent = _rgb(self._random.random(), 0.55, 1.0)
        covered = ImageOps.fit(image, self._background_size(), Image.Resampling.BILINEAR)
        return ImageEnhance.Brightness(covered).enhance(0.82)

    def _gradient_background(self) -> Image.Image:
        from PIL import Image, ImageDraw, ImageFilter

        hue = self._random.random()
        self._accent = _rgb(hue + 0.5, 0.55, 1.0)
        dark, light = _rgb(hue, 0.75, 0.22), _rgb(hue + 0.12, 0.70, 0.62)
        width, height = self._background_size()
        small = Image.new("RGB", (2, 2))
        small.putdata([dark, _mix(dark, light, 0.45), _mix(dark, light, 0.55), light])
        canvas = small.resize((width // 4, height // 4), Image.Resampling.BICUBIC)
        glow = Image.new("L", canvas.size, 0)
        draw = ImageDraw.Draw(glow)
        for _ in range(5):
            x, y = self._random.randrange(canvas.width), self._random.randrange(canvas.height)
            radius = self._random.randrange(canvas.height // 8, canvas.height // 3)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=self._random.randrange(50, 130))
        glow = glow.filter(ImageFilter.GaussianBlur(canvas.height / 22))
        canvas.paste(Image.new("RGB", canvas.size, _rgb(hue + 0.22, 0.55, 0.95)), (0, 0), glow)
        return canvas.resize((width, height), Image.Resampling.BICUBIC)

    def _background_size(self) -> tuple[int, int]:
        return int(self._spec.width * _BACKGROUND_SCALE), int(self._spec.height * _BACKGROUND_SCALE)

    def _draw_overlay(self) -> Image.Image:
        from PIL import Image, ImageDraw

        spec = self._spec
        unit, margin = spec.short_side, spec.short_side // 24
        layer = Image.new("RGBA", (spec.width, spec.height), (0, 0, 0, 0))
        draw = ImageDraw.Draw(layer)
        badge_font, small_font = load_font(True, max(12, unit // 26)), load_font(True, max(10, unit // 36))
        badge_right = margin + badge_font.getlength(spec.label) + unit // 20
        draw.rounded_rectangle(
            (margin, margin, badge_right, margin + unit // 20), unit // 40, fill=(*self._accent, 235)
        )
        draw.text(
            ((margin + badge_right) / 2, margin + unit // 40),
            spec.label,
            font=badge_font,
            fill=(10, 12, 20, 255),
            anchor="mm",
        )
        clock_left = spec.width - margin - badge_font.getlength("00.00 / 00.00 s") - unit // 48
        draw.rounded_rectangle(
            (clock_left, margin, spec.width - margin // 2, margin + unit // 20),
            unit // 40,
            fill=(0, 0, 0, 120),
        )
        padding = unit // 28
        font, lines, line_height = fit_text(
            spec.prompt or "(no prompt)",
            spec.width - 2 * margin - 2 * padding,
            spec.height - 6 * margin - 2 * padding,
            unit,
        )
        foot = unit // 20
        panel_height = len(lines) * line_height + 2 * padding + foot
        top = spec.height - margin * 1.5 - panel_height
        draw.rounded_rectangle(
            (margin, top, spec.width - margin, top + panel_height), unit // 40, fill=(8, 10, 18, 175)
        )
        for number, line in enumerate(lines):
            draw.text((margin + padding, top + padding + number * line_height), line, font=font, fill=(*_WHITE, 255))
        draw.text(
            (margin + padding, top + panel_height - padding / 2),
            spec.request_id,
            font=small_font,
            fill=(*_WHITE, 170),
            anchor="ls",
        )
        return layer


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def _mix(one: tuple[int, int, int], other: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


# Pillow's own font has Latin letters only. These fonts, if installed, have more.
_UNICODE_FONTS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf")
# The largest and the smallest font size, as divisors of the frame's short side.
_LARGEST_FONT, _SMALLEST_FONT = 13, 25


@lru_cache(maxsize=64)
def load_font(latin: bool, size: int) -> Font:
    """Return a font of that size.

    :param latin: Pillow's own font is enough.
    """
    from PIL import ImageFont

    for name in () if latin else _UNICODE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size=size)


def is_latin(text: str) -> bool:
    """Return whether Pillow's own font has all letters of the text."""
    return all(ord(letter) < 0x250 or 0x2010 <= ord(letter) <= 0x2026 for letter in text)


def wrap_text(text: str, font: Font, width: float) -> list[str]:
    """Split the text into lines no wider than ``width``; a longer word is split too."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        candidate = f"{line} {word}" if line else word
        if font.getlength(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        while font.getlength(word) > width and len(word) > 1:
            cut = _longest_fitting(word, font, width)
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return [*lines, line] if line else lines


def fit_text(text: str, width: float, height: float, short_side: int) -> tuple[Font, list[str], float]:
    """Return the largest font in which the text fits the box, its lines, and the line height.

    Text that does not fit in the smallest font is cut and ends with an ellipsis.
    """
    latin = is_latin(text)
    for divisor in range(_LARGEST_FONT, _SMALLEST_FONT + 1, 2):
        size = max(12, short_side // divisor)
        font = load_font(latin, size)
        lines = wrap_text(text, font, width)
        line_height = size * 1.28
        if len(lines) * line_height <= height:
            return font, lines, line_height
    count = max(1, int(height // line_height))
    last = lines[count - 1]
    while last and font.getlength(last + " …") > width:
        last = last[:-1]
    return font, [*lines[: count - 1], last.rstrip() + " …"], line_height


def _longest_fitting(word: str, font: Font, width: float) -> int:
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(word[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low


FRAMES_PER_SECOND = 24


class RendererMissingError(RuntimeError):
    """Raised when PyAV or Pillow is not installed."""


class RenderingStoppedError(RuntimeError):
    """Raised when the sandbox stops during a rendering."""


def render_video(spec: VideoSpec, keep_going: Callable[[], bool] = lambda: True) -> bytes:
    """Return the MP4 file of a spec: H.264, yuv420p, with the index in front.

    It takes seconds of CPU, so call it in a thread.

    :param keep_going: called before every frame; False stops with ``RenderingStoppedError``.
    """
    try:
        import av
        import PIL  # noqa: F401
    except ImportError as error:
        raise RendererMissingError(
            f"Cannot render videos: {error.name} is not installed. "
            "Install it with: pip install 'airflow-provider-grokvideo[sandbox]'"
        ) from error

    renderer = FrameRenderer(spec)
    with tempfile.TemporaryDirectory(prefix="grokvideo-sandbox-") as folder:
        # A file, because the muxer reads it again to move the index to the front.
        path = Path(folder) / "video.mp4"
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        with av.open(str(path), "w", format="mp4", options=options) as container:
            # Fixed because the output of x264 depends on the number of threads.
            encoding = {"preset": "ultrafast", "crf": "23", "threads": "2"}
            stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=encoding)
            stream.width, stream.height = spec.width, spec.height
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, FRAMES_PER_SECOND)
            for number in range(round(spec.seconds * FRAMES_PER_SECOND)):
                if not keep_going():
                    raise RenderingStoppedError(spec.request_id)
                frame = av.VideoFrame.from_image(renderer.frame(number / FRAMES_PER_SECOND))
                frame.pts = number
                frame.time_base = Fraction(1, FRAMES_PER_SECOND)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()
