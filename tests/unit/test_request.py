"""Requests that are accepted, and what is sent for them."""

from __future__ import annotations

import warnings
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from airflow_provider_grokvideo.api.models import ASPECT_RATIOS, DEFAULT_MODEL, RESOLUTIONS, XAI_ASPECT_RATIOS
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.validation import validate_for_model, validate_seconds
from tests.support.request_fields import (
    IMAGE_URL,
    LATE_MODEL,
    PNG_URI,
    VIDEO_URL,
    ForeignNumber,
    Lazy,
    edit,
    extension,
    fields,
    keyframe,
)


@pytest.mark.parametrize(
    ("given_fields", "xai"),
    [
        pytest.param(fields(), False, id="plain"),
        pytest.param(fields(aspect_ratio="21:9"), True, id="xai-ratio-on-xai"),
        pytest.param({"image": IMAGE_URL}, True, id="image-without-prompt-on-xai"),
        pytest.param(fields(image={"file_id": "f1"}), True, id="file-on-xai"),
        pytest.param(fields(resolution="1080p", model=LATE_MODEL), False, id="1080p-on-1.5"),
        pytest.param(fields(reference_images=[IMAGE_URL], duration=10), False, id="references-and-10-s"),
        pytest.param(fields(reference_images=[IMAGE_URL], duration=15, model=LATE_MODEL), True, id="references-on-1.5"),
        pytest.param(
            fields(reference_images=[IMAGE_URL], image=IMAGE_URL, model=LATE_MODEL), True, id="references-beside-image"
        ),
        pytest.param({"last_frame": IMAGE_URL, "model": LATE_MODEL}, True, id="last-frame-without-prompt"),
        pytest.param({"keyframes": [keyframe()], "model": LATE_MODEL}, True, id="keyframes-without-prompt"),
        pytest.param(
            fields(
                last_frame=IMAGE_URL, keyframes=[keyframe()], reference_audios=[{"voice_id": "ara"}], model=LATE_MODEL
            ),
            False,
            id="new-fields-on-cometapi",
        ),
        pytest.param(fields(generate_audio=False, storage_options={"filename": "a"}), False, id="storage-on-cometapi"),
        pytest.param(edit(storage_options={"filename": "a.mp4"}), True, id="storage-of-an-edit"),
        pytest.param(extension(storage_options={"filename": "a.mp4"}), True, id="storage-of-an-extension"),
        pytest.param(fields(resolution="1080p", model="made-tomorrow"), False, id="model-nobody-knows-yet"),
        pytest.param(
            fields(
                model="grok-imagine-video-2",
                image=IMAGE_URL,
                last_frame=IMAGE_URL,
                keyframes=[keyframe()],
                reference_images=[IMAGE_URL],
                resolution="1080p",
                duration=15,
            ),
            True,
            id="everything-on-a-model-nobody-knows-yet",
        ),
        pytest.param(edit(model="grok-imagine-video-2"), False, id="edit-on-a-model-nobody-knows-yet"),
    ],
)
def test_what_an_api_or_model_offers_passes(given_fields: dict[str, Any], xai: bool) -> None:
    request = VideoRequest(**given_fields).with_model(None)
    validate_for_model(request, xai=xai)
    assert request.model


@pytest.mark.parametrize(
    ("given_fields", "path", "body"),
    [
        pytest.param(
            fields(),
            "/videos/generations",
            {"model": DEFAULT_MODEL, "prompt": "A red fox in the snow", "duration": 8},
            id="defaults",
        ),
        pytest.param(
            {
                "prompt": "p",
                "model": "m",
                "duration": "5",
                "aspect_ratio": "9:16",
                "resolution": "720p",
                "image": IMAGE_URL,
                "upload_url": "https://b.example.com/v.mp4?sig=1",
                "user": "u1",
                "last_frame": {"url": IMAGE_URL},
                "keyframes": [keyframe("2.5"), keyframe(Decimal(4), {"file_id": "f"})],
                "reference_images": [IMAGE_URL],
                "reference_audios": ({"voice_id": "ara"}, {"url": "https://example.com/a.mp3"}),
                "generate_audio": " False ",
                "storage_options": {"filename": "a.mp4", "expires_after": timedelta(days=1), "public_url": True},
                "extra": {"seed": 3},
            },
            "/videos/generations",
            {
                "prompt": "p",
                "model": "m",
                "duration": 5,
                "aspect_ratio": "9:16",
                "resolution": "720p",
                "image": {"url": IMAGE_URL},
                "output": {"upload_url": "https://b.example.com/v.mp4?sig=1"},
                "user": "u1",
                "seed": 3,
                "last_frame": {"url": IMAGE_URL},
                "keyframes": [
                    {"image": {"url": IMAGE_URL}, "timestamp_s": 2.5},
                    {"image": {"file_id": "f"}, "timestamp_s": 4.0},
                ],
                "reference_images": [{"url": IMAGE_URL}],
                "reference_audios": [{"voice_id": "ara"}, {"url": "https://example.com/a.mp3"}],
                "generate_audio": False,
                "storage_options": {"filename": "a.mp4", "expires_after": 86400, "public_url": True},
            },
            id="everything",
        ),
        pytest.param(
            fields(image=PNG_URI),
            "/videos/generations",
            {"model": DEFAULT_MODEL, "prompt": "A red fox in the snow", "duration": 8, "image": {"url": PNG_URI}},
            id="data-uri",
        ),
        pytest.param(
            fields(reference_images=({"url": IMAGE_URL}, {"file_id": "f1"}, PNG_URI)),
            "/videos/generations",
            {
                "model": DEFAULT_MODEL,
                "prompt": "A red fox in the snow",
                "duration": 8,
                "reference_images": [{"url": IMAGE_URL}, {"file_id": "f1"}, {"url": PNG_URI}],
            },
            id="references",
        ),
        pytest.param(
            {"image": IMAGE_URL},
            "/videos/generations",
            {"model": DEFAULT_MODEL, "duration": 8, "image": {"url": IMAGE_URL}},
            id="image-without-prompt",
        ),
        pytest.param(
            edit(user="u1"),
            "/videos/edits",
            {"model": DEFAULT_MODEL, "prompt": "Add snow", "video": {"url": VIDEO_URL}, "user": "u1"},
            id="edit-sends-no-duration",
        ),
        pytest.param(
            extension(),
            "/videos/extensions",
            {"model": DEFAULT_MODEL, "prompt": "The camera rises", "video": {"url": VIDEO_URL}, "duration": 6},
            id="extension-of-6-s",
        ),
    ],
)
def test_body_holds_every_field_and_nothing_else(given_fields: dict[str, Any], path: str, body: dict[str, Any]) -> None:
    request = VideoRequest(**given_fields)
    assert request.path == path
    assert request.body() == body


@pytest.mark.parametrize(
    "duration",
    [
        *(*range(1, 16), *map(str, range(1, 16)), " 8 ", "08", "8.0", 8.0, Decimal(8), Decimal("8.0"), Fraction(16, 2)),
        ForeignNumber(8),
    ],
    ids=lambda given: type(given).__name__,
)
def test_whole_seconds_from_1_to_15_pass_as_a_number(duration: Any) -> None:
    sent = VideoRequest(prompt="p", duration=duration).body()["duration"]
    assert sent == float(duration)
    assert type(sent) is int


@pytest.mark.parametrize("ratio", XAI_ASPECT_RATIOS)
def test_every_documented_ratio_passes(ratio: str) -> None:
    assert VideoRequest(prompt="p", aspect_ratio=ratio).body()["aspect_ratio"] == ratio


def test_ratios_and_resolutions_are_those_of_the_api_page() -> None:
    assert ASPECT_RATIOS == ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
    assert RESOLUTIONS == ("480p", "720p", "1080p")


def test_size_passes_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="aspect_ratio and resolution"):
        request = VideoRequest(prompt="p", extra={"size": "848x480"})
    assert request.body()["size"] == "848x480"


def test_nothing_else_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert VideoRequest(**fields(extra={"seed": 3})).body()["seed"] == 3


def test_from_fields_makes_the_same_request() -> None:
    assert VideoRequest.from_fields(fields(duration="5")) == VideoRequest(**fields(duration=5))


@pytest.mark.parametrize(
    ("own", "connection", "settled"),
    [
        pytest.param("own", "connection", "own", id="own-wins"),
        pytest.param(None, "connection", "connection", id="connection-next"),
        pytest.param(None, None, DEFAULT_MODEL, id="default-last"),
    ],
)
def test_model_is_settled(own: str | None, connection: str | None, settled: str) -> None:
    assert VideoRequest(prompt="p", model=own).with_model(connection).model == settled


@pytest.mark.parametrize(
    "references",
    [[IMAGE_URL, PNG_URI], (IMAGE_URL, PNG_URI), Lazy([IMAGE_URL, PNG_URI]), iter([IMAGE_URL, PNG_URI])],
    ids=["list", "tuple", "lazy", "iterator"],
)
def test_references_are_any_list_like_value_and_keep_their_order(references: Any) -> None:
    request = VideoRequest(prompt="p", reference_images=references)
    assert request.body()["reference_images"] == [{"url": IMAGE_URL}, {"url": PNG_URI}]
    assert request == VideoRequest(prompt="p", reference_images=[IMAGE_URL, PNG_URI])


@pytest.mark.parametrize("empty", [[], (), Lazy([]), iter([])], ids=["list", "tuple", "lazy", "iterator"])
@pytest.mark.parametrize("name", ["reference_images", "reference_audios", "keyframes"])
def test_empty_list_is_as_good_as_none(name: str, empty: Any) -> None:
    assert VideoRequest(prompt="p", **{name: empty}) == VideoRequest(prompt="p")


@pytest.mark.parametrize(
    ("given_seconds", "seconds"),
    [(5, 5.0), (0.05, 0.05), (Decimal("1.5"), 1.5), (timedelta(minutes=15), 900.0), (timedelta(milliseconds=1), 0.001)],
)
def test_seconds_are_a_number_or_a_timedelta(given_seconds: Any, seconds: float) -> None:
    checked = validate_seconds("timeout", given_seconds)
    assert checked == seconds
    assert type(checked) is float
