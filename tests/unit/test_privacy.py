"""What Airflow may show of a task's fields."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from airflow_provider_grokvideo.privacy import Unshown, unshown, unwrapped

SIGNATURE = "deadbeef0123456789"
SIGNED = f"https://store.example.com/lake.png?X-Signature={SIGNATURE}"
IMAGE = "data:image/png;base64," + "iVBORw0KGgo" * 1000


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "s3://bucket/lake.png",
        "/data/lake?.png",
        "https://example.com/lake.png",
        {"file_id": "file-1"},
        ["https://example.com/a.png", "s3://bucket/b.png"],
        7,
    ],
)
def test_what_is_not_private_stays_as_it_is(value: Any) -> None:
    assert unshown(value) is value
    assert unwrapped(unshown(value)) is value


@pytest.mark.parametrize(
    "value",
    [SIGNED, SIGNED.replace("https", "http"), IMAGE, [SIGNED], ["s3://bucket/a.png", IMAGE], (IMAGE,), {"url": SIGNED}],
    ids=lambda value: str(value)[:30],
)
def test_what_is_private_works_and_is_not_shown(value: Any) -> None:
    wrapped = unshown(value)

    assert isinstance(wrapped, Unshown)
    assert unwrapped(wrapped) == value
    for text in (str(wrapped), repr(wrapped), f"{wrapped}", str([wrapped]), json.dumps(wrapped, default=str)):
        assert SIGNATURE not in text
        assert "iVBORw0KGgo" * 2 not in text
        assert len(text) < 300


def test_a_signed_url_is_shown_up_to_its_query() -> None:
    assert "https://store.example.com/lake.png" in str(unshown(SIGNED))


def test_an_image_is_shown_as_its_type_and_size() -> None:
    assert str(unshown(IMAGE)).startswith("data:image/png;base64,")
    assert "11000 characters" in str(unshown(IMAGE))


def test_a_wrapped_field_survives_a_copy() -> None:
    wrapped = unshown(SIGNED)

    assert unwrapped(copy.deepcopy(wrapped)) == SIGNED
    assert unwrapped(pickle.loads(pickle.dumps(wrapped))) == SIGNED


@pytest.mark.parametrize(
    "value", [IMAGE.replace("data:", "DATA:"), SIGNED.replace("https", "HTTPS")], ids=["data", "url"]
)
def test_case_makes_no_difference(value: str) -> None:
    assert isinstance(unshown(value), Unshown)
