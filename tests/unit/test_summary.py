"""The stored summary of a request: which changes make another request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.summary import (
    RequestSummary,
    fingerprint_address,
    fingerprint_request,
    strip_signature,
)

SIGNED = [
    (
        "aws-v4",
        "https://b.s3.amazonaws.com/k.png?versionId=7&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2Fs3"
        "&X-Amz-Date=20261124T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t&X-Amz-Signature=s",
        "https://b.s3.amazonaws.com/k.png?versionId=7",
    ),
    ("aws-v4-lower", "https://b/k?x-amz-signature=s&x-amz-date=1", "https://b/k"),
    ("aws-v2", "https://b/k?AWSAccessKeyId=A&Signature=s%3D&Expires=1", "https://b/k"),
    ("gcs-v4", "https://storage.googleapis.com/b/k?X-Goog-Signature=s&X-Goog-Date=1", "https://storage.googleapis.com/b/k"),
    ("gcs-v2", "https://storage.googleapis.com/b/k?GoogleAccessId=a&Expires=1&Signature=s&generation=2",
     "https://storage.googleapis.com/b/k?generation=2"),
    ("azure", "https://a.blob.core.windows.net/c/k?sv=2024-08-04&st=1&se=2&sr=b&sp=r&sig=s&snapshot=3",
     "https://a.blob.core.windows.net/c/k?snapshot=3"),
    ("azure-user-delegation", "https://a/c/k?skoid=1&sktid=2&skt=3&ske=4&sks=b&skv=5&sv=6&sr=b&sig=s", "https://a/c/k"),
    ("cloudfront-canned", "https://d.cloudfront.net/k?size=2&Expires=1&Signature=s&Key-Pair-Id=K", "https://d.cloudfront.net/k?size=2"),
    ("cloudfront-policy", "https://d.cloudfront.net/k?Policy=p&Signature=s&Key-Pair-Id=K", "https://d.cloudfront.net/k"),
    ("fragment", "https://b/k?X-Amz-Signature=s#page", "https://b/k#page"),
]  # fmt: skip
UNSIGNED = [
    "https://host/k.png",
    "https://host/k.png?v=2",
    "https://host/k?signature=mine",
    "https://host/k?Expires=2027",
    "https://host/k?policy=a&expires=1",
    "https://host/k?sp=1&st=2&se=3",
    "https://host/k?sig=1",
    "https://host/k?",
    "https://host/k#X-Amz-Signature=1",
]


@pytest.mark.parametrize(("url", "stripped"), [case[1:] for case in SIGNED], ids=[case[0] for case in SIGNED])
def test_signature_is_stripped(url: str, stripped: str) -> None:
    assert strip_signature(url) == stripped


@pytest.mark.parametrize("url", UNSIGNED)
def test_other_parameters_stay(url: str) -> None:
    assert strip_signature(url) == url


PLACES: list[tuple[str, dict[str, Any]]] = [
    ("image", {"image": "URL"}),
    ("image-object", {"image": {"url": "URL"}}),
    ("reference", {"reference_images": ["https://host/a.png", "URL"]}),
    ("video", {"video": "URL", "kind": "edit"}),
    ("upload", {"upload_url": "URL"}),
    ("extra", {"extra": {"mask": {"deep": ["URL"]}}}),
]


def _request(fields: dict[str, Any], url: str) -> VideoRequest:
    return VideoRequest(**{"prompt": "a fox", **json.loads(json.dumps(fields).replace("URL", url))})


@pytest.mark.parametrize("fields", [case[1] for case in PLACES], ids=[case[0] for case in PLACES])
def test_new_signature_is_the_same_request(fields: dict[str, Any]) -> None:
    first, second, other = (
        fingerprint_request(_request(fields, url))
        for url in (
            "https://b/k.png?v=1&X-Amz-Date=1&X-Amz-Signature=a",
            "https://b/k.png?v=1&X-Amz-Date=2&X-Amz-Signature=b",
            "https://b/k.png?v=2&X-Amz-Date=1&X-Amz-Signature=a",
        )
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    "changes", [{"prompt": "a hare"}, {"duration": 9}, {"model": "grok-imagine-video-1.5"}, {"extra": {"seed": 1}}]
)
def test_changed_field_is_another_request(changes: dict[str, Any]) -> None:
    assert fingerprint_request(VideoRequest(**{"prompt": "a fox", **changes})) != fingerprint_request(
        VideoRequest(prompt="a fox")
    )


def test_url_in_the_prompt_is_text() -> None:
    first, second = (
        fingerprint_request(VideoRequest(prompt=f"https://b/k?X-Amz-Signature={signature}")) for signature in "ab"
    )
    assert first != second


def test_address_is_recognized_by_its_url() -> None:
    assert fingerprint_address("https://api.x.ai/v1/") == fingerprint_address("https://API.x.ai/v1")
    assert fingerprint_address("https://api.x.ai/v1") != fingerprint_address("https://api.cometapi.com/grok/v1")


def test_summary_holds_no_signature_and_no_image() -> None:
    request = VideoRequest(
        prompt="a fox",
        reference_images=["https://b/k.png?X-Amz-Signature=s", "DATA:image/png;base64,iVBORw0KGgo=", "s3://b/two.png"],
        upload_url="https://b/out?X-Amz-Signature=s",
    )
    summary = RequestSummary.of(request, "grok-imagine-video")
    assert summary == RequestSummary(
        "grok-imagine-video", duration=8, uploads=True, inputs=("https://b/k.png", "s3://b/two.png")
    )
    assert RequestSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


@pytest.mark.parametrize("stored", [None, {}, [], "x", {"model": 3}])
def test_invalid_summary_is_not_read(stored: object) -> None:
    assert RequestSummary.from_json(stored) is None
