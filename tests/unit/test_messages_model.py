"""Messages about models and money: what a model or an API does not offer, list prices, and ``max_cost_usd``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_grokvideo.api.models import check_cost, describe_cost, explain_rejected_model, read_prices
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.validation import validate_for_model
from airflow_provider_grokvideo.exceptions import InvalidRequestError, RequestRejectedError
from tests.support.request_fields import (
    CLASSIC_MODEL,
    IMAGE_URL,
    LATE_MODEL,
    LITE_MODEL,
    edit,
    extension,
    fields,
    keyframe,
)

REFERENCES = [IMAGE_URL]
FILE = {"file_id": "f1"}
NO_FILES = "Use a URL or data URI on CometAPI: only xAI stores files."
NO_PROMPT = "prompt=None is not valid. Use a text that is not empty: only xAI animates an image without one."
PRICES = "Use US dollars for 480p, 720p, 1080p (each second), image (each) and input_video (each second)."
PRICE = "Use a number of US dollars, 0 or more."

NOT_OFFERED: list[tuple[dict[str, Any], bool, str]] = [
    (
        fields(resolution="1080p"),
        True,
        "resolution='1080p' is not valid. Use 480p or 720p on grok-imagine-video, or a model that makes 1080p: "
        "grok-imagine-video-1.5, grok-imagine-video-1.5-lite.",
    ),
    (
        edit(model=LATE_MODEL),
        True,
        "model='grok-imagine-video-1.5' is not valid. Use grok-imagine-video: no other model offers an edit.",
    ),
    (
        extension(model=LATE_MODEL),
        False,
        "model='grok-imagine-video-1.5' is not valid. Use grok-imagine-video: no other model offers an extension.",
    ),
    (
        extension(model=f"{LATE_MODEL}-preview"),
        True,
        "model='grok-imagine-video-1.5-preview' is not valid. Use grok-imagine-video: no other model offers an "
        "extension.",
    ),
    (
        fields(reference_images=REFERENCES, duration=11),
        True,
        "duration=11 is not valid. Use 1 to 10 seconds with reference_images on grok-imagine-video.",
    ),
    *(
        (
            fields(reference_images=REFERENCES, image=IMAGE_URL, model=model),
            True,
            f"reference_images={REFERENCES} is not valid. {model} does not take it beside image. "
            "Use grok-imagine-video-1.5, or leave out one of the two.",
        )
        for model in (CLASSIC_MODEL, f"{CLASSIC_MODEL}-2026-01-28")
    ),
    (
        fields(reference_images=REFERENCES, model=LITE_MODEL),
        True,
        f"reference_images={REFERENCES} is not valid. grok-imagine-video-1.5-lite does not take it. "
        "Use grok-imagine-video-1.5, or leave it out.",
    ),
    (
        fields(reference_images=REFERENCES, resolution="1080p", model=LATE_MODEL),
        False,
        "resolution='1080p' is not valid. Use 480p or 720p with reference_images.",
    ),
    *(
        (
            fields(model=model, **given),
            True,
            f"{shown} is not valid. {model} does not take it. Use grok-imagine-video-1.5, or leave it out.",
        )
        for model in (CLASSIC_MODEL, LITE_MODEL)
        for given, shown in (
            ({"last_frame": IMAGE_URL}, f"last_frame='{IMAGE_URL}'"),
            ({"keyframes": [keyframe(2.0)]}, f"keyframes={[keyframe(2.0)]}"),
        )
    ),
    (
        fields(aspect_ratio="21:9"),
        False,
        "aspect_ratio='21:9' is not valid. Use one of 1:1, 16:9, 9:16, 4:3, 3:4, 3:2, 2:3 on CometAPI: only xAI has "
        "more.",
    ),
    ({"image": IMAGE_URL}, False, NO_PROMPT),
    ({"keyframes": [keyframe()], "model": LATE_MODEL}, False, NO_PROMPT),
    (fields(image=FILE), False, f"image={FILE} is not valid. {NO_FILES}"),
    (edit(video=FILE), False, f"video={FILE} is not valid. {NO_FILES}"),
    (fields(last_frame=FILE, model=LATE_MODEL), False, f"last_frame={FILE} is not valid. {NO_FILES}"),
    (fields(reference_images=[IMAGE_URL, FILE]), False, f"reference_images[1]={FILE} is not valid. {NO_FILES}"),
    (
        fields(keyframes=[keyframe(image=FILE)], model=LATE_MODEL),
        False,
        f"keyframes[0].image={FILE} is not valid. {NO_FILES}",
    ),
]


@pytest.mark.parametrize(("given_fields", "xai", "message"), NOT_OFFERED, ids=[case[2][:40] for case in NOT_OFFERED])
def test_what_a_model_or_api_does_not_offer_gets_its_message(
    given_fields: dict[str, Any], xai: bool, message: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        validate_for_model(VideoRequest(**given_fields).with_model(None), xai=xai)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("cost", "ceiling", "given_fields", "message"),
    [
        *(
            (
                cost,
                ceiling,
                {},
                f"Not sent: this request costs up to {shown} USD, more than max_cost_usd={ceiling}. Nothing was "
                "billed. Raise max_cost_usd, or change the request.",
            )
            for cost, shown, ceiling in (
                ("0.10", "0.10", 0.01),
                ("0.4", "0.40", "0"),
                ("0.696", "0.696", 0.5),
                ("4", "4.00", Decimal(3)),
            )
        ),
        (
            None,
            5,
            {"model": "a-model"},
            "Not sent: max_cost_usd=5 cannot be checked. No list price is known for model 'a-model' in 480p. Set "
            "prices in the connection's extra or in [grokvideo] prices. Nothing was billed.",
        ),
        (
            None,
            5,
            {"extra": {"n": 2, "seed": 1, "fps": 60}},
            "Not sent: max_cost_usd=5 cannot be checked. The price is unknown: extra['fps'], extra['n'] may change it. "
            "Nothing was billed.",
        ),
        *(
            ("0.40", wrong, {}, f"max_cost_usd={wrong!r} is not valid. {PRICE}")
            for wrong in ("", "a little", -1, "NaN", float("inf"), True, "sNaN", [1])
        ),
    ],
)
def test_cost_that_may_not_be_spent_gets_its_message(
    cost: str | None, ceiling: Any, given_fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_cost(None if cost is None else Decimal(cost), ceiling, VideoRequest(**fields(**given_fields)))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("cost", "model", "message"),
    [
        ("0.1", None, "This request costs up to 0.10 USD, by the list prices of 2026-11-24 or your own."),
        (
            None,
            "a-model",
            "No list price is known for model 'a-model' in 480p. Set prices in the connection's extra or in "
            "[grokvideo] prices.",
        ),
    ],
    ids=["known", "unknown"],
)
def test_log_names_the_estimate_or_why_there_is_none(cost: str | None, model: str | None, message: str) -> None:
    request = VideoRequest(**fields(model=model))
    assert describe_cost(None if cost is None else Decimal(cost), request) == message


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        *(
            (
                wrong,
                f'prices={wrong!r} is not valid. Use {{"<model>": {{"480p": <US dollars per second>, …, '
                '"image": <US dollars each>}}.',
            )
            for wrong in ([], "0.05")
        ),
        *(
            ({"m": wrong}, f"prices['m']={wrong!r} is not valid. {PRICES}")
            for wrong in (0.05, {}, {"image": Decimal("0.01")})
        ),
        *(
            ({"m": {"480p": wrong}}, f"prices['m']['480p']={wrong!r} is not valid. {PRICE}")
            for wrong in ("cheap", -1, float("nan"), None, True)
        ),
        *(
            ({"m": {"480p": 0.05, unit: 1}}, f"prices['m'] has the unknown unit '{unit}'. {PRICES}")
            for unit in ("480", "second", 720)
        ),
    ],
    ids=str,
)
def test_wrong_prices_get_their_message(prices: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_prices(prices)
    assert str(caught.value) == message


COMET = "no available channel for group default and model grok-imagine-vidoe (distributor) (request id: 1)"
XAI = "The model grok-imagine-vidoe does not exist or your team 1 does not have access to it."


@pytest.mark.parametrize(
    ("status", "code", "said", "details"),
    [
        (503, "model_not_found", COMET, "HTTP 503, code model_not_found"),
        (503, "", COMET, "HTTP 503"),
        (404, "not-found", XAI, "HTTP 404, code not-found"),
        (400, "invalid-argument", "Model not found: m", "HTTP 400, code invalid-argument"),
        (400, "invalid-argument", "Unknown model m", "HTTP 400, code invalid-argument"),
    ],
)
def test_rejected_model_gets_the_nearest_known_name(status: int, code: str, said: str, details: str) -> None:
    explained = explain_rejected_model(RequestRejectedError(said, status=status, code=code), "grok-imagine-vidoe")
    assert type(explained) is RequestRejectedError
    assert (explained.status, explained.code) == (status, code)
    assert str(explained) == (
        f"The API offers no model 'grok-imagine-vidoe' to this key ({details}): {said.rstrip('.')}. Nothing was "
        "billed. Did you mean 'grok-imagine-video'? The connection test lists the models that it offers."
    )


def test_rejected_model_that_is_known_gets_no_other_name() -> None:
    error = RequestRejectedError("Unknown model", status=503, code="model_not_found")
    assert str(explain_rejected_model(error, "grok-imagine-video")) == (
        "The API offers no model 'grok-imagine-video' to this key (HTTP 503, code model_not_found): Unknown model. "
        "Nothing was billed. The connection test lists the models that it offers."
    )
