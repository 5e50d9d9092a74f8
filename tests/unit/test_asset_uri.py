"""The asset URI of a saved file: valid for Airflow, and it leads back to the file."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.results import asset_uri, emit_asset_events


def model(uri: str) -> Any:
    """Return what the API server stores of an asset; it refuses more than the asset's class does."""
    try:
        from airflow.models.asset import AssetModel
    except ImportError:
        from airflow.models.dataset import DatasetModel as AssetModel
    return AssetModel(uri=uri)


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("file:///data/fox.mp4", "file:///data/fox.mp4"),
        ("/data/fox.mp4", "file:///data/fox.mp4"),
        ("local:///data/fox.mp4", "file:///data/fox.mp4"),
        ("file://conn@/data/fox.mp4", "file:///data/fox.mp4"),
        ("s3://bucket/a/fox.mp4", "s3://bucket/a/fox.mp4"),
        ("s3://my_conn@bucket/a/fox.mp4", "s3://bucket/a/fox.mp4"),
        ("S3://bucket/fox.mp4", "s3://bucket/fox.mp4"),
        (
            "gs://c@bucket/manual__2026-11-24T10:00:00+00:00/fox.mp4",
            "gs://bucket/manual__2026-11-24T10:00:00+00:00/fox.mp4",
        ),
        ("s3://c@bucket/a@b.mp4", "s3://bucket/a@b.mp4"),
        ("s3://bucket/What is love?.mp4", "s3://bucket/What%20is%20love%3F.mp4"),
        ("s3://bucket/take #2.mp4", "s3://bucket/take%20%232.mp4"),
        ("s3://bucket/100%.mp4", "s3://bucket/100%25.mp4"),
        ("s3://bucket/a%20b.mp4", "s3://bucket/a%2520b.mp4"),
        ("s3://bucket/[1].mp4", "s3://bucket/%5B1%5D.mp4"),
        ("/data/Zoë.mp4", "file:///data/Zo%C3%AB.mp4"),
        ("/data/Zoe\u0308.mp4", "file:///data/Zoe%CC%88.mp4"),
        ("/data/🎬.mp4", "file:///data/%F0%9F%8E%AC.mp4"),
        # A connection may stand for the host, and Airflow leaves out an empty one.
        ("memory://c@/bucket/fox.mp4", "memory:/bucket/fox.mp4"),
        ("memory://bücket/fox.mp4", "memory://b%C3%BCcket/fox.mp4"),
    ],
)
def test_uri_is_encoded_and_names_no_connection(path: str, uri: str) -> None:
    assert asset_uri(path) == uri
    assert Asset(uri).uri == uri
    assert model(uri).uri == uri


def test_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("videos/fox.mp4", "file://videos/fox.mp4", "./videos/fox.mp4"):
        assert asset_uri(path) == f"file://{tmp_path}/videos/fox.mp4"


@given(
    store=st.sampled_from(["", "file://", "s3://bucket", "gs://conn@bucket", "abfs://c@container@account"]),
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(lambda key: key.strip("/")),
)
def test_any_path_survives_as_an_asset(store: str, key: str) -> None:
    path = f"{store}/x{key}x"
    uri = asset_uri(path)
    assert uri.isascii()
    assert Asset(uri).uri == uri
    assert model(uri).uri == uri
    parts = urllib.parse.urlsplit(uri)
    assert not parts.query
    assert not parts.fragment
    assert "conn" not in parts.netloc
    if store not in {"", "file://"}:
        assert urllib.parse.unquote(parts.path) == f"/x{key}x"


def test_invalid_asset_does_not_fail_the_task(caplog: pytest.LogCaptureFixture) -> None:
    class Events:
        added: list[str] = []

        def __getitem__(self, _: AssetAlias) -> Events:
            return self

        def add(self, asset: Any, extra: dict[str, Any]) -> None:
            self.added.append(asset.uri)

    alias, events = AssetAlias("videos"), Events()
    context: Any = {"outlet_events": events}
    emit_asset_events(context, [alias], {"path": f"s3://bucket/{'é' * 4000}.mp4"})
    emit_asset_events(context, [alias], {"path": "s3://bucket/é.mp4"})
    assert events.added == ["s3://bucket/%C3%A9.mp4"]
    assert "No asset event" in caplog.text
