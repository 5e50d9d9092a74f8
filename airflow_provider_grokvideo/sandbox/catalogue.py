"""The models the API sells: what each can make and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

TICKS_PER_USD = 10_000_000_000
DEFAULT_MODEL = "grok-imagine-video"
DEFAULT_DURATION = {"generation": 8, "edit": 8, "extension": 6}
DEFAULT_RESOLUTION = "480p"
DEFAULT_ASPECT_RATIO = "16:9"

# Frame sizes: the short side is the resolution's name and both sides are even, as H.264 wants.
# 480p in 16:9 is 848x480 (not 854), the size the API page names as its default.
FRAME_SIZES: dict[str, dict[str, tuple[int, int]]] = {
    "480p": {
        "1:1": (480, 480),
        "16:9": (848, 480),
        "9:16": (480, 848),
        "4:3": (640, 480),
        "3:4": (480, 640),
        "3:2": (720, 480),
        "2:3": (480, 720),
        "21:9": (1120, 480),
        "5:2": (1200, 480),
    },
    "720p": {
        "1:1": (720, 720),
        "16:9": (1280, 720),
        "9:16": (720, 1280),
        "4:3": (960, 720),
        "3:4": (720, 960),
        "3:2": (1080, 720),
        "2:3": (720, 1080),
        "21:9": (1680, 720),
        "5:2": (1800, 720),
    },
    "1080p": {
        "1:1": (1080, 1080),
        "16:9": (1920, 1080),
        "9:16": (1080, 1920),
        "4:3": (1440, 1080),
        "3:4": (1080, 1440),
        "3:2": (1620, 1080),
        "2:3": (1080, 1620),
        "21:9": (2520, 1080),
        "5:2": (2700, 1080),
    },
}
RESOLUTIONS = tuple(FRAME_SIZES)
ASPECT_RATIOS = tuple(FRAME_SIZES["480p"])


@dataclass(frozen=True)
class Model:
    """One model: US dollars per second by resolution, and per input image."""

    name: str
    per_second: dict[str, Decimal]
    per_image: Decimal = Decimal(0)
    edits_and_extends: bool = False


_CLASSIC = Model(
    "grok-imagine-video",
    {"480p": Decimal("0.05"), "720p": Decimal("0.07")},
    edits_and_extends=True,
)
_ONE_FIVE = Model(
    "grok-imagine-video-1.5",
    {"480p": Decimal("0.08"), "720p": Decimal("0.14"), "1080p": Decimal("0.25")},
    per_image=Decimal("0.01"),
)
_LITE = Model(
    "grok-imagine-video-1.5-lite",
    {"480p": Decimal("0.02"), "720p": Decimal("0.03"), "1080p": Decimal("0.14")},
)

MODELS = {model.name: model for model in (_CLASSIC, _ONE_FIVE, _LITE)}
ALIASES = {
    "grok-imagine-video-1.5-preview": _ONE_FIVE,
    "grok-imagine-video-1.5-2026-05-30": _ONE_FIVE,
}


def find_model(name: str) -> Model | None:
    """The model of that name or alias, or None where nobody sells it."""
    return MODELS.get(name) or ALIASES.get(name)


def cost_in_ticks(model: Model, resolution: str, seconds: float, images: int) -> int:
    """What the API would charge, in the unit its answers use."""
    usd = model.per_second[resolution] * Decimal(str(seconds)) + model.per_image * images
    return int(usd * TICKS_PER_USD)
