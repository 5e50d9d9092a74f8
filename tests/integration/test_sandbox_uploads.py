"""Uploads of finished videos to ``output.upload_url``."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import pytest
import requests
from aiohttp import web

from airflow_provider_grokvideo.sandbox import Sandbox
from dev.processes import wait_until
from tests.support.sandbox_http import poll, submit


@pytest.fixture
def sandbox():
    with Sandbox(render_seconds=60) as running:
        yield running


@contextmanager
def upload_target(held=None, status=200):
    """Run a server that accepts PUTs in a thread; it responds when ``held`` is set."""
    received, arrived, ready = [], threading.Event(), threading.Event()
    state = {}

    async def put(request):
        received.append((request.path_qs, request.headers.get("Content-Type"), await request.read()))
        arrived.set()
        if held is not None:
            await asyncio.to_thread(held.wait, 60)
        return web.Response(status=status)

    async def serve():
        app = web.Application(client_max_size=2**26)
        app.router.add_put("/{name:.*}", put)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        state["stop"], state["loop"] = asyncio.Event(), asyncio.get_running_loop()
        state["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await state["stop"].wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield state["url"], received, arrived
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(10)


def test_job_is_pending_until_its_video_is_uploaded(sandbox):
    with upload_target() as (origin, received, arrived):
        request_id = submit(sandbox.base_url, duration=1, output={"upload_url": f"{origin}/bucket/v.mp4?sig=1"})
        assert sandbox.uploads == []
        sandbox.finish(request_id)
        assert arrived.wait(60)
        body: dict = {}
        while body.get("status") != "done":
            body = poll(sandbox.base_url, request_id).json()
        path, content_type, content = received[0]
        assert (path, content_type, content[4:8]) == ("/bucket/v.mp4?sig=1", "video/mp4", b"ftyp")
        assert requests.get(body["video"]["url"], timeout=30).content == content
        (record,) = sandbox.uploads
        assert record["request_id"] == request_id
        assert record["status"] == 200
        assert record["size_bytes"] == len(content)


def test_truncated_upload(sandbox):
    sandbox.fault("upload", "cut_short")
    with upload_target(status=403) as (origin, received, arrived):
        request_id = submit(sandbox.base_url, duration=1, output={"upload_url": f"{origin}/v.mp4"})
        sandbox.finish(request_id)
        assert arrived.wait(60)
        url = None
        while url is None:
            url = poll(sandbox.base_url, request_id).json().get("video", {}).get("url")
        whole = requests.get(url, timeout=30).content
    assert received[0][2] == whole[: len(whole) // 2]
    assert sandbox.uploads[0]["status"] == 403


def test_failed_upload_is_recorded(sandbox):
    request_id = submit(sandbox.base_url, duration=1, output={"upload_url": "http://127.0.0.1:9/v.mp4"})
    sandbox.finish(request_id)
    while sandbox.submissions[0]["state"] != "done":
        poll(sandbox.base_url, request_id)
    (record,) = sandbox.uploads
    assert record["status"] is None
    assert "ClientConnectorError" in record["error"]


def test_failed_job_uploads_nothing(sandbox):
    with upload_target() as (origin, received, _):
        request_id = submit(sandbox.base_url, duration=1, output={"upload_url": f"{origin}/v.mp4"})
        sandbox.finish(request_id, "failed")
        # The job is pending until its video is uploaded.
        wait_until(lambda: sandbox.submissions[0]["state"] == "failed", timeout=60, what="the job to fail")
    assert received == []
    assert sandbox.uploads == []


def test_uploading_job_reports_less_than_100_percent():
    with Sandbox(render_seconds=0.1) as sandbox, upload_target(held := threading.Event()) as (origin, received, _):
        request_id = submit(sandbox.base_url, duration=1, output={"upload_url": f"{origin}/v.mp4"})
        wait_until(lambda: received, timeout=60, what="the upload to begin")
        # The first poll of a job reports it as queued.
        queued, pending = (poll(sandbox.base_url, request_id).json() for _ in range(2))
        held.set()
    assert "status" not in queued
    assert (pending["status"], pending["progress"]) == ("processing", 99)
