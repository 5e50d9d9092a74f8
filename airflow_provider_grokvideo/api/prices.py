"""What a request will probably cost, from a small table of list prices. What the API bills is in its answer."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_grokvideo.api.media import invalid
from airflow_provider_grokvideo.api.request import DEFAULT_MODEL, VideoRequest

Prices = Mapping[str, Mapping[str, Decimal]]

PRICES_AS_OF = "2026-11-23"
PRICES: Prices = {
    "grok-imagine-video": {"480p": Decimal("0.05"), "720p": Decimal("0.07")},
    "grok-imagine-video-1.5": {
        "480p": Decimal("0.08"),
        "720p": Decimal("0.14"),
        "1080p": Decimal("0.25"),
        "image": Decimal("0.01"),
    },
    "grok-imagine-video-1.5-lite": {"480p": Decimal("0.02"), "720p": Decimal("0.03"), "1080p": Decimal("0.14")},
}
"""US dollars for each second of video by model and resolution, and for each input ``image``: xAI's list prices."""

_ALIASES = {
    "grok-imagine-video-1.5-preview": "grok-imagine-video-1.5",
    "grok-imagine-video-1.5-2026-05-30": "grok-imagine-video-1.5",
}
_DEFAULT_RESOLUTION = "480p"
_LONGEST_EDIT = Decimal("8.7")


def estimate(request: VideoRequest, prices: Prices = PRICES) -> Decimal | None:
    """US dollars that a request will probably cost, ``None`` where its model or resolution has no known price.

    An edit is as long as its source, which is not known here: its longest is assumed. So is, for edits and extensions,
    the highest price, since they keep their source's resolution.
    """
    model = request.model or DEFAULT_MODEL
    by_resolution = prices.get(model) or prices.get(_ALIASES.get(model, ""))
    if by_resolution is None:
        return None
    if request.kind == "generation":
        per_second = by_resolution.get(request.resolution or _DEFAULT_RESOLUTION)
    else:
        per_second = max(price for unit, price in by_resolution.items() if unit != "image")
    if per_second is None:
        return None
    seconds = _LONGEST_EDIT if request.duration is None else Decimal(request.duration)
    images = bool(request.image) + len(request.reference_images or ())
    return per_second * seconds + by_resolution.get("image", Decimal(0)) * images


def check_cost(cost: Decimal | None, ceiling: object, request: VideoRequest) -> None:
    """Refuse what will probably cost more than a ceiling, or what nobody can tell the cost of.

    :param cost: the estimate.
    :param ceiling: US dollars: a number, also in a string.
    :raises InvalidRequestError: names the ceiling and the estimate.
    """
    try:
        limit = Decimal("NaN") if isinstance(ceiling, bool) else Decimal(str(ceiling))
    except InvalidOperation:
        limit = Decimal("NaN")
    if not limit.is_finite() or limit < 0:
        raise invalid("max_cost_usd", ceiling, "a number of US dollars")
    if cost is None:
        raise invalid("max_cost_usd", ceiling, f"nothing: {request.model} has no known price, set [grokvideo] prices")
    if cost > limit:
        raise invalid("max_cost_usd", ceiling, f"at least {cost}, which this request will probably cost")


def read_prices(given: object) -> Prices:
    """The table with a user's own prices laid over it.

    :param given: ``{model: {"480p": 0.05, …, "image": 0.01}}``; of a model that is named, all prices are replaced.
    :raises InvalidRequestError: it is something else.
    """
    allowed = '{"<model>": {"480p": <US dollars per second>, …, "image": <US dollars each>}}'
    if not isinstance(given, Mapping) or not all(isinstance(by_unit, Mapping) for by_unit in given.values()):
        raise invalid("prices", given, allowed)
    return {**PRICES, **{str(model): _read_model(by_unit, allowed) for model, by_unit in given.items()}}


def _read_model(by_unit: Mapping[str, Any], allowed: str) -> dict[str, Decimal]:
    try:
        read = {str(unit): Decimal(str(price)) for unit, price in by_unit.items()}
    except InvalidOperation:
        raise invalid("prices", dict(by_unit), allowed) from None
    if not all(price.is_finite() and price >= 0 for price in read.values()) or not set(read) - {"image"}:
        raise invalid("prices", dict(by_unit), allowed)
    return read
