"""A finished generation, its video and stores to save it to."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.saved_videos import client_of


@pytest.fixture(scope="module")
def request_id(_sandbox: Sandbox) -> str:
    """Return a finished generation that all tests share: it is rendered once."""
    request_id = client_of(_sandbox).submit(VideoRequest(prompt="A red fox in the snow", duration=1))
    _sandbox.finish(request_id)
    return request_id


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat at once."""
    monkeypatch.setattr("airflow_provider_grokvideo.utils.retries.PAUSE", 0.0)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[GrokVideoClient]:
    """Return a client of it."""
    with client_of(sandbox) as opened:
        yield opened


@pytest.fixture
def done(client: GrokVideoClient, request_id: str) -> Generation:
    """Return the finished generation, with a fresh URL."""
    generation = client.get_generation(request_id)
    assert generation.state == "done"
    return generation


@pytest.fixture(scope="module")
def content(_sandbox: Sandbox, request_id: str) -> bytes:
    """Return the bytes of the video, fetched by another way."""
    with urlopen(client_of(_sandbox).get_generation(request_id).video_url or "") as answer:
        content: bytes = answer.read()
    assert content[4:8] == b"ftyp"
    return content


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, attached: Callable[..., str]) -> ObjectStoragePath:
    """Return a directory on each kind of store."""
    if request.param == "local":
        return ObjectStoragePath(f"file://{tmp_path}/videos")
    if request.param == "memory":
        return ObjectStoragePath(f"{attached(MemoryFileSystem())}{uuid.uuid4().hex}/videos")
    return ObjectStoragePath(f"{attached(request.getfixturevalue('s3'), 's3')}bucket/{uuid.uuid4().hex}/videos")
