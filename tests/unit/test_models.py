"""The table of models: cost estimates, cost ceilings and suggested names."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_grokvideo.api.models import (
    AS_OF,
    DEFAULT_MODEL,
    MODELS,
    PRICES,
    RESOLUTIONS,
    SOURCE,
    check_cost,
    describe_cost,
    estimate,
    explain_rejected_model,
    find_model,
    format_usd,
    nearest,
    not_offered_hint,
    read_prices,
    unknown_name_hint,
)
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    RequestRejectedError,
)
from airflow_provider_grokvideo.sandbox import models as sandbox_models

IMAGE = "https://example.com/lake.png"
VIDEO = "https://example.com/lake.mp4"
CLASSIC = "grok-imagine-video"
LATE = "grok-imagine-video-1.5"
LITE = "grok-imagine-video-1.5-lite"


def request_of(**fields: Any) -> VideoRequest:
    return VideoRequest(**{"prompt": "A lake", **fields})


def frames(count: int) -> list[dict[str, Any]]:
    return [{"image": IMAGE, "timestamp_s": 1 + index / 10} for index in range(count)]


# --- the estimate -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "cost"),
    [
        ({}, "0.40"),
        ({"duration": 1}, "0.05"),
        ({"duration": 15, "resolution": "480p"}, "0.75"),
        ({"duration": 10, "resolution": "720p"}, "0.70"),
        ({"model": CLASSIC}, "0.40"),
        ({"image": IMAGE}, "0.402"),
        ({"reference_images": [IMAGE] * 7, "duration": 10}, "0.514"),
        ({"model": LATE, "duration": 4}, "0.32"),
        ({"model": LATE, "duration": 4, "resolution": "720p"}, "0.56"),
        ({"model": LATE, "duration": 4, "resolution": "1080p"}, "1.00"),
        ({"model": LATE, "duration": 4, "image": IMAGE}, "0.33"),
        ({"model": LATE, "duration": 4, "reference_images": [IMAGE] * 3}, "0.35"),
        ({"model": LATE, "duration": 4, "last_frame": IMAGE}, "0.33"),
        ({"model": LATE, "duration": 4, "keyframes": frames(4)}, "0.36"),
        (
            {
                "model": LATE,
                "duration": 4,
                "image": IMAGE,
                "last_frame": IMAGE,
                "keyframes": frames(2),
                "reference_images": (IMAGE, IMAGE),
            },
            "0.38",
        ),
        ({"model": LATE, "duration": 4, "generate_audio": False}, "0.32"),
        ({"model": LATE, "duration": 4, "storage_options": {"filename": "a.mp4"}}, "0.32"),
        ({"model": f"{LATE}-preview", "duration": 4}, "0.32"),
        ({"model": f"{LATE}-2026-05-30", "duration": 4}, "0.32"),
        ({"model": f"{LITE}-2026-09-01", "duration": 4}, "0.08"),
        ({"model": LITE, "duration": 10, "resolution": "1080p"}, "1.40"),
        ({"model": LITE, "duration": 10, "image": IMAGE}, "0.21"),
        # The source's length and resolution are not known: the longest and the dearest, in and out.
        ({"kind": "edit", "video": VIDEO}, "0.696"),
        ({"kind": "extension", "video": VIDEO}, "0.57"),
        ({"kind": "extension", "video": VIDEO, "duration": 10}, "0.85"),
        ({"kind": "extension", "video": VIDEO, "duration": 2}, "0.29"),
        ({"extra": {"seed": 5}}, "0.40"),
        ({"extra": {"size": "1920x1080"}}, None),
        ({"extra": {"n": 2}}, None),
        ({"extra": {"quality": "high"}}, None),
        ({"extra": {"seed": 5, "made_tomorrow": True}}, None),
        ({"kind": "edit", "video": VIDEO, "extra": {"fps": 60}}, None),
        ({"model": "a-model-of-tomorrow"}, None),
        ({"model": "grok-imagine-video-2"}, None),
        ({"resolution": "1080p"}, None),
    ],
    ids=lambda value: str(value)[:70],
)
@pytest.mark.filterwarnings("ignore:The API deprecates size")
def test_estimate(fields: dict[str, Any], cost: str | None) -> None:
    assert estimate(request_of(**fields)) == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_estimate_is_what_the_sandbox_charges_for_a_generation(model: str, resolution: str, count: int) -> None:
    sold = sandbox_models.find_model(model)
    assert sold is not None
    cost = estimate(request_of(model=model, resolution=resolution, duration=5, reference_images=[IMAGE] * count))
    if resolution not in sold.per_second:
        assert cost is None
    else:
        assert cost == Decimal(sandbox_models.cost_in_ticks(sold, resolution, 5, count)) / sandbox_models.TICKS_PER_USD


@pytest.mark.parametrize("resolution", ["480p", "720p"])
@pytest.mark.parametrize("source", [2.0, 8.7, 15.0])
def test_estimate_of_an_extension_is_never_below_the_charge(resolution: str, source: float) -> None:
    sold = sandbox_models.MODELS[CLASSIC]
    cost = estimate(request_of(kind="extension", video=VIDEO, duration=7))
    assert cost is not None
    assert cost >= Decimal(sandbox_models.cost_in_ticks(sold, resolution, 7, 0, source)) / sandbox_models.TICKS_PER_USD


def test_price_table_has_date_source_and_no_float() -> None:
    assert date.fromisoformat(AS_OF)
    assert "docs.x.ai" in SOURCE
    assert all(isinstance(price, Decimal) for units in PRICES.values() for price in units.values())
    assert DEFAULT_MODEL in MODELS


# --- the ceiling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ceiling", [0.40, "0.40", "0.4", " 0.4 ", Decimal("0.40"), 1, "1e2"])
def test_cost_up_to_the_ceiling_passes(ceiling: Any) -> None:
    check_cost(Decimal("0.40"), ceiling, request_of())


def test_log_says_the_cost_is_an_upper_bound() -> None:
    request = request_of(duration=2)
    assert describe_cost(estimate(request), request).startswith("This request costs up to 0.10 USD, by the list prices")
    unknown = request_of(model="a-model")
    assert describe_cost(estimate(unknown), unknown).startswith("No list price is known for model 'a-model' in 480p")


@pytest.mark.parametrize(
    ("amount", "text"), [("0.4", "0.40"), ("4", "4.00"), ("1E+1", "10.00"), ("0.696", "0.696"), ("0.500", "0.50")]
)
def test_amounts_have_two_decimals_or_more(amount: str, text: str) -> None:
    assert format_usd(Decimal(amount)) == text


# --- one's own prices -------------------------------------------------------------------------------


def test_own_prices_replace_only_their_model() -> None:
    prices = read_prices({CLASSIC: {"480p": 0.04}, "my-model": {"480p": "0.01", "image": 1}})

    assert estimate(request_of(duration=5), prices) == Decimal("0.20")
    assert estimate(request_of(duration=5, resolution="720p"), prices) is None
    assert estimate(request_of(duration=5, model="my-model", image=IMAGE), prices) == Decimal("1.05")
    assert estimate(request_of(duration=4, model=LATE), prices) == Decimal("0.32")


def test_own_price_applies_to_the_dated_alias() -> None:
    prices = read_prices({LATE: {"480p": 0.01}, f"{LATE}-preview": {"480p": 1}})

    assert estimate(request_of(duration=5, model=f"{LATE}-2026-05-30"), prices) == Decimal("0.05")
    assert estimate(request_of(duration=5, model=f"{LATE}-preview"), prices) == Decimal("5")


def test_missing_own_price_is_the_list_price() -> None:
    prices = read_prices({CLASSIC: {"480p": 0.04, "720p": 0.056}})
    assert estimate(request_of(duration=5, image=IMAGE), prices) == Decimal("0.202")
    assert estimate(request_of(kind="edit", video=VIDEO), prices) == Decimal("8.7") * Decimal("0.066")

    free = read_prices({CLASSIC: {"480p": 0.04, "image": 0, "input_video": "0"}})
    assert estimate(request_of(duration=5, image=IMAGE), free) == Decimal("0.20")
    assert estimate(request_of(kind="extension", video=VIDEO, duration=5), free) == Decimal("0.20")


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "model"),
    [
        (CLASSIC, CLASSIC),
        (LITE, LITE),
        (f"{CLASSIC}-2026-01-28", CLASSIC),
        (f"{CLASSIC}-latest", CLASSIC),
        (f"{LATE}-preview", LATE),
        (f"{LATE}-2026-05-30", LATE),
        (f"{LATE}-preview-2026-05-30", LATE),
        (f"{LATE}-260530", LATE),
        (f"{LITE}-20260901", LITE),
        ("grok-imagine-video-2", None),
        ("grok-imagine-video-1.6", None),
        (f"{LATE}-pro", None),
        (f"{LATE}-2026", None),
        ("sora-2", None),
        ("", None),
    ],
)
def test_dated_alias_is_its_model(name: str, model: str | None) -> None:
    found = find_model(name)
    assert (found.name if found else None) == model


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("grok-imagin-video", [CLASSIC]),
        ("Grok-Imagine-Video", [CLASSIC]),
        ("grok-imagine-video-15", [LATE]),
        ("grok-imagine-video-1.5-light", [LITE]),
        ("xai/grok-imagine-video", [CLASSIC]),
        ("sora-2", []),
    ],
)
def test_nearest_known_name(name: str, near: list[str]) -> None:
    assert nearest(name) == near
    hint = unknown_name_hint(name)
    assert (repr(near[0]) in hint if hint else False) is bool(near)


@pytest.mark.parametrize("name", [*MODELS, f"{LATE}-preview", "sora-2"])
def test_known_and_distant_names_get_no_hint(name: str) -> None:
    assert unknown_name_hint(name) is None


@pytest.mark.parametrize(
    ("name", "offered", "words"),
    [
        (CLASSIC, [CLASSIC, LATE], None),
        (f"{LATE}-preview", [LATE], None),
        (CLASSIC, [], None),
        (CLASSIC, [LATE], "'grok-imagine-video', is not offered to this key; the nearest names are grok-imagine-video"),
        ("sora-2", [LATE], "'sora-2', is not offered to this key."),
    ],
)
def test_unknown_model_error_names_the_nearest(name: str, offered: list[str], words: str | None) -> None:
    hint = not_offered_hint(name, offered)
    assert hint is None if words is None else hint is not None and hint.startswith(words)


@pytest.mark.parametrize(
    "error",
    [
        RequestRejectedError("duration must be between 1 and 15", status=400),
        RequestRejectedError("Model grok-imagine-video does not support 1080p", status=400),
        AuthenticationError("model_not_found", status=403),
    ],
    ids=str,
)
def test_other_rejections_are_unchanged(error: ApiError) -> None:
    assert explain_rejected_model(error, "grok-imagin-video") is error
