"""Models of the API: what each supports, its prices, and the frame sizes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

TICKS_PER_USD = 10_000_000_000
DEFAULT_MODEL = "grok-imagine-video"
DEFAULT_DURATION = {"generation": 8, "edit": 8, "extension": 6}
# Assumed duration of a video to edit or extend that the sandbox did not create.
DEFAULT_SOURCE_SECONDS = 8.0
DEFAULT_RESOLUTION = "480p"
DEFAULT_ASPECT_RATIO = "16:9"

# The short side is the name of the resolution. Both sides are even, as H.264 requires.
# 480p in 16:9 is 848x480 (not 854), the default size on the API page.
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
    """One model.

    Prices are in US dollars: per second of output by resolution, per input image, and per second of input video.
    """

    name: str
    per_second: dict[str, Decimal]
    per_image: Decimal
    per_input_second: Decimal = Decimal(0)
    supports_edits: bool = False
    supports_references: bool = True
    max_seconds_with_references: int = 15
    supports_image_with_references: bool = False
    supports_frames: bool = False


_CLASSIC = Model(
    "grok-imagine-video",
    {"480p": Decimal("0.05"), "720p": Decimal("0.07")},
    per_image=Decimal("0.002"),
    per_input_second=Decimal("0.01"),
    supports_edits=True,
    max_seconds_with_references=10,
)
_ONE_FIVE = Model(
    "grok-imagine-video-1.5",
    {"480p": Decimal("0.08"), "720p": Decimal("0.14"), "1080p": Decimal("0.25")},
    per_image=Decimal("0.01"),
    supports_image_with_references=True,
    supports_frames=True,
)
_LITE = Model(
    "grok-imagine-video-1.5-lite",
    {"480p": Decimal("0.02"), "720p": Decimal("0.03"), "1080p": Decimal("0.14")},
    per_image=Decimal("0.01"),
    supports_references=False,
)

MODELS = {model.name: model for model in (_CLASSIC, _ONE_FIVE, _LITE)}
_ALIAS = re.compile(r"(.+)-(?:preview|20\d\d-\d\d-\d\d)")


def find_model(name: str) -> Model | None:
    """Return the model with that name or dated alias, or None if it does not exist."""
    alias = _ALIAS.fullmatch(name)
    return MODELS.get(name) or (MODELS.get(alias.group(1)) if alias else None)


def cost_in_ticks(model: Model, resolution: str, seconds: float, images: int, source_seconds: float = 0.0) -> int:
    """Return what the API charges for a video, in ticks of 1/10,000,000,000 US dollar.

    :param images: number of input images.
    :param source_seconds: duration of the video to edit or extend.
    """
    usd = model.per_second[resolution] * Decimal(str(seconds)) + model.per_image * images
    usd += model.per_input_second * Decimal(str(source_seconds))
    return int(usd * TICKS_PER_USD)
