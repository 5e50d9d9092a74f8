"""Messages on a request hold no signature and no image, whatever the request holds."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.summary import fingerprint_request
from airflow_provider_grokvideo.exceptions import GrokVideoError, InvalidRequestError
from tests.support.request_fields import (
    IMAGE_URL,
    PNG,
    PNG_URI,
    edit,
    fields,
)

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
