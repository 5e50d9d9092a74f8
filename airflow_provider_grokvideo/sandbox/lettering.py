"""Text on a frame: a font that has the letters, wrapped and sized to fit a box."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font knows Latin letters only; these, where the machine has one, know more.
_WIDER_FONTS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf")
# Font sizes are tried from large to small, as fractions of the frame's short side.
_LARGEST, _SMALLEST = 13, 25


@lru_cache(maxsize=64)
def font_for(text_is_latin: bool, size: int) -> Font:
    """A font of that size."""
    from PIL import ImageFont

    for name in () if text_is_latin else _WIDER_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size=size)


def is_latin(text: str) -> bool:
    """Whether Pillow's own font can write this."""
    return all(ord(letter) < 0x250 or 0x2010 <= ord(letter) <= 0x2026 for letter in text)


def wrap(text: str, font: Font, width: float) -> list[str]:
    """Break the text into lines no wider than ``width``; a word that is too long is cut."""
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


def fit(text: str, width: float, height: float, short_side: int) -> tuple[Font, list[str], float]:
    """The largest font in which the text fits the box, its lines, and the line height.

    A text too long even for the smallest is cut and ends with an ellipsis.
    """
    latin = is_latin(text)
    for divisor in range(_LARGEST, _SMALLEST + 1, 2):
        size = max(12, short_side // divisor)
        font = font_for(latin, size)
        lines = wrap(text, font, width)
        line_height = size * 1.28
        if len(lines) * line_height <= height:
            return font, lines, line_height
    most = max(1, int(height // line_height))
    last = lines[most - 1]
    while last and font.getlength(last + " …") > width:
        last = last[:-1]
    return font, [*lines[: most - 1], last.rstrip() + " …"], line_height


def _longest_fitting(word: str, font: Font, width: float) -> int:
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(word[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low
