"""Table of video models: capabilities and list prices, with source and date.

It contains what is documented, not what one address offers: resellers get models later. A model that is not in the
table is allowed within the limits of all models, and has no list price.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from airflow_provider_grokvideo.api.redaction import invalid_field, redact
from airflow_provider_grokvideo.exceptions import ApiError, InvalidRequestError, RequestRejectedError

if TYPE_CHECKING:
    from airflow_provider_grokvideo.api.request import VideoRequest

Kind = Literal["generation", "edit", "extension"]
Prices = Mapping[str, Mapping[str, Decimal]]

AS_OF = "2026-11-24"
SOURCE = "xAI's REST reference and price pages (docs.x.ai), xai-sdk 1.21.0, @ai-sdk/xai 5.0.12"

DEFAULT_MODEL = "grok-imagine-video"
DEFAULT_RESOLUTION = "480p"
"""Resolution of a request without one."""
RESOLUTIONS = ("480p", "720p", "1080p")
ASPECT_RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
XAI_ASPECT_RATIOS = (*ASPECT_RATIOS, "21:9", "5:2")
MAX_REFERENCE_IMAGES = 7
MAX_REFERENCE_AUDIOS = 3
MAX_KEYFRAMES = 4
STORED_SECONDS = (3600, 2_592_000)
"""Shortest and longest ``expires_after`` of a stored file: one hour to 30 days."""


class Durations(NamedTuple):
    """Allowed duration in whole seconds."""

    shortest: int
    longest: int
    default: int


DURATIONS: Mapping[Kind, Durations] = {"generation": Durations(1, 15, 8), "extension": Durations(2, 10, 6)}
"""An edit keeps the duration of its source."""
LONGEST_SOURCE: Mapping[Kind, Decimal] = {"edit": Decimal("8.7"), "extension": Decimal(15)}
"""Seconds of video that can be edited or extended. How long a source is, is not known before the submission."""


@dataclass(frozen=True)
class Model:
    """One model.

    :param kinds: kinds of requests that it supports.
    :param per_second: US dollars for each second of output, by resolution.
    :param per_input_image: US dollars for each input image.
    :param per_input_second: US dollars for each second of input video.
    :param reference_images: maximum number of reference images.
    :param reference_seconds: maximum duration with reference images.
    :param reference_resolutions: resolutions with reference images.
    :param image_with_references: whether ``image``, as the first frame, and ``reference_images`` can be combined.
    :param frames: whether it supports ``last_frame`` and ``keyframes``.
    """

    name: str
    kinds: tuple[Kind, ...]
    per_second: Mapping[str, Decimal]
    per_input_image: Decimal
    per_input_second: Decimal = Decimal(0)
    reference_images: int = MAX_REFERENCE_IMAGES
    reference_seconds: int = DURATIONS["generation"].longest
    reference_resolutions: tuple[str, ...] = ("480p", "720p")
    image_with_references: bool = False
    frames: bool = False

    @property
    def resolutions(self) -> tuple[str, ...]:
        """The supported resolutions."""
        return tuple(self.per_second)

    @property
    def prices(self) -> dict[str, Decimal]:
        """Its list prices by unit."""
        return {**self.per_second, "image": self.per_input_image, "input_video": self.per_input_second}


def _by_resolution(*prices: str) -> dict[str, Decimal]:
    return dict(zip(RESOLUTIONS, map(Decimal, prices), strict=False))


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model(
            "grok-imagine-video",
            kinds=("generation", "edit", "extension"),
            per_second=_by_resolution("0.05", "0.07"),
            per_input_image=Decimal("0.002"),
            per_input_second=Decimal("0.01"),
            reference_seconds=10,
        ),
        Model(
            "grok-imagine-video-1.5",
            kinds=("generation",),
            per_second=_by_resolution("0.08", "0.14", "0.25"),
            per_input_image=Decimal("0.01"),
            image_with_references=True,
            frames=True,
        ),
        Model(
            "grok-imagine-video-1.5-lite",
            kinds=("generation",),
            per_second=_by_resolution("0.02", "0.03", "0.14"),
            per_input_image=Decimal("0.01"),
            reference_images=0,
        ),
    )
}
PRICES: Prices = {model.name: model.prices for model in MODELS.values()}
"""xAI's list prices in US dollars: for each second of output by resolution, for each input ``image``, and for each
second of ``input_video``. CometAPI charges its own prices, mostly 0.8 of these."""
INPUT_UNITS = ("image", "input_video")
UNITS = (*RESOLUTIONS, *INPUT_UNITS)

_DATED = re.compile(r"-(?:preview|beta|latest|20\d\d-\d\d-\d\d|20\d{6}|\d{6})$")
_HARMLESS_EXTRA = frozenset({"seed", "negative_prompt", "metadata"})
"""Fields of ``extra`` that never change the price."""
_MODEL_REJECTED = re.compile(
    r"model_not_found|no available channel|model\b.{0,120}\b(?:not exist|not found)"
    r"|(?:unknown|invalid|unsupported) model",
    re.I | re.S,
)


def base_name(name: str) -> str:
    """Return the name of a model without ``-preview``, ``-latest`` or a date at its end."""
    while (shorter := _DATED.sub("", name)) != name:
        name = shorter
    return name


def find_model(name: str) -> Model | None:
    """Return the known model of that name or dated alias."""
    return MODELS.get(name) or MODELS.get(base_name(name))


def nearest(name: str, known: Iterable[str] = tuple(MODELS), *, count: int = 1) -> list[str]:
    """Return the known names that are most similar to a name, the best first."""
    by_lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.strip().lower(), by_lower, n=count, cutoff=0.6)
    return [by_lower[one] for one in found]


def unknown_name_hint(name: str) -> str | None:
    """Return a warning if a model is not in the table but similar to one in it."""
    if find_model(name) or not (near := nearest(name)):
        return None
    return (
        f"Model {name!r} is not among those known on {AS_OF}; the nearest known name is {near[0]!r}. "
        "It is sent as it is, and has no list price."
    )


def not_offered_hint(name: str, offered: Sequence[str]) -> str | None:
    """Return a message if a key may not use a model.

    :param offered: names of video models; an empty list means that they are unknown.
    """
    if not offered or {name, base_name(name)} & set(offered):
        return None
    near = ", ".join(nearest(name, offered, count=3))
    return f"{name!r}, is not offered to this key" + (f"; the nearest names are {near}." if near else ".")


def explain_rejected_model(error: ApiError, name: str) -> ApiError:
    """Return the error of a rejected submission, with the most similar known model if the API rejects the model."""
    if not isinstance(error, RequestRejectedError) or not _MODEL_REJECTED.search(f"{error.code} {error.message}"):
        return error
    near = [one for one in nearest(name) if one != name]
    advice = f"Did you mean {near[0]!r}? " if near and find_model(name) is None else ""
    return RequestRejectedError(
        error.message,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        what=f"The API offers no model {name!r} to this key",
        advice=f"Nothing was billed. {advice}The connection test lists the models that it offers.",
    )


# --- prices -----------------------------------------------------------------------------------------


def estimate(request: VideoRequest, prices: Prices = PRICES) -> Decimal | None:
    """Return the maximum cost of a request in US dollars, or ``None`` if it is unknown.

    It is unknown for a model or resolution without a price, and for fields in ``extra`` that may change the price.
    The length and resolution of the video to edit or extend are unknown: the maximum of both is assumed.
    """
    units = _units(request, prices)
    if units is None or _pricey_extra(request):
        return None
    if request.kind == "generation":
        per_second = units.get(request.resolution or DEFAULT_RESOLUTION)
        source = Decimal(0)
    else:
        per_second = max((price for unit, price in units.items() if unit not in INPUT_UNITS), default=None)
        source = LONGEST_SOURCE[request.kind]
    if per_second is None:
        return None
    seconds = source if request.duration is None else Decimal(request.duration)
    inputs = units.get("image", Decimal(0)) * len(request.images) + units.get("input_video", Decimal(0)) * source
    return per_second * seconds + inputs


def check_cost(cost: Decimal | None, ceiling: object, request: VideoRequest) -> None:
    """Check that a request cannot cost more than a limit.

    :param cost: the estimate.
    :param ceiling: US dollars, as a number or text.
    :raises InvalidRequestError: it can cost more, or the cost is unknown.
    """
    limit = _decimal(ceiling)
    if limit is None:
        raise invalid_field("max_cost_usd", ceiling, "Use a number of US dollars, 0 or more.")
    if cost is None:
        raise InvalidRequestError(
            f"Not sent: max_cost_usd={ceiling} cannot be checked. {_why_unknown(request)} Nothing was billed."
        )
    if cost > limit:
        raise InvalidRequestError(
            f"Not sent: this request costs up to {format_usd(cost)} USD, more than max_cost_usd={ceiling}. "
            "Nothing was billed. Raise max_cost_usd, or change the request."
        )


def describe_cost(cost: Decimal | None, request: VideoRequest) -> str:
    """Return the log line about the cost of a request."""
    if cost is None:
        return _why_unknown(request)
    return f"This request costs up to {format_usd(cost)} USD, by the list prices of {AS_OF} or your own."


def format_usd(amount: Decimal) -> str:
    """Return an amount with two decimals, or more if it has more."""
    exponent = amount.normalize().as_tuple().exponent
    return f"{amount:.{max(2, -exponent if isinstance(exponent, int) else 2)}f}"


def read_prices(given: object) -> Prices:
    """Return the price table with a user's own prices.

    :param given: ``{model: {"480p": 0.05, …, "image": 0.01, "input_video": 0.01}}``. For each of these models,
        the prices of all resolutions are replaced, and the given prices of inputs.
    :raises InvalidRequestError: a price is wrong; the message contains model and unit.
    """
    if not isinstance(given, Mapping):
        raise invalid_field(
            "prices", given, 'Use {"<model>": {"480p": <US dollars per second>, …, "image": <US dollars each>}}.'
        )
    return {**PRICES, **{str(name): _read_units(str(name), units) for name, units in given.items()}}


def _read_units(name: str, given: object) -> dict[str, Decimal]:
    advice = f"Use US dollars for {', '.join(RESOLUTIONS)} (each second), image (each) and input_video (each second)."
    if not isinstance(given, Mapping) or not given:
        raise invalid_field(f"prices[{name!r}]", given, advice)
    read: dict[str, Decimal] = {}
    for unit, price in given.items():
        if unit not in UNITS:
            raise InvalidRequestError(f"prices[{name!r}] has the unknown unit {redact(unit)!r}. {advice}")
        amount = _decimal(price)
        if amount is None:
            raise invalid_field(f"prices[{name!r}][{unit!r}]", price, "Use a number of US dollars, 0 or more.")
        read[str(unit)] = amount
    if not set(read) - set(INPUT_UNITS):
        raise invalid_field(f"prices[{name!r}]", dict(given), advice)
    known = find_model(name)
    listed = known.prices if known else {}
    return {**{unit: listed[unit] for unit in INPUT_UNITS if unit in listed}, **read}


def _units(request: VideoRequest, prices: Prices) -> Mapping[str, Decimal] | None:
    name = request.model_name
    return prices.get(name) or prices.get(base_name(name))


def _pricey_extra(request: VideoRequest) -> list[str]:
    return sorted(set(request.extra or {}) - _HARMLESS_EXTRA)


def _why_unknown(request: VideoRequest) -> str:
    fields = _pricey_extra(request)
    if fields:
        names = ", ".join(f"extra[{name!r}]" for name in fields)
        return f"The price is unknown: {names} may change it."
    resolution = f" in {request.resolution or DEFAULT_RESOLUTION}" if request.kind == "generation" else ""
    return (
        f"No list price is known for model {request.model_name!r}"
        f"{resolution}. Set prices in the connection's extra or in [grokvideo] prices."
    )


def _decimal(value: Any) -> Decimal | None:
    try:
        number = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None
