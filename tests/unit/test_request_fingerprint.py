"""Fingerprints: the same for the same video, however the request is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.models import DEFAULT_MODEL
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.summary import fingerprint_request
from tests.support.request_fields import (
    IMAGE_URL,
    edit,
    extension,
    fields,
    keyframe,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(fields(), fields(duration=8), id="default-duration-named"),
        pytest.param(fields(duration=5), fields(duration="5"), id="number-or-text"),
        pytest.param(fields(), fields(model=DEFAULT_MODEL), id="default-model-named"),
        pytest.param(fields(image=IMAGE_URL), fields(image={"url": IMAGE_URL}), id="url-or-mapping"),
        pytest.param(fields(extra={"a": 1, "b": 2}), fields(extra={"b": 2, "a": 1}), id="order-of-extra"),
        pytest.param(fields(), fields(extra={}), id="empty-extra"),
        pytest.param(
            fields(upload_url="https://b/v.mp4?sv=1&se=2&sig=1"),
            fields(upload_url="https://b/v.mp4?sv=1&se=3&sig=2"),
            id="renewed-signature",
        ),
    ],
)
def test_fingerprint_is_the_same_for_the_same_video(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert fingerprint_request(VideoRequest(**one)) == fingerprint_request(VideoRequest(**other))


@pytest.mark.parametrize(
    "other",
    [
        fields(prompt="another"),
        fields(duration=9),
        fields(model="m"),
        fields(aspect_ratio="1:1"),
        fields(resolution="720p"),
        fields(image=IMAGE_URL),
        fields(reference_images=[IMAGE_URL]),
        fields(last_frame=IMAGE_URL),
        fields(keyframes=[keyframe()]),
        fields(reference_audios=[{"voice_id": "ara"}]),
        fields(generate_audio=False),
        fields(storage_options={"filename": "a.mp4"}),
        fields(user="u"),
        fields(upload_url="https://b/v.mp4"),
        fields(extra={"seed": 1}),
        edit(prompt="A red fox in the snow"),
        extension(prompt="A red fox in the snow"),
    ],
    ids=lambda other: "-".join(str(name) for name in other if name != "prompt") or "prompt",
)
def test_fingerprint_differs_where_the_video_would(other: dict[str, Any]) -> None:
    assert fingerprint_request(VideoRequest(**fields())) != fingerprint_request(VideoRequest(**other))


@given(st.text(min_size=1).filter(str.strip))
def test_any_prompt_has_a_fingerprint_and_survives_the_wire(prompt: str) -> None:
    request = VideoRequest(prompt=prompt)
    assert json.loads(json.dumps(request.body()).encode())["prompt"] == prompt
    assert fingerprint_request(request) == fingerprint_request(VideoRequest(prompt=prompt))
