"""Every field and limit of a request: what is refused, in which words, and what is sent."""

from __future__ import annotations

import base64
import dataclasses
import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.media import MAX_IMAGE_BYTES
from airflow_provider_grokvideo.api.models import ASPECT_RATIOS, DEFAULT_MODEL, RESOLUTIONS, XAI_ASPECT_RATIOS
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.validation import validate_for_model
from airflow_provider_grokvideo.exceptions import GrokVideoError, InvalidRequestError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PNG_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
IMAGE_URL = "https://example.com/a.png"
VIDEO_URL = "https://example.com/in.mp4"
LATE_MODEL = "grok-imagine-video-1.5"

RESERVED = (
    *("prompt", "model", "duration", "seconds", "aspect_ratio", "resolution"),
    *("image", "reference_images", "video", "output", "upload_url", "user"),
)


def fields(**given: Any) -> dict[str, Any]:
    """Return the smallest valid generation, changed."""
    return {"prompt": "A red fox in the snow", **given}


def edit(**given: Any) -> dict[str, Any]:
    """Return the smallest valid edit, changed."""
    return {"kind": "edit", "prompt": "Add snow", "video": VIDEO_URL, **given}


def extension(**given: Any) -> dict[str, Any]:
    """Return the smallest valid extension, changed."""
    return {"kind": "extension", "prompt": "The camera rises", "video": VIDEO_URL, **given}


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
    ("duration-11-on-extension", extension(duration=11), ("duration=11", "whole seconds from 1 to 10")),
    ("duration-0-on-extension", extension(duration=0), ("duration=0", "whole seconds from 1 to 10")),
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
    ("references-beside-image", fields(image=IMAGE_URL, reference_images=[IMAGE_URL]), ("reference_images=", "image")),
    ("references-on-edit", edit(reference_images=[IMAGE_URL]), ("reference_images=", "nothing on an edit")),
    ("video-on-generation", fields(video=VIDEO_URL), (f"video='{VIDEO_URL}'", "edit or extension")),
    ("video-missing-on-edit", edit(video=None), ("video=None", "video to edit")),
    ("video-missing-on-extension", extension(video=None), ("video=None", "video to extend")),
    ("video-path", edit(video="/tmp/in.mp4"), ("video='/tmp/in.mp4'", "URL")),
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
        (f"extra-overrides-{name}", fields(extra={name: 1}), (f"extra['{name}']=1", "no argument of their own"))
        for name in RESERVED
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
        pytest.param(fields(aspect_ratio="21:9"), False, ("aspect_ratio='21:9'", "xAI"), id="xai-ratio-on-cometapi"),
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
        pytest.param(fields(resolution="1080p", model="made-tomorrow"), False, id="model-nobody-knows-yet"),
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
                "extra": {"generate_audio": False, "storage_options": {"public_url": True}},
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
                "generate_audio": False,
                "storage_options": {"public_url": True},
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


@pytest.mark.parametrize("duration", [*range(1, 16), *map(str, range(1, 16)), " 8 ", "08"])
def test_whole_seconds_from_1_to_15_pass_as_a_number(duration: int | str) -> None:
    sent = VideoRequest(prompt="p", duration=duration).body()["duration"]
    assert sent == int(duration)
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
    with pytest.raises(InvalidRequestError, match=r"seed=3 is not allowed; .*prompt, kind, model, duration"):
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
        pytest.param(b"GIF89a....", "image/gif", id="gif"),
        pytest.param(b"BM......", "image/bmp", id="bmp"),
        pytest.param(b"\0\0\0\x1cftypavif", "image/avif", id="avif"),
        pytest.param(b"\0\0\0\x1cftypheic", "image/heic", id="heic"),
    ],
)
@pytest.mark.parametrize("media", ["/data/cat.txt", {"url": "/data/cat.txt"}], ids=["path", "mapping"])
def test_image_path_becomes_a_data_uri_typed_by_content(content: bytes, mime_type: str, media: Any) -> None:
    asked = []

    def read(path: str, name: str) -> bytes:
        asked.append((path, name))
        return content

    request = VideoRequest(prompt="p", image=media).with_inlined_images(read)
    assert asked == [("/data/cat.txt", "image")]
    sent = request.body()["image"]["url"]
    assert sent == f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


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
        pytest.param(b"just a text, called .png", "not JPEG, PNG", id="text"),
        pytest.param(b"", "not JPEG, PNG", id="empty"),
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
        pytest.param(
            fields(image=IMAGE_URL, reference_images=[f"https://b.example.com/a.png?sig={SECRET}"]), id="signed-in-list"
        ),
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
    assert len(request.fingerprint()) == 64


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
            fields(upload_url="https://b/v.mp4?sig=1"),
            fields(upload_url="https://b/v.mp4?sig=2"),
            id="renewed-signature",
        ),
    ],
)
def test_fingerprint_is_the_same_for_the_same_video(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert VideoRequest(**one).fingerprint() == VideoRequest(**other).fingerprint()


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
        fields(user="u"),
        fields(upload_url="https://b/v.mp4"),
        fields(extra={"seed": 1}),
        edit(prompt="A red fox in the snow"),
        extension(prompt="A red fox in the snow"),
    ],
    ids=lambda other: "-".join(str(name) for name in other if name != "prompt") or "prompt",
)
def test_fingerprint_differs_where_the_video_would(other: dict[str, Any]) -> None:
    assert VideoRequest(**fields()).fingerprint() != VideoRequest(**other).fingerprint()


def test_fingerprint_takes_in_what_else_must_be_the_same() -> None:
    request = VideoRequest(**fields())
    assert (
        len({request.fingerprint(), request.fingerprint("a"), request.fingerprint("b"), request.fingerprint("a", "b")})
        == 4
    )


@given(st.text(min_size=1).filter(str.strip))
def test_any_prompt_has_a_fingerprint_and_survives_the_wire(prompt: str) -> None:
    request = VideoRequest(prompt=prompt)
    assert json.loads(json.dumps(request.body()).encode())["prompt"] == prompt
    assert request.fingerprint() == VideoRequest(prompt=prompt).fingerprint()
