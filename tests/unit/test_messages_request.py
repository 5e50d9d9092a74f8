"""Messages about the fields of a request: each names field, value and limit, and says what to use instead."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.validation import validate_seconds
from airflow_provider_grokvideo.exceptions import InvalidRequestError
from tests.support.request_fields import (
    IMAGE_URL,
    OTHER_FORMATS,
    PNG_URI,
    VIDEO_URL,
    ForeignNumber,
    Lazy,
    data_uri,
    edit,
    extension,
    fields,
    keyframe,
)

IMAGE = "Use an http(s) URL, a base64 data URI or a path of the image."
VIDEO = "Use an http(s) URL or a base64 data URI of the video, not a path: the API fetches it itself."
AUDIO = "Use an http(s) URL or a base64 data URI of the audio, not a path: the API fetches it itself."
IMAGE_DATA = "Use data:image/…;base64,<base64 of the image>."
KEYFRAME = "Use {'image': …, 'timestamp_s': seconds}."
KEYFRAMES = "Use a list of up to 4 keyframes {'image': …, 'timestamp_s': seconds}."
INSIDE_8 = "Use seconds above 0 and below the duration of 8. For both ends, use image and last_frame."
RATIO = "Use one of 1:1, 16:9, 9:16, 4:3, 3:4, 3:2, 2:3, 21:9, 5:2."
OPTIONAL = "Use a text that is not empty, or leave it out."
SHORT_URL = "https://h/a.png"

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

MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({}, "prompt=None is not valid. Use a text that is not empty."),
    (fields(prompt=""), "prompt='' is not valid. Use a text that is not empty."),
    (fields(prompt=" \n"), "prompt=' \\n' is not valid. Use a text that is not empty."),
    (fields(prompt=7), "prompt=7 is not valid. Use a text that is not empty."),
    (fields(prompt=["a"]), "prompt=['a'] is not valid. Use a text that is not empty."),
    (fields(prompt="", image=IMAGE_URL), "prompt='' is not valid. Use a text that is not empty."),
    (edit(prompt=None), "prompt=None is not valid. Use a text that is not empty."),
    (fields(kind="remix"), "kind='remix' is not valid. Use one of generation, edit, extension."),
    (fields(kind=[]), "kind=[] is not valid. Use one of generation, edit, extension."),
    (fields(model=""), f"model='' is not valid. {OPTIONAL}"),
    (fields(model=1.5), f"model=1.5 is not valid. {OPTIONAL}"),
    (fields(user=" "), f"user=' ' is not valid. {OPTIONAL}"),
    (fields(user=42), f"user=42 is not valid. {OPTIONAL}"),
    (extension(user="u1"), "user='u1' is not valid. Leave it out of an extension."),
    (fields(duration=0), "duration=0 is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=16), "duration=16 is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=-1), "duration=-1 is not valid. Use whole seconds from 1 to 15."),
    (fields(duration="eight"), "duration='eight' is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=True), "duration=True is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=8.5), "duration=8.5 is not valid. Use whole seconds from 1 to 15."),
    (fields(duration="8.5"), "duration='8.5' is not valid. Use whole seconds from 1 to 15."),
    (fields(duration="16"), "duration='16' is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=""), "duration='' is not valid. Use whole seconds from 1 to 15."),
    (
        fields(duration="9" * 5000),
        f"duration={'9' * 200}… (5000 characters) is not valid. Use whole seconds from 1 to 15.",
    ),
    (fields(duration=[8]), "duration=[8] is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=Decimal("8.5")), "duration=Decimal('8.5') is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=ForeignNumber(8.5)), "duration=ForeignNumber(8.5) is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=float("nan")), "duration=nan is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=float("inf")), "duration=inf is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=8 + 0j), "duration=(8+0j) is not valid. Use whole seconds from 1 to 15."),
    (fields(duration=b"8"), "duration=b'8' is not valid. Use whole seconds from 1 to 15."),
    (fields(duration="1e1"), "duration='1e1' is not valid. Use whole seconds from 1 to 15."),
    (extension(duration=11), "duration=11 is not valid. Use whole seconds from 2 to 10."),
    (extension(duration=1), "duration=1 is not valid. Use whole seconds from 2 to 10."),
    (extension(duration=0), "duration=0 is not valid. Use whole seconds from 2 to 10."),
    (edit(duration=8), "duration=8 is not valid. Leave it out: an edit keeps the duration of its video."),
    (fields(aspect_ratio="17:9"), f"aspect_ratio='17:9' is not valid. {RATIO}"),
    (fields(aspect_ratio="3:4 "), f"aspect_ratio='3:4 ' is not valid. {RATIO}"),
    (fields(aspect_ratio=1.78), f"aspect_ratio=1.78 is not valid. {RATIO}"),
    (fields(aspect_ratio={}), f"aspect_ratio={{}} is not valid. {RATIO}"),
    (
        edit(aspect_ratio="16:9"),
        "aspect_ratio='16:9' is not valid. Leave it out: an edit keeps the aspect_ratio of its video.",
    ),
    (
        extension(aspect_ratio="1:1"),
        "aspect_ratio='1:1' is not valid. Leave it out: an extension keeps the aspect_ratio of its video.",
    ),
    (fields(resolution="4k"), "resolution='4k' is not valid. Use one of 480p, 720p, 1080p."),
    (fields(resolution=720), "resolution=720 is not valid. Use one of 480p, 720p, 1080p."),
    (
        edit(resolution="480p"),
        "resolution='480p' is not valid. Leave it out: an edit keeps the resolution of its video.",
    ),
    (fields(image=""), f"image='' is not valid. {IMAGE}"),
    (fields(image=b"\x89PNG"), f"image=b'\\x89PNG' is not valid. {IMAGE}"),
    (fields(image="https:///a.png"), f"image='https:///a.png' is not valid. {IMAGE}"),
    (fields(image="https://example.com/a b.png"), f"image='https://example.com/a b.png' is not valid. {IMAGE}"),
    (
        fields(image="data:text/plain;base64,AAAA"),
        f"image=data:text/plain;base64,… (4 characters) is not valid. {IMAGE_DATA}",
    ),
    (fields(image="data:image/png,abc"), f"image=data:image/png,… (3 characters) is not valid. {IMAGE_DATA}"),
    (
        fields(image="data:image/png;base64,@@@@"),
        f"image=data:image/png;base64,… (4 characters) is not valid. {IMAGE_DATA}",
    ),
    (
        fields(image="data:image/png;base64,"),
        f"image=data:image/png;base64,… (0 characters) is not valid. {IMAGE_DATA}",
    ),
    (
        fields(image="data:image/png;base64,AAA"),
        f"image=data:image/png;base64,… (3 characters) is not valid. {IMAGE_DATA}",
    ),
    (
        fields(image={"href": IMAGE_URL}),
        "image={'href': 'https://example.com/a.png'} is not valid. Use {'url': …} or {'file_id': …}.",
    ),
    (
        fields(image={"url": IMAGE_URL, "x": "y"}),
        "image={'url': 'https://example.com/a.png', 'x': 'y'} is not valid. Use {'url': …} or {'file_id': …}.",
    ),
    (fields(image={"url": 5}), f"image.url=5 is not valid. {IMAGE}"),
    (
        fields(image={"url": {"url": IMAGE_URL}}),
        f"image.url={{'url': 'https://example.com/a.png'}} is not valid. {IMAGE}",
    ),
    (fields(image={"file_id": " "}), "image={'file_id': ' '} is not valid. Use {'url': …} or {'file_id': …}."),
    (edit(image=IMAGE_URL), "image='https://example.com/a.png' is not valid. Leave it out of an edit."),
    (extension(image=IMAGE_URL), "image='https://example.com/a.png' is not valid. Leave it out of an extension."),
    (
        fields(reference_images=IMAGE_URL),
        "reference_images='https://example.com/a.png' is not valid. Use a list of up to 7 images.",
    ),
    (
        fields(reference_images=[SHORT_URL] * 8),
        f"reference_images={[SHORT_URL] * 8} is not valid. Use a list of up to 7 images.",
    ),
    (fields(reference_images=[IMAGE_URL, 5]), f"reference_images[1]=5 is not valid. {IMAGE}"),
    (
        fields(reference_images={"url": IMAGE_URL}),
        "reference_images={'url': 'https://example.com/a.png'} is not valid. Use a list of up to 7 images.",
    ),
    (
        fields(reference_images={IMAGE_URL}),
        "reference_images=['https://example.com/a.png'] is not valid. Use a list of up to 7 images.",
    ),
    (fields(reference_images=Path("/a.png")), "reference_images=/a.png is not valid. Use a list of up to 7 images."),
    (fields(reference_images=b"/a.png"), "reference_images=b'/a.png' is not valid. Use a list of up to 7 images."),
    (
        fields(reference_images=Lazy([SHORT_URL] * 8)),
        f"reference_images={[SHORT_URL] * 8} is not valid. Use a list of up to 7 images.",
    ),
    (fields(reference_images=[None]), f"reference_images[0]=None is not valid. {IMAGE}"),
    (
        fields(image=data_uri(b"text")),
        "image=data:image/png;base64,… (8 characters) is not valid. "
        "Its content is not an image in a known format. Convert it to JPEG, PNG or WebP.",
    ),
    (fields(last_frame=5), f"last_frame=5 is not valid. {IMAGE}"),
    (edit(last_frame=IMAGE_URL), "last_frame='https://example.com/a.png' is not valid. Leave it out of an edit."),
    (fields(keyframes=[keyframe(image="/k")] * 5), f"keyframes={[keyframe(image='/k')] * 5} is not valid. {KEYFRAMES}"),
    (
        fields(keyframes=keyframe()),
        f"keyframes={{'image': 'https://example.com/a.png', 'timestamp_s': 2}} is not valid. {KEYFRAMES}",
    ),
    (fields(keyframes=[IMAGE_URL]), f"keyframes[0]='https://example.com/a.png' is not valid. {KEYFRAME}"),
    (
        fields(keyframes=[{"image": IMAGE_URL}]),
        f"keyframes[0]={{'image': 'https://example.com/a.png'}} is not valid. {KEYFRAME}",
    ),
    (
        fields(keyframes=[{**keyframe(), "x": 1}]),
        f"keyframes[0]={{'image': 'https://example.com/a.png', 'timestamp_s': 2, 'x': 1}} is not valid. {KEYFRAME}",
    ),
    (fields(keyframes=[keyframe(), keyframe(image=5)]), f"keyframes[1].image=5 is not valid. {IMAGE}"),
    (fields(keyframes=[keyframe(0)]), f"keyframes[0].timestamp_s=0 is not valid. {INSIDE_8}"),
    (fields(keyframes=[keyframe(-1)]), f"keyframes[0].timestamp_s=-1 is not valid. {INSIDE_8}"),
    (fields(keyframes=[keyframe(8)]), f"keyframes[0].timestamp_s=8 is not valid. {INSIDE_8}"),
    (
        fields(duration=3, keyframes=[keyframe(3.5)]),
        "keyframes[0].timestamp_s=3.5 is not valid. Use seconds above 0 and below the duration of 3. "
        "For both ends, use image and last_frame.",
    ),
    (fields(keyframes=[keyframe("soon")]), f"keyframes[0].timestamp_s='soon' is not valid. {INSIDE_8}"),
    (fields(keyframes=[keyframe(True)]), f"keyframes[0].timestamp_s=True is not valid. {INSIDE_8}"),
    (fields(keyframes=[keyframe(float("nan"))]), f"keyframes[0].timestamp_s=nan is not valid. {INSIDE_8}"),
    (
        extension(keyframes=[keyframe(1)]),
        "keyframes=[{'image': 'https://example.com/a.png', 'timestamp_s': 1.0}] is not valid. "
        "Leave it out of an extension.",
    ),
    (
        edit(keyframes=[keyframe(1)]),
        "keyframes=[{'image': 'https://example.com/a.png', 'timestamp_s': 1.0}] is not valid. Leave it out of an edit.",
    ),
    (
        fields(reference_audios=[{"voice_id": "ara"}] * 4),
        "reference_audios=[{'voice_id': 'ara'}, {'voice_id': 'ara'}, {'voice_id': 'ara'}, {'voice_id': 'ara'}] is not "
        "valid. Use a list of up to 3 audios {'voice_id': …} or {'url': …}.",
    ),
    (fields(reference_audios=["ara"]), "reference_audios[0]='ara' is not valid. Use {'voice_id': …} or {'url': …}."),
    (
        fields(reference_audios=[{"voice_id": "a", "url": "b"}]),
        "reference_audios[0]={'voice_id': 'a', 'url': 'b'} is not valid. Use {'voice_id': …} or {'url': …}.",
    ),
    (
        fields(reference_audios=[{"voice_id": " "}]),
        "reference_audios[0].voice_id=' ' is not valid. Use a text that is not empty.",
    ),
    (fields(reference_audios=[{"url": "/a.mp3"}]), f"reference_audios[0].url='/a.mp3' is not valid. {AUDIO}"),
    (
        fields(reference_audios=[{"url": PNG_URI}]),
        "reference_audios[0].url=data:image/png;base64,… (352 characters) is not valid. "
        "Use data:audio/…;base64,<base64 of the audio>.",
    ),
    (
        edit(reference_audios=[{"voice_id": "ara"}]),
        "reference_audios=[{'voice_id': 'ara'}] is not valid. Leave it out of an edit.",
    ),
    (fields(generate_audio="loud"), "generate_audio='loud' is not valid. Use True or False."),
    (fields(generate_audio=1), "generate_audio=1 is not valid. Use True or False."),
    (fields(generate_audio=""), "generate_audio='' is not valid. Use True or False."),
    (edit(generate_audio=False), "generate_audio=False is not valid. Leave it out of an edit."),
    (extension(generate_audio=True), "generate_audio=True is not valid. Leave it out of an extension."),
    (
        fields(storage_options="a.mp4"),
        "storage_options='a.mp4' is not valid. Use a mapping of filename, expires_after, public_url.",
    ),
    (
        fields(storage_options={"expire_after": 1}),
        "storage_options={'expire_after': 1} is not valid. Use a mapping of filename, expires_after, public_url.",
    ),
    (fields(storage_options={"filename": " "}), f"storage_options['filename']=' ' is not valid. {OPTIONAL}"),
    (
        fields(storage_options={"public_url": {"expires_after": 60}}),
        "storage_options['public_url']['expires_after']=60 is not valid. Use whole seconds from 3600 to 2592000.",
    ),
    (
        fields(storage_options={"public_url": "yes"}),
        "storage_options['public_url']='yes' is not valid. Use True or False.",
    ),
    (
        fields(storage_options={"public_url": {"x": 1}}),
        "storage_options['public_url']={'x': 1} is not valid. Use True, False or {'expires_after': seconds}.",
    ),
    (
        edit(reference_images=[IMAGE_URL]),
        "reference_images=['https://example.com/a.png'] is not valid. Leave it out of an edit.",
    ),
    (
        fields(video=VIDEO_URL),
        "video='https://example.com/in.mp4' is not valid. Leave it out of a generation, or use kind edit or extension.",
    ),
    (edit(video=None), "video=None is not valid. Use the video to edit."),
    (extension(video=None), "video=None is not valid. Use the video to extend."),
    (edit(video="/tmp/in.mp4"), f"video='/tmp/in.mp4' is not valid. {VIDEO}"),
    (edit(video=Path("/tmp/in.mp4")), f"video='/tmp/in.mp4' is not valid. {VIDEO}"),
    (
        edit(video=PNG_URI),
        "video=data:image/png;base64,… (352 characters) is not valid. Use data:video/…;base64,<base64 of the video>.",
    ),
    (edit(video=5), f"video=5 is not valid. {VIDEO}"),
    (
        fields(upload_url="ftp://example.com/v.mp4"),
        "upload_url='ftp://example.com/v.mp4' is not valid. Use an http(s) URL that is signed for PUT.",
    ),
    (
        fields(upload_url="/tmp/v.mp4"),
        "upload_url='/tmp/v.mp4' is not valid. Use an http(s) URL that is signed for PUT.",
    ),
    (fields(upload_url=5), "upload_url='5' is not valid. Use an http(s) URL that is signed for PUT."),
    (fields(upload_url=""), "upload_url='' is not valid. Use an http(s) URL that is signed for PUT."),
    (fields(extra=["seed"]), "extra=['seed'] is not valid. Use a mapping of further fields of the request."),
    (fields(extra={1: 2}), "extra={1: 2} is not valid. Use a mapping of further fields of the request."),
    (
        fields(extra={"seed": b"x"}),
        "extra={'seed': b'x'} is not valid. "
        "Use values that JSON can hold (Object of type bytes is not JSON serializable).",
    ),
    *(
        (
            fields(last_frame=data_uri(content, mime_type)),
            f"last_frame={mime_type_shown},… ({len(data_uri(content)) - 22} characters) is not valid. "
            f"Its content is {name}. Convert it to JPEG, PNG or WebP.",
        )
        for name, content in OTHER_FORMATS.items()
        for mime_type in ("image/png", f"image/{name.lower()}")
        for mime_type_shown in (f"data:{mime_type};base64",)
    ),
    *(
        (
            fields(storage_options={"expires_after": value}),
            f"storage_options['expires_after']={shown!r} is not valid. Use whole seconds from 3600 to 2592000.",
        )
        for value, shown in (
            *((value, value) for value in (3599, 2_592_001, 0, -1, True, "soon", 3600.5)),
            (timedelta(minutes=59), 3540.0),
            (timedelta(days=31), 2678400.0),
        )
    ),
    *(
        (
            fields(extra={name: 1}),
            f"extra[{name!r}]=1 is not valid. Use {use}: extra takes only fields without an argument of their own.",
        )
        for name, use in RESERVED.items()
    ),
]


@pytest.mark.parametrize(("given_fields", "message"), MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_wrong_field_gets_its_message(given_fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        VideoRequest(**given_fields)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == message


def test_value_that_json_does_not_have_is_refused() -> None:
    # Python's own words differ between its versions.
    with pytest.raises(
        InvalidRequestError, match=r"^extra=.*nan.* is not valid\. Use values that JSON can hold \(.*\)\.$"
    ):
        VideoRequest(**fields(extra={"seed": float("nan")}))


def test_unknown_field_gets_the_list_of_fields() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        VideoRequest.from_fields({"prompt": "p", "seed": 3})
    assert str(caught.value) == (
        "seed=3 is not valid. There is no such field. Use prompt, model, duration, aspect_ratio, resolution, image, "
        "last_frame, keyframes, reference_images, reference_audios, video, generate_audio, upload_url, "
        "storage_options, user, extra, kind."
    )


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        *((value, repr(value)) for value in (0, -1, float("nan"), float("inf"), True, "900", None, [5])),
        (timedelta(0), "datetime.timedelta(0)"),
        (timedelta(seconds=-1), "datetime.timedelta(days=-1, seconds=86399)"),
    ],
)
def test_wrong_seconds_get_their_message(wrong: Any, shown: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        validate_seconds("timeout", wrong)
    assert str(caught.value) == f"timeout={shown} is not valid. Use a number of seconds above 0, or a timedelta."
