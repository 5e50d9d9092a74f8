"""Every field and limit of a request: what is refused, in which words, and what is sent."""

from __future__ import annotations

import base64
import dataclasses
import json
import warnings
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from numbers import Real
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.media import MAX_IMAGE_BYTES
from airflow_provider_grokvideo.api.models import ASPECT_RATIOS, DEFAULT_MODEL, RESOLUTIONS, XAI_ASPECT_RATIOS
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.summary import fingerprint_request
from airflow_provider_grokvideo.api.validation import validate_for_model, validate_seconds
from airflow_provider_grokvideo.exceptions import GrokVideoError, InvalidRequestError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PNG_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
IMAGE_URL = "https://example.com/a.png"
VIDEO_URL = "https://example.com/in.mp4"
LATE_MODEL = "grok-imagine-video-1.5"
LITE_MODEL = "grok-imagine-video-1.5-lite"

# Every field, and every other name of one, by the field to use instead.
RESERVED = {
    **{field.name: field.name for field in dataclasses.fields(VideoRequest)},
    "seconds": "duration",
    "output": "upload_url",
    **dict.fromkeys(("input_reference", "image_url", "image_file_id"), "image"),
    **dict.fromkeys(("last_frame_url", "lastFrame", "last-frame"), "last_frame"),
    **dict.fromkeys(("reference_image_urls", "referenceImages"), "reference_images"),
    **dict.fromkeys(("video_url", "video_file_id"), "video"),
    "aspectRatio": "aspect_ratio",
    "Prompt": "prompt",
    "generateAudio": "generate_audio",
}


def of_format(content: bytes, mime_type: str = "image/png") -> str:
    """Return the data URI of some content."""
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


OTHER_FORMATS = {
    "GIF": b"GIF89a....",
    "BMP": b"BM......",
    "AVIF": b"\0\0\0\x1cftypavif",
    "HEIC": b"\0\0\0\x1cftypheic",
    "TIFF": b"II*\0....",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


def fields(**given: Any) -> dict[str, Any]:
    """Return the smallest valid generation, changed."""
    return {"prompt": "A red fox in the snow", **given}


def edit(**given: Any) -> dict[str, Any]:
    """Return the smallest valid edit, changed."""
    return {"kind": "edit", "prompt": "Add snow", "video": VIDEO_URL, **given}


def extension(**given: Any) -> dict[str, Any]:
    """Return the smallest valid extension, changed."""
    return {"kind": "extension", "prompt": "The camera rises", "video": VIDEO_URL, **given}


def keyframe(timestamp_s: Any = 2, image: Any = IMAGE_URL) -> dict[str, Any]:
    """Return a keyframe."""
    return {"image": image, "timestamp_s": timestamp_s}


class Lazy(Sequence[Any]):
    """A sequence that is no list, like what Airflow passes for a mapped task's XComs."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]


@Real.register
class ForeignNumber:
    """A number that is neither ``int`` nor ``float`` but says that it is one, like those of numpy."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __float__(self) -> float:
        return float(self._value)


class StoragePath:
    """A path that is no ``os.PathLike``, like ``ObjectStoragePath`` of Airflow 3."""

    protocol, path = "s3", "bucket/cat.png"

    def __str__(self) -> str:
        return "s3://aws_default@bucket/cat.png"


# (id, fields, what the message names: the field, the value, what is allowed)
REFUSED: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("prompt-missing", {}, ("prompt=None", "text that is not empty")),
    ("prompt-empty", fields(prompt=""), ("prompt=''", "text that is not empty")),
    ("prompt-blank", fields(prompt=" \n"), ("prompt=' \\n'", "text that is not empty")),
    ("prompt-number", fields(prompt=7), ("prompt=7", "text that is not empty")),
    ("prompt-list", fields(prompt=["a"]), ("prompt=['a']", "text that is not empty")),
    ("prompt-empty-beside-image", fields(prompt="", image=IMAGE_URL), ("prompt=''", "text that is not empty")),
    ("prompt-missing-on-edit", edit(prompt=None), ("prompt=None", "text that is not empty")),
    ("kind-unknown", fields(kind="remix"), ("kind='remix'", "generation, edit, extension")),
    ("kind-unhashable", fields(kind=[]), ("kind=[]", "generation, edit, extension")),
    ("model-empty", fields(model=""), ("model=''", "text")),
    ("model-number", fields(model=1.5), ("model=1.5", "text")),
    ("user-blank", fields(user=" "), ("user=' '", "text")),
    ("user-number", fields(user=42), ("user=42", "text")),
    ("user-on-extension", extension(user="u1"), ("user='u1'", "nothing on an extension")),
    ("duration-0", fields(duration=0), ("duration=0", "whole seconds from 1 to 15")),
    ("duration-16", fields(duration=16), ("duration=16", "whole seconds from 1 to 15")),
    ("duration-negative", fields(duration=-1), ("duration=-1", "whole seconds from 1 to 15")),
    ("duration-word", fields(duration="eight"), ("duration='eight'", "whole seconds from 1 to 15")),
    ("duration-true", fields(duration=True), ("duration=True", "whole seconds from 1 to 15")),
    ("duration-fraction", fields(duration=8.5), ("duration=8.5", "whole seconds from 1 to 15")),
    ("duration-fraction-text", fields(duration="8.5"), ("duration='8.5'", "whole seconds from 1 to 15")),
    ("duration-text-16", fields(duration="16"), ("duration='16'", "whole seconds from 1 to 15")),
    ("duration-empty", fields(duration=""), ("duration=''", "whole seconds from 1 to 15")),
    ("duration-endless-digits", fields(duration="9" * 5000), ("duration=9", "whole seconds from 1 to 15")),
    ("duration-list", fields(duration=[8]), ("duration=[8]", "whole seconds from 1 to 15")),
    ("duration-fraction-of-decimal", fields(duration=Decimal("8.5")), ("duration=", "whole seconds from 1 to 15")),
    ("duration-foreign-fraction", fields(duration=ForeignNumber(8.5)), ("duration=", "whole seconds from 1 to 15")),
    ("duration-nan", fields(duration=float("nan")), ("duration=nan", "whole seconds from 1 to 15")),
    ("duration-infinite", fields(duration=float("inf")), ("duration=inf", "whole seconds from 1 to 15")),
    ("duration-complex", fields(duration=8 + 0j), ("duration=", "whole seconds from 1 to 15")),
    ("duration-bytes", fields(duration=b"8"), ("duration=", "whole seconds from 1 to 15")),
    ("duration-exponent", fields(duration="1e1"), ("duration='1e1'", "whole seconds from 1 to 15")),
    ("duration-11-on-extension", extension(duration=11), ("duration=11", "whole seconds from 2 to 10")),
    ("duration-1-on-extension", extension(duration=1), ("duration=1", "whole seconds from 2 to 10")),
    ("duration-0-on-extension", extension(duration=0), ("duration=0", "whole seconds from 2 to 10")),
    ("duration-on-edit", edit(duration=8), ("duration=8", "an edit keeps that of its video")),
    ("ratio-unknown", fields(aspect_ratio="17:9"), ("aspect_ratio='17:9'", "16:9, 9:16")),
    ("ratio-of-the-api-page-typo", fields(aspect_ratio="3:4 "), ("aspect_ratio='3:4 '", "3:4")),
    ("ratio-number", fields(aspect_ratio=1.78), ("aspect_ratio=1.78", "16:9, 9:16")),
    ("ratio-unhashable", fields(aspect_ratio={}), ("aspect_ratio={}", "16:9, 9:16")),
    ("ratio-on-edit", edit(aspect_ratio="16:9"), ("aspect_ratio='16:9'", "an edit keeps that of its video")),
    ("ratio-on-extension", extension(aspect_ratio="1:1"), ("aspect_ratio='1:1'", "keeps that of its video")),
    ("resolution-unknown", fields(resolution="4k"), ("resolution='4k'", "480p, 720p, 1080p")),
    ("resolution-number", fields(resolution=720), ("resolution=720", "480p, 720p, 1080p")),
    ("resolution-on-edit", edit(resolution="480p"), ("resolution='480p'", "an edit keeps that of its video")),
    ("image-empty", fields(image=""), ("image=''", "URL", "data URI", "path")),
    ("image-bytes", fields(image=b"\x89PNG"), ("image=", "URL", "data URI", "path")),
    ("image-web-url-without-host", fields(image="https:///a.png"), ("image=", "URL")),
    ("image-url-with-space", fields(image="https://example.com/a b.png"), ("image=", "URL")),
    ("image-data-uri-of-a-text", fields(image="data:text/plain;base64,AAAA"), ("image=", "data:image/")),
    ("image-data-uri-without-base64", fields(image="data:image/png,abc"), ("image=", ";base64,")),
    ("image-data-uri-not-base64", fields(image="data:image/png;base64,@@@@"), ("image=", "base64 of the image")),
    ("image-data-uri-empty", fields(image="data:image/png;base64,"), ("image=", "base64 of the image")),
    ("image-data-uri-bad-padding", fields(image="data:image/png;base64,AAA"), ("image=", "base64 of the image")),
    ("image-mapping-without-url", fields(image={"href": IMAGE_URL}), ("image=", "'url'", "'file_id'")),
    ("image-mapping-url-and-more", fields(image={"url": IMAGE_URL, "x": "y"}), ("image=", "'url'")),
    ("image-mapping-url-number", fields(image={"url": 5}), ("image.url=5", "URL")),
    ("image-mapping-url-mapping", fields(image={"url": {"url": IMAGE_URL}}), ("image.url=", "URL")),
    ("image-mapping-empty-file-id", fields(image={"file_id": " "}), ("image=", "'file_id'")),
    ("image-on-edit", edit(image=IMAGE_URL), (f"image='{IMAGE_URL}'", "nothing on an edit")),
    ("image-on-extension", extension(image=IMAGE_URL), ("image=", "nothing on an extension")),
    ("references-text", fields(reference_images=IMAGE_URL), ("reference_images=", "list of up to 7")),
    ("references-8", fields(reference_images=[IMAGE_URL] * 8), ("reference_images=", "up to 7")),
    ("references-one-bad", fields(reference_images=[IMAGE_URL, 5]), ("reference_images[1]=5", "URL")),
    ("references-mapping", fields(reference_images={"url": IMAGE_URL}), ("reference_images=", "list of up to 7")),
    ("references-set", fields(reference_images={IMAGE_URL}), ("reference_images=", "list of up to 7")),
    ("references-path", fields(reference_images=Path("/a.png")), ("reference_images=", "list of up to 7")),
    ("references-bytes", fields(reference_images=b"/a.png"), ("reference_images=", "list of up to 7")),
    ("references-8-lazily", fields(reference_images=Lazy([IMAGE_URL] * 8)), ("reference_images=", "up to 7")),
    ("references-none", fields(reference_images=[None]), ("reference_images[0]=None", "URL")),
    *(
        (
            f"image-{name}",
            fields(image=of_format(content, f"image/{name.lower()}")),
            (name, "JPEG, PNG or WebP", "Convert"),
        )
        for name, content in OTHER_FORMATS.items()
    ),
    *(
        (f"image-{name}-called-png", fields(last_frame=of_format(content)), ("last_frame=", name, "Convert it"))
        for name, content in OTHER_FORMATS.items()
    ),
    ("image-text-called-png", fields(image=of_format(b"text")), ("image=", "not JPEG, PNG or WebP")),
    ("last-frame-number", fields(last_frame=5), ("last_frame=5", "URL", "path")),
    ("last-frame-on-edit", edit(last_frame=IMAGE_URL), ("last_frame=", "nothing on an edit")),
    ("keyframes-5", fields(keyframes=[keyframe()] * 5), ("keyframes=", "up to 4 keyframes")),
    ("keyframes-one", fields(keyframes=keyframe()), ("keyframes=", "list of up to 4")),
    ("keyframes-of-urls", fields(keyframes=[IMAGE_URL]), ("keyframes[0]=", "'image'", "'timestamp_s'")),
    ("keyframes-without-time", fields(keyframes=[{"image": IMAGE_URL}]), ("keyframes[0]=", "'timestamp_s'")),
    ("keyframes-and-more", fields(keyframes=[{**keyframe(), "x": 1}]), ("keyframes[0]=", "'timestamp_s'")),
    ("keyframes-bad-image", fields(keyframes=[keyframe(), keyframe(image=5)]), ("keyframes[1].image=5", "URL")),
    ("keyframes-at-0", fields(keyframes=[keyframe(0)]), ("keyframes[0].timestamp_s=0", "above 0", "use image")),
    ("keyframes-negative", fields(keyframes=[keyframe(-1)]), ("keyframes[0].timestamp_s=-1", "above 0")),
    ("keyframes-at-the-end", fields(keyframes=[keyframe(8)]), ("keyframes[0].timestamp_s=8", "duration of 8")),
    ("keyframes-behind-it", fields(duration=3, keyframes=[keyframe(3.5)]), ("timestamp_s=3.5", "duration of 3")),
    ("keyframes-time-word", fields(keyframes=[keyframe("soon")]), ("keyframes[0].timestamp_s='soon'", "seconds")),
    ("keyframes-time-true", fields(keyframes=[keyframe(True)]), ("keyframes[0].timestamp_s=True", "seconds")),
    ("keyframes-time-nan", fields(keyframes=[keyframe(float("nan"))]), ("keyframes[0].timestamp_s=nan", "seconds")),
    ("keyframes-on-extension", extension(keyframes=[keyframe(1)]), ("keyframes=", "nothing on an extension")),
    ("keyframes-on-edit", edit(keyframes=[keyframe(1)]), ("keyframes=", "nothing on an edit")),
    ("audios-4", fields(reference_audios=[{"voice_id": "ara"}] * 4), ("reference_audios=", "up to 3")),
    ("audios-texts", fields(reference_audios=["ara"]), ("reference_audios[0]='ara'", "'voice_id'", "'url'")),
    ("audios-both", fields(reference_audios=[{"voice_id": "a", "url": "b"}]), ("reference_audios[0]=", "'voice_id'")),
    ("audios-empty-voice", fields(reference_audios=[{"voice_id": " "}]), ("reference_audios[0].voice_id=' '", "text")),
    ("audios-path", fields(reference_audios=[{"url": "/a.mp3"}]), ("reference_audios[0].url='/a.mp3'", "audio")),
    ("audios-image", fields(reference_audios=[{"url": PNG_URI}]), ("reference_audios[0].url=", "data:audio/")),
    ("audios-on-edit", edit(reference_audios=[{"voice_id": "ara"}]), ("reference_audios=", "nothing on an edit")),
    ("audio-word", fields(generate_audio="loud"), ("generate_audio='loud'", "True or False")),
    ("audio-number", fields(generate_audio=1), ("generate_audio=1", "True or False")),
    ("audio-empty", fields(generate_audio=""), ("generate_audio=''", "True or False")),
    ("audio-on-edit", edit(generate_audio=False), ("generate_audio=False", "nothing on an edit")),
    ("audio-on-extension", extension(generate_audio=True), ("generate_audio=True", "nothing on an extension")),
    ("storage-text", fields(storage_options="a.mp4"), ("storage_options='a.mp4'", "mapping of filename")),
    ("storage-unknown", fields(storage_options={"expire_after": 1}), ("storage_options=", "expires_after")),
    ("storage-no-name", fields(storage_options={"filename": " "}), ("storage_options['filename']=' '", "text")),
    *(
        (
            f"storage-{value!r}",
            fields(storage_options={"expires_after": value}),
            ("['expires_after']=", "3600 to 2592000"),
        )
        for value in (3599, 2_592_001, 0, -1, True, "soon", 3600.5, timedelta(minutes=59), timedelta(days=31))
    ),
    (
        "storage-public-for-a-minute",
        fields(storage_options={"public_url": {"expires_after": 60}}),
        ("storage_options['public_url']['expires_after']=60", "3600 to 2592000"),
    ),
    ("storage-public-word", fields(storage_options={"public_url": "yes"}), ("['public_url']='yes'", "True or False")),
    ("storage-public-more", fields(storage_options={"public_url": {"x": 1}}), ("['public_url']=", "expires_after")),
    ("references-on-edit", edit(reference_images=[IMAGE_URL]), ("reference_images=", "nothing on an edit")),
    ("video-on-generation", fields(video=VIDEO_URL), (f"video='{VIDEO_URL}'", "edit or extension")),
    ("video-missing-on-edit", edit(video=None), ("video=None", "video to edit")),
    ("video-missing-on-extension", extension(video=None), ("video=None", "video to extend")),
    ("video-path", edit(video="/tmp/in.mp4"), ("video='/tmp/in.mp4'", "URL", "the API fetches it itself")),
    ("video-path-object", edit(video=Path("/tmp/in.mp4")), ("video='/tmp/in.mp4'", "URL", "the API fetches it itself")),
    ("video-data-uri-of-an-image", edit(video=PNG_URI), ("video=", "data:video/")),
    ("video-number", edit(video=5), ("video=5", "URL")),
    ("upload-url-ftp", fields(upload_url="ftp://example.com/v.mp4"), ("upload_url='ftp://", "http(s) URL")),
    ("upload-url-path", fields(upload_url="/tmp/v.mp4"), ("upload_url='/tmp/v.mp4'", "http(s) URL")),
    ("upload-url-number", fields(upload_url=5), ("upload_url=", "5", "http(s) URL")),
    ("upload-url-empty", fields(upload_url=""), ("upload_url=''", "http(s) URL")),
    ("extra-list", fields(extra=["seed"]), ("extra=['seed']", "mapping")),
    ("extra-key-number", fields(extra={1: 2}), ("extra=", "mapping")),
    ("extra-bytes", fields(extra={"seed": b"x"}), ("extra=", "JSON")),
    ("extra-nan", fields(extra={"seed": float("nan")}), ("extra=", "JSON")),
    *(
        (
            f"extra-overrides-{name}",
            fields(extra={name: 1}),
            (f"extra['{name}']=1", "no argument of their own", f"use {use}"),
        )
        for name, use in RESERVED.items()
    ),
]


@pytest.mark.parametrize(("given_fields", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_wrong_field_is_refused_naming_field_value_and_what_is_allowed(
    given_fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        VideoRequest(**given_fields)
    assert isinstance(caught.value, ValueError)
    assert " is not allowed; allowed: " in str(caught.value)
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("given_fields", "xai", "words"),
    [
        pytest.param(
            fields(resolution="1080p"), True, ("resolution='1080p'", "480p or 720p"), id="1080p-on-the-classic-model"
        ),
        pytest.param(edit(model=LATE_MODEL), True, (f"model='{LATE_MODEL}'", DEFAULT_MODEL, "edit"), id="edit-on-1.5"),
        pytest.param(extension(model=LATE_MODEL), False, (f"model='{LATE_MODEL}'", "extension"), id="extension-on-1.5"),
        pytest.param(
            fields(reference_images=[IMAGE_URL], duration=11),
            True,
            ("duration=11", "1 to 10"),
            id="references-and-11-s",
        ),
        pytest.param(
            fields(reference_images=[IMAGE_URL], image=IMAGE_URL),
            True,
            ("reference_images=", "nothing beside image on grok-imagine-video", "use grok-imagine-video-1.5"),
            id="references-beside-image-on-the-classic-model",
        ),
        pytest.param(
            fields(reference_images=[IMAGE_URL], image=IMAGE_URL, model=f"{DEFAULT_MODEL}-2026-01-28"),
            True,
            ("reference_images=", "nothing beside image"),
            id="references-beside-image-on-a-dated-alias",
        ),
        pytest.param(
            fields(reference_images=[IMAGE_URL], model=LITE_MODEL),
            True,
            ("reference_images=", f"nothing on {LITE_MODEL}", LATE_MODEL),
            id="references-on-lite",
        ),
        pytest.param(
            fields(reference_images=[IMAGE_URL], resolution="1080p", model=LATE_MODEL),
            False,
            ("resolution='1080p'", "480p or 720p with reference_images"),
            id="references-with-1080p",
        ),
        *(
            pytest.param(
                fields(model=model, **{field: value}),
                True,
                (f"{field}=", f"nothing on {model}"),
                id=f"{field}-on-{model}",
            )
            for model in (DEFAULT_MODEL, LITE_MODEL)
            for field, value in (("last_frame", IMAGE_URL), ("keyframes", [keyframe()]))
        ),
        pytest.param(
            extension(model=f"{LATE_MODEL}-preview"), True, ("model=", DEFAULT_MODEL), id="extension-on-a-dated-alias"
        ),
        pytest.param(fields(aspect_ratio="21:9"), False, ("aspect_ratio='21:9'", "xAI"), id="xai-ratio-on-cometapi"),
        pytest.param(
            {"keyframes": [keyframe()], "model": LATE_MODEL}, False, ("prompt=None",), id="no-prompt-on-cometapi"
        ),
        pytest.param(
            fields(keyframes=[keyframe(image={"file_id": "f"})], model=LATE_MODEL),
            False,
            ("keyframes[0].image=", "only xAI"),
            id="keyframe-file-on-cometapi",
        ),
        pytest.param(
            fields(last_frame={"file_id": "f"}, model=LATE_MODEL), False, ("last_frame=", "only xAI"), id="last-file"
        ),
        pytest.param({"image": IMAGE_URL}, False, ("prompt=None", "only xAI"), id="image-without-prompt-on-cometapi"),
        pytest.param(fields(image={"file_id": "f1"}), False, ("image=", "only xAI"), id="image-file-on-cometapi"),
        pytest.param(edit(video={"file_id": "f1"}), False, ("video=", "only xAI"), id="video-file-on-cometapi"),
        pytest.param(
            fields(reference_images=[IMAGE_URL, {"file_id": "f1"}]),
            False,
            ("reference_images[1]=", "only xAI"),
            id="reference-file-on-cometapi",
        ),
    ],
)
def test_what_an_api_or_model_does_not_offer_is_refused(
    given_fields: dict[str, Any], xai: bool, words: tuple[str, ...]
) -> None:
    request = VideoRequest(**given_fields).with_model(None)
    with pytest.raises(InvalidRequestError) as caught:
        validate_for_model(request, xai=xai)
    assert [word for word in words if word not in str(caught.value)] == []


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


def test_unknown_field_is_refused_with_the_list_of_fields() -> None:
    with pytest.raises(InvalidRequestError, match=r"seed=3 is not allowed; .*prompt, model, duration"):
        VideoRequest.from_fields({"prompt": "p", "seed": 3})


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


# --- images from paths ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "mime_type"),
    [
        pytest.param(PNG, "image/png", id="png"),
        pytest.param(b"\xff\xd8\xff\xe0 jfif", "image/jpeg", id="jpeg"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 ", "image/webp", id="webp"),
    ],
)
@pytest.mark.parametrize(
    "media",
    ["/data/cat.txt", {"url": "/data/cat.txt"}, PurePosixPath("/data/cat.txt"), {"url": Path("/data/cat.txt")}],
    ids=["path", "mapping", "path-object", "path-object-in-mapping"],
)
def test_image_path_becomes_a_data_uri_typed_by_content(content: bytes, mime_type: str, media: Any) -> None:
    asked = []

    def read(path: str, name: str) -> bytes:
        asked.append((path, name))
        return content

    request = VideoRequest(prompt="p", image=media).with_inlined_images(read)
    assert asked == [("/data/cat.txt", "image")]
    sent = request.body()["image"]["url"]
    assert sent == f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def test_paths_in_every_field_are_read_under_their_own_names() -> None:
    asked = []

    def read(path: str, name: str) -> bytes:
        asked.append((path, name))
        return PNG

    request = VideoRequest(
        prompt="p",
        image=Path("/a.png"),
        last_frame=StoragePath(),
        keyframes=Lazy([keyframe(1), keyframe(2, Path("/k.png"))]),
        reference_images=(path for path in (IMAGE_URL, Path("/r.png"))),
    )
    body = request.with_inlined_images(read).body()
    assert asked == [
        ("/a.png", "image"),
        ("s3://aws_default@bucket/cat.png", "last_frame"),
        ("/k.png", "keyframes[1].image"),
        ("/r.png", "reference_images[1]"),
    ]
    assert (body["image"], body["last_frame"]) == ({"url": PNG_URI}, {"url": PNG_URI})
    assert [frame["image"]["url"] for frame in body["keyframes"]] == [IMAGE_URL, PNG_URI]
    assert body["reference_images"] == [{"url": IMAGE_URL}, {"url": PNG_URI}]


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


def test_reference_paths_become_data_uris_under_their_own_names() -> None:
    asked = []

    def read(path: str, name: str) -> bytes:
        asked.append((path, name))
        return PNG

    request = VideoRequest(prompt="p", reference_images=[IMAGE_URL, "/b.png"]).with_inlined_images(read)
    assert asked == [("/b.png", "reference_images[1]")]
    assert request.body()["reference_images"] == [{"url": IMAGE_URL}, {"url": PNG_URI}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"just a text, called .png", "not JPEG, PNG or WebP. Convert it", id="text"),
        pytest.param(b"", "not JPEG, PNG", id="empty"),
        *(
            pytest.param(content, f"a JPEG, PNG or WebP image; its content is {name}. Convert it", id=name)
            for name, content in OTHER_FORMATS.items()
        ),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(MAX_IMAGE_BYTES), "up to 15 MiB", id="too-large"),
    ],
)
def test_file_that_is_no_fit_image_is_refused(content: bytes, words: str) -> None:
    request = VideoRequest(prompt="p", reference_images=["/data/cat.png"])
    with pytest.raises(InvalidRequestError) as caught:
        request.with_inlined_images(lambda *_: content)
    assert "reference_images[0]='/data/cat.png'" in str(caught.value)
    assert words in str(caught.value)


def test_data_uri_above_the_limit_is_refused() -> None:
    uri = "data:image/png;base64," + "A" * (MAX_IMAGE_BYTES // 3 * 4 + 8)
    with pytest.raises(InvalidRequestError, match="up to 15 MiB"):
        VideoRequest(prompt="p", image=uri)


@pytest.mark.parametrize("media", ["/data/cat.png", {"url": "/data/cat.png"}], ids=["path", "mapping"])
def test_path_that_was_not_read_is_never_sent(media: Any) -> None:
    with pytest.raises(InvalidRequestError, match="must be read first"):
        VideoRequest(prompt="p", image=media).body()


# --- what messages may hold -------------------------------------------------------------------------

SECRET = "c2VjcmV0"  # also valid base64


@pytest.mark.parametrize(
    "given_fields",
    [
        pytest.param(edit(image=f"https://b.example.com/a.png?X-Amz-Signature={SECRET}"), id="signed-image-url"),
        pytest.param(fields(image=f"https://b.example.com/a b.png?sig={SECRET}"), id="signed-url-with-a-space"),
        pytest.param(fields(image=f"HTTPS://[b?sig={SECRET}"), id="signed-url-that-cannot-be-parsed"),
        pytest.param(edit(video=f"s3://b/in.mp4?sig={SECRET}"), id="signed-url-of-another-scheme"),
        pytest.param(edit(image={"url": f"https://b.example.com/a.png?sig={SECRET}"}), id="signed-url-in-mapping"),
        pytest.param(fields(reference_images=[f"https://b.example.com/a.png?sig={SECRET}"] * 8), id="signed-in-list"),
        pytest.param(
            fields(keyframes=[{"image": f"https://b.example.com/a.png?sig={SECRET}", "at": 1}]), id="signed-in-keyframe"
        ),
        pytest.param(fields(extra={"image_url": f"https://b.example.com/a.png?sig={SECRET}"}), id="signed-in-extra"),
        pytest.param(fields(upload_url=f"ftp://b.example.com/a.png?sig={SECRET}"), id="signed-upload-url"),
        pytest.param(fields(image=f"data:image/png,{SECRET}"), id="short-data-uri"),
        pytest.param(fields(image=f"DATA:IMAGE/PNG,{SECRET}"), id="upper-case-data-uri"),
        pytest.param(fields(image=f"data:image/png,{SECRET * 20}"), id="data-uri"),
        pytest.param(edit(image={"url": f"data:image/png;base64,{SECRET}"}), id="data-uri-in-mapping"),
        pytest.param(fields(extra={"image": f"data:image/png;base64,{SECRET}"}), id="data-uri-in-extra"),
        pytest.param(
            fields(extra={"a": [{"b": f"data:image/png;base64,{SECRET}"}, b"x"]}), id="data-uri-deep-in-extra"
        ),
    ],
)
def test_message_holds_no_signature_and_no_image(given_fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        VideoRequest(**given_fields)
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 600


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([field.name for field in dataclasses.fields(VideoRequest)])


@given(st.dictionaries(names, any_json | st.sampled_from([IMAGE_URL, PNG_URI, "8", "edit", "16:9"]), max_size=6))
def test_whatever_is_given_is_refused_in_words_or_can_be_sent(given_fields: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            request = VideoRequest(**given_fields).with_inlined_images(lambda *_: PNG)
        except GrokVideoError as error:
            assert str(error)
            return
        body = request.body()
    assert json.loads(json.dumps(body)) == body
    assert len(fingerprint_request(request)) == 64


# --- fingerprint ------------------------------------------------------------------------------------


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


# --- seconds of the task ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_seconds", "seconds"),
    [(5, 5.0), (0.05, 0.05), (Decimal("1.5"), 1.5), (timedelta(minutes=15), 900.0), (timedelta(milliseconds=1), 0.001)],
)
def test_seconds_are_a_number_or_a_timedelta(given_seconds: Any, seconds: float) -> None:
    checked = validate_seconds("timeout", given_seconds)
    assert checked == seconds
    assert type(checked) is float


@pytest.mark.parametrize(
    "wrong", [0, -1, timedelta(0), timedelta(seconds=-1), float("nan"), float("inf"), True, "900", None, [5]], ids=repr
)
def test_seconds_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"timeout=.* is not allowed; allowed: a number of seconds above 0"):
        validate_seconds("timeout", wrong)
