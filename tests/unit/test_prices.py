"""What a request will probably cost, and whether that may be spent."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from airflow_provider_grokvideo.api.prices import PRICES, PRICES_AS_OF, check_cost, estimate, read_prices

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import InvalidRequestError

IMAGE = "https://example.com/lake.png"
VIDEO = "https://example.com/lake.mp4"


def request_of(**fields: Any) -> VideoRequest:
    return VideoRequest(**{"prompt": "A lake", **fields})


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({}, "0.40"),
        ({"duration": 1}, "0.05"),
        ({"duration": 15, "resolution": "480p"}, "0.75"),
        ({"duration": 10, "resolution": "720p"}, "0.70"),
        ({"model": "grok-imagine-video"}, "0.40"),
        ({"image": IMAGE}, "0.40"),
        ({"model": "grok-imagine-video-1.5", "duration": 4}, "0.32"),
        ({"model": "grok-imagine-video-1.5", "duration": 4, "resolution": "720p"}, "0.56"),
        ({"model": "grok-imagine-video-1.5", "duration": 4, "resolution": "1080p"}, "1.00"),
        ({"model": "grok-imagine-video-1.5", "duration": 4, "image": IMAGE}, "0.33"),
        ({"model": "grok-imagine-video-1.5", "duration": 4, "reference_images": [IMAGE] * 3}, "0.35"),
        ({"model": "grok-imagine-video-1.5-preview", "duration": 4}, "0.32"),
        ({"model": "grok-imagine-video-1.5-2026-05-30", "duration": 4}, "0.32"),
        ({"model": "grok-imagine-video-1.5-lite", "duration": 10, "resolution": "1080p"}, "1.40"),
        # The source's resolution is not known, nor an edit's duration: the most that it can be.
        ({"kind": "edit", "video": VIDEO}, "0.609"),
        ({"kind": "extension", "video": VIDEO}, "0.42"),
        ({"kind": "extension", "video": VIDEO, "duration": 10}, "0.70"),
        ({"model": "a-model-of-tomorrow"}, None),
        ({"resolution": "1080p"}, None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_the_estimate(fields: dict[str, Any], cost: str | None) -> None:
    assert estimate(request_of(**fields)) == (None if cost is None else Decimal(cost))


def test_no_price_is_a_float_and_the_table_is_dated() -> None:
    assert all(isinstance(price, Decimal) for units in PRICES.values() for price in units.values())
    assert date.fromisoformat(PRICES_AS_OF)


@pytest.mark.parametrize("ceiling", [0.40, "0.40", "0.4", Decimal("0.40"), 1, "1e2"])
def test_what_costs_as_much_as_the_ceiling_or_less_is_allowed(ceiling: Any) -> None:
    check_cost(Decimal("0.40"), ceiling, request_of())


@pytest.mark.parametrize(
    ("cost", "ceiling", "named"),
    [
        ("0.40", 0.39, "max_cost_usd=0.39 is not allowed; allowed: at least 0.40"),
        ("0.40", "0", "at least 0.40"),
        ("0.40", 0, "at least 0.40"),
        (None, 5, "a-model has no known price"),
        ("0.40", "", "a number of US dollars"),
        ("0.40", "a little", "a number of US dollars"),
        ("0.40", -1, "a number of US dollars"),
        ("0.40", "NaN", "a number of US dollars"),
        ("0.40", float("inf"), "a number of US dollars"),
        ("0.40", True, "a number of US dollars"),
        ("0.40", "sNaN", "a number of US dollars"),
    ],
)
def test_what_would_cost_more_or_nobody_knows_is_refused(cost: str | None, ceiling: Any, named: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(named)):
        check_cost(None if cost is None else Decimal(cost), ceiling, request_of(model="a-model"))


def test_own_prices_replace_a_models_and_leave_the_others() -> None:
    prices = read_prices({"grok-imagine-video": {"480p": 0.04}, "my-model": {"480p": "0.01", "image": 1}})

    assert estimate(request_of(duration=5), prices) == Decimal("0.20")
    assert estimate(request_of(duration=5, resolution="720p"), prices) is None
    assert estimate(request_of(duration=5, model="my-model", image=IMAGE), prices) == Decimal("1.05")
    assert estimate(request_of(duration=4, model="grok-imagine-video-1.5"), prices) == Decimal("0.32")


@pytest.mark.parametrize(
    "given",
    [
        [],
        "0.05",
        {"model": 0.05},
        {"model": {}},
        {"model": {"image": 0.01}},
        {"model": {"480p": "cheap"}},
        {"model": {"480p": -1}},
        {"model": {"480p": float("nan")}},
        {"model": {"480p": None}},
    ],
    ids=str,
)
def test_prices_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(InvalidRequestError, match="prices="):
        read_prices(given)
