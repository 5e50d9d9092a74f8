"""The result object of a task."""

from __future__ import annotations

import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.results import to_result
from airflow_provider_grokvideo.storage import Landed
from tests.support.generations import DONE, ID


def test_result_has_documented_fields() -> None:
    saved = Landed("s3://conn@bucket/x.mp4", 12345, "ab" * 32)
    result = to_result(DONE, saved, model="asked-for", elapsed_seconds=12.34567)
    assert result == {
        "request_id": ID,
        "status": "done",
        "model": "grok-imagine-video",
        "video_url": "https://v.example.com/x.mp4?sig=1",
        "duration": 8,
        "cost_usd": "0.40",
        "path": "s3://conn@bucket/x.mp4",
        "size_bytes": 12345,
        "sha256": "ab" * 32,
        "content_type": "video/mp4",
        "elapsed_seconds": 12.346,
    }
    assert json.loads(json.dumps(result)) == result


def test_result_names_requested_model_if_api_names_none() -> None:
    result = to_result(Generation(ID, "done", video_url="https://v/x.mp4"), None, model="asked-for", elapsed_seconds=1)
    assert result["model"] == "asked-for"
    assert [result[name] for name in ("path", "size_bytes", "sha256", "content_type", "cost_usd")] == [None] * 5


@given(st.decimals(min_value=0, max_value=10**6, places=10))
def test_cost_is_exact_decimal_text(cost: Decimal) -> None:
    text = to_result(Generation(ID, "failed", cost_usd=cost), None, model="m", elapsed_seconds=0)["cost_usd"]
    assert Decimal(text) == cost
    assert "E" not in text
