"""Hostile answers through trigger and operator: clean events, XComs and logs, and no second POST."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.triggers import grokvideo
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoSensorTrigger, GrokVideoTrigger
from tests.support.connections import connection
from tests.support.hostile import ID, KEY, NASTY, SIGNED_URL, assert_clean, disguises
from tests.support.task_run import TaskRun
from tests.support.video_tasks import video_task

LIMIT = 16_384
"""Bytes of a line that quotes several fields of the API."""
CASES = [*NASTY, *disguises(KEY), "x" * 200_000]


class Api:
    """Answers every poll with the same body, every submission with another, and videos with theirs."""

    def __init__(self) -> None:
        self.poll: bytes = b"{}"
        self.status = 200
        self.submission: bytes = b"{}"
        self.video: bytes = b""
        self.posts = 0
        self.port = 0


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/v.mp4"):
                return self.say(200, api.video)
            return self.say(api.status, api.poll)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            api.posts += 1
            self.say(200, api.submission)

        def say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        api.port = server.server_address[1]
        host = f"http://127.0.0.1:{api.port}/grok/v1"
        monkeypatch.setenv("AIRFLOW_CONN_HOSTILE", connection(host, KEY))
        yield api
        server.shutdown()
        thread.join()


def events_of(trigger: GrokVideoTrigger) -> list[Any]:
    async def fired() -> list[Any]:
        return [event async for event in trigger.run()]

    return asyncio.run(fired())


def assert_all_clean(value: Any) -> None:
    """Assert that Airflow can send, store and show a value, and that nothing in it is a secret."""
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    if isinstance(value, str):
        assert_clean(value, limit=LIMIT)
    elif isinstance(value, dict):
        for item in value.values():
            assert_all_clean(item)


def wait(seconds: float) -> list[Any]:
    return [event.payload for event in events_of(GrokVideoTrigger("hostile", ID, 0.02, time.time() + seconds))]


@pytest.mark.parametrize("nasty", CASES, ids=lambda case: ascii(case)[:30])
def test_hostile_failure_is_one_clean_event(nasty: str, api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    error = {"code": nasty, "message": nasty}
    api.poll = json.dumps({"status": "failed", "model": nasty, "error": error, "request_id": nasty}).encode()

    (event,) = wait(60)

    assert event["status"] in {"failed", "moderated"}
    assert event["request_id"] == ID
    assert_all_clean(event)
    for record in caplog.records:
        assert_clean(record.getMessage(), limit=LIMIT)


@pytest.mark.parametrize("nasty", ["\ud800", "a\x00b", "\x1b[31mred", KEY, SIGNED_URL], ids=ascii)
@pytest.mark.parametrize("status", [200, 404, 500])
def test_hostile_answer_is_logged_clean_and_polled_again(
    status: int, nasty: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str] = []
    describe = grokvideo.describe

    def described(update: Any) -> str:
        logged.append(describe(update))
        api.status, api.poll = 200, b'{"status": "expired"}'
        return logged[-1]

    monkeypatch.setattr(grokvideo, "describe", described)
    api.status, api.poll = status, json.dumps({"status": nasty, "model": nasty, "message": nasty}).encode()

    (event,) = wait(60)

    assert event["status"] == "expired"
    assert_all_clean(event)
    assert logged
    for line in logged:
        assert_clean(line, limit=LIMIT)


def test_hostile_answer_ends_a_sensor_in_the_triggerer(api: Api) -> None:
    api.poll = json.dumps({"status": "failed", "error": {"code": "\ud800", "message": f"\x00{KEY}"}}).encode()
    trigger = GrokVideoSensorTrigger("hostile", ID, 0.02, 60, deadline=time.time() + 60, end_from_trigger=True)

    (event,) = events_of(trigger)

    assert event.xcoms["outcome"]["error_message"] == "***"
    assert_all_clean(event.xcoms)


def test_long_message_does_not_block_the_event_loop(api: Api) -> None:
    api.poll = json.dumps(
        {"status": "failed", "error": {"code": "?" * 300_000, "message": "\\\ud800" * 80_000}}
    ).encode()
    slowest = 0.0

    async def beat() -> None:
        nonlocal slowest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            slowest = max(slowest, time.thread_time() - before)

    async def fired() -> list[Any]:
        heart = asyncio.create_task(beat())
        events = [event async for event in GrokVideoTrigger("hostile", ID, 0.02, time.time() + 60).run()]
        heart.cancel()
        return events

    (event,) = asyncio.run(fired())

    # CPU seconds of this thread.
    assert slowest < 0.2
    assert event.payload["status"] == "failed"


def generate(retries: int = 0, **kwargs: Any) -> TaskRun:
    return video_task(retries=retries, grokvideo_conn_id="hostile", **{"timeout": 60, **kwargs}).run()


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(
    "nasty", ["\ud800", "a\x00b", "\x1b[31mred", KEY, SIGNED_URL, "x" * 200_000], ids=lambda c: ascii(c)[:20]
)
def test_task_fails_with_a_clean_error(nasty: str, deferrable: bool, api: Api) -> None:
    api.submission = json.dumps({"request_id": ID}).encode()
    error = {"code": nasty, "message": nasty}
    api.poll = json.dumps({"status": "failed", "model": nasty, "error": error}).encode()

    task = generate(deferrable=deferrable)

    assert task.error is not None
    assert ID in str(task.error)
    assert_clean(str(task.error), limit=LIMIT)
    assert_all_clean(task.xcoms)
    assert api.posts == 1


@pytest.mark.parametrize("request_id", ["\ud800", "a\x00b", "..", "x" * 5000, KEY], ids=lambda case: ascii(case)[:20])
def test_unusable_id_is_not_paid_twice(request_id: str, api: Api) -> None:
    api.submission = json.dumps({"request_id": request_id}).encode()

    task = generate(retries=2)

    assert_clean(str(task.error), limit=LIMIT)
    assert "request_id that cannot be used" in str(task.error)
    assert api.posts == 1


@pytest.mark.parametrize("request_id", ["x" * 300, "é" * 200, "a b/../c?d=e#f%2F"], ids=lambda case: case[:6])
def test_video_of_an_unusual_id_is_saved(request_id: str, api: Api, sandbox: Any, tmp_path: Path) -> None:
    made = TaskRun(
        lambda: GrokVideoGenerateOperator(
            task_id="make",
            prompt="A lake",
            duration=1,
            poll_interval=0.02,
            timeout=30,
            output_path=f"file://{tmp_path}/v.mp4",
        )
    ).run()
    assert made.state == "success", made.error
    api.video = (tmp_path / "v.mp4").read_bytes()
    api.submission = json.dumps({"request_id": request_id}).encode()
    api.poll = json.dumps({"status": "done", "video": {"url": f"http://127.0.0.1:{api.port}/v.mp4?sig=1"}}).encode()

    task = generate(output_path=f"file://{tmp_path}/out/")

    assert task.state == "success", task.error
    assert task.result["request_id"] == request_id
    assert [path.stat().st_size for path in (tmp_path / "out").iterdir()] == [task.result["size_bytes"]]
