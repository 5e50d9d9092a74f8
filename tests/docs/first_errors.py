"""The first mistakes people make and what the package says to each, as a page of the documentation.

``python -m tests.docs.first_errors`` makes every mistake and writes the page anew.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from airflow_provider_grokvideo import storage
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.version_compat import check_airflow_version
from tests.support.connections import connection
from tests.support.video_tasks import video_task

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "first-errors.md"
KEY = "sandbox-key"
HEAD = """# First errors

Mistakes that people make in the first hour, and the message of each. A test makes every one of them.

| Mistake | Message |
|---|---|
"""


def run_task(**arguments: Any) -> Exception | None:
    """Return the error that a task ends with."""
    error = video_task(**arguments).run().error
    assert error is None or isinstance(error, Exception)
    return error


def submit() -> Exception | None:
    """Return the error that one submission ends with: a task would repeat it for a while."""
    return error_of(lambda: GrokVideoHook().submit(VideoRequest(prompt="A lake", duration=1)))


def error_of(act: Callable[[], object]) -> Exception | None:
    """Return the error of a call."""
    try:
        act()
    except Exception as error:
        return error
    return None


def unknown_host(*_: Any, **__: Any) -> Any:
    """Answer as a resolver that does not know the name."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class UnsupportedPath(str):
    """A path whose filesystem is not installed."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> UnsupportedPath:
        raise ValueError("No filesystem registered for scheme s3")


def connect(defined: str | None) -> Any:
    """Set or remove the connection ``grokvideo_default``."""
    name = "AIRFLOW_CONN_GROKVIDEO_DEFAULT"
    changed = {key: value for key, value in os.environ.items() if key != name}
    return mock.patch.dict(os.environ, changed | ({name: defined} if defined else {}), clear=True)


def make_mistakes() -> Iterator[tuple[str, Exception | None]]:
    """Make every mistake; yield it with its error."""
    with Sandbox(api_key=KEY) as sandbox:
        url = sandbox.base_url
        with connect(connection(url, "a-wrong-key")):
            yield "The key is wrong", run_task()
        with connect(connection(url, None)):
            yield "The connection has no key", run_task()
        with connect(None):
            yield "The connection does not exist", run_task()
        with connect(connection(f"{url}/wrong", KEY)):
            yield "The host is a web server, but not the API", run_task()
        with connect(connection(url, KEY)):
            yield "The model has a typo", run_task(model="grok-imagine-vidoe")
            yield "The image does not exist", run_task(image="/data/lake.png")
            yield "`duration=16`", run_task(duration=16)
            yield "`max_cost_usd` is too low", run_task(duration=8, max_cost_usd=0.1)
            with mock.patch.object(storage.StoreFile, "writer", side_effect=PermissionError(13, "Permission denied")):
                yield "The directory is not writable", run_task(output_path="/var/videos/")
            with mock.patch.object(storage, "ObjectStoragePath", UnsupportedPath):
                yield "The package for S3 is missing", run_task(output_path="s3://my-bucket/videos/")
    with connect(connection(url, KEY)):
        yield "The sandbox is not running", submit()
    with connect(connection("https://api.cometapi.example", KEY)), mock.patch("socket.getaddrinfo", unknown_host):
        yield "The host has a typo", submit()
    yield "Airflow is too old", error_of(lambda: check_airflow_version("2.10.5"))


def collect_messages() -> Mapping[str, str]:
    """Return the message to each mistake, without what differs in every run."""
    messages = {}
    for mistake, error in make_mistakes():
        assert error is not None, mistake
        text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8765", str(error))
        messages[mistake] = re.sub(r"request id: \w+", "request id: …", text)
    return messages


def page_of(messages: Mapping[str, str]) -> str:
    """Return the page."""
    rows = (f"| {mistake} | `{message.replace('|', '/')}` |\n" for mistake, message in messages.items())
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page_of(collect_messages()))
