"""Downloads of rendered videos, and uploads of them to ``output.upload_url``."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import web

from airflow_provider_grokvideo.sandbox import responses
from airflow_provider_grokvideo.sandbox.faults import Fault
from airflow_provider_grokvideo.sandbox.jobs import Job
from airflow_provider_grokvideo.sandbox.rendering import RendererMissingError
from airflow_provider_grokvideo.sandbox.responses import close_connection, send_truncated, to_web_response
from airflow_provider_grokvideo.sandbox.state import State
from airflow_provider_grokvideo.sandbox.video_cache import VideoCache

_MP4 = "video/mp4"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")
_DEFAULT_DELAY = 2.0
_DEFAULT_TRICKLE_RATE = 65536.0
_TRICKLE_INTERVAL = 0.05
_UPLOAD_TIMEOUT = aiohttp.ClientTimeout(total=60)


class VideoRoutes:
    """Handlers of GET /videos/{request_id}.mp4 and /files/{request_id}.mp4, which need no API key.

    The log records whether a client sends a key all the same.
    """

    def __init__(self, state: State, cache: VideoCache) -> None:
        self._state = state
        self._cache = cache

    async def video(self, request: web.Request) -> web.StreamResponse:
        """Send a video or one range of it, or apply the fault set for it."""
        request_id = request.match_info["request_id"]
        job = self._state.jobs.get(request_id)
        self._state.downloads.append(
            {
                "request_id": request_id,
                "at": time.time(),
                "method": request.method,
                "authorization": "Authorization" in request.headers,
                "range": request.headers.get("Range"),
            }
        )
        if job is None or job.state != "done":
            return to_web_response(responses.html(404, "404 Not Found"))
        query = request.query
        signed = (query.get("expires", ""), query.get("serial", ""), query.get("signature", ""))
        if not self._state.is_valid_url(job, *signed):
            return _access_denied_response()
        fault = self._state.faults.take("video", request_id=request_id, prompt=job.prompt)
        fault_response = await self._apply_fault(request, job, fault)
        if fault_response is not None:
            return fault_response
        try:
            content = await self._cache.get(job)
        except RendererMissingError as error:
            return to_web_response(responses.HTTPResponse(500, f"{error}\n", "text/plain"))
        if fault is not None and fault.name == "cut_short":
            part = content[: int(fault.number("bytes", len(content) // 2))]
            return await send_truncated(request, part, len(content), _MP4)
        if fault is not None and fault.name == "cut_clean":
            part = content[: int(fault.number("bytes", len(content) // 2))]
            return web.Response(body=part, content_type=_MP4)
        if fault is not None and fault.name == "trickle":
            return await _trickle(request, content, fault.number("bytes_per_second", _DEFAULT_TRICKLE_RATE))
        return _range_response(request, content)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Send a stored file at its public URL, which needs no signature."""
        job = self._state.jobs.get(request.match_info["request_id"])
        if job is None or job.state != "done" or not job.is_public:
            return to_web_response(responses.html(404, "404 Not Found"))
        try:
            return _range_response(request, await self._cache.get(job))
        except RendererMissingError as error:
            return to_web_response(responses.HTTPResponse(500, f"{error}\n", "text/plain"))

    async def _apply_fault(self, request: web.Request, job: Job, fault: Fault | None) -> web.StreamResponse | None:
        if fault is None:
            return None
        match fault.name:
            case "expired_url":
                self._state.expire_urls(job)
                return _access_denied_response()
            case "not_found":
                return to_web_response(responses.html(404, "404 Not Found"))
            case "server_error":
                return to_web_response(responses.html(500, "500 Internal Server Error"))
            case "html":
                return to_web_response(responses.html(200, "Please sign in"))
            case "close":
                return close_connection(request)
            case "slow":
                await asyncio.sleep(fault.number("delay", _DEFAULT_DELAY))
        return None


def _access_denied_response() -> web.Response:
    details = "<Code>AccessDenied</Code><Message>Request has expired</Message>"
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error>{details}</Error>'
    return to_web_response(responses.HTTPResponse(403, text, "application/xml"))


def _range_response(request: web.Request, content: bytes) -> web.Response:
    total = len(content)
    headers = {"Accept-Ranges": "bytes"}
    requested = _RANGE.match(request.headers.get("Range", ""))
    if requested is None or requested.group(0) == "bytes=-":
        return web.Response(body=content, content_type=_MP4, headers=headers)
    first, last = requested.groups()
    start = int(first) if first else max(0, total - int(last))
    end = min(int(last), total - 1) if first and last else total - 1
    if start >= total or end < start:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{total}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{total}"
    return web.Response(status=206, body=content[start : end + 1], content_type=_MP4, headers=headers)


async def _trickle(request: web.Request, content: bytes, bytes_per_second: float) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": _MP4, "Content-Length": str(len(content))})
    await response.prepare(request)
    step = max(1, int(bytes_per_second * _TRICKLE_INTERVAL))
    # This fault exists to make clients give up, so a closed connection is expected.
    with suppress(ConnectionResetError):
        for start in range(0, len(content), step):
            await response.write(content[start : start + step])
            await asyncio.sleep(_TRICKLE_INTERVAL)
        await response.write_eof()
    return response


class Uploads:
    """Background PUTs of finished videos to the ``output.upload_url`` of their submission.

    A job with an upload URL stays pending until its video is uploaded.
    """

    def __init__(self, state: State, cache: VideoCache) -> None:
        self._state = state
        self._cache = cache
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._finish_events: dict[str, asyncio.Event] = {}
        state.jobs.on_finish(self._on_finish)

    def start(self, job: Job) -> None:
        """Start a task that uploads the video of this job when the job ends, if the job has an upload URL."""
        if not job.uploading:
            return
        self._finish_events[job.request_id] = asyncio.Event()
        task = asyncio.create_task(self._upload(job))
        self._tasks[job.request_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.request_id, None))

    async def close(self) -> None:
        """Cancel uploads that are not finished."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_finish(self, job: Job) -> None:
        finished = self._finish_events.get(job.request_id)
        if finished is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(finished.set)

    async def _upload(self, job: Job) -> None:
        try:
            async with asyncio.timeout(job.remaining_seconds):
                await self._finish_events[job.request_id].wait()
        except TimeoutError:
            pass
        try:
            if job.outcome == "done":
                await self._put(job)
        finally:
            self._finish_events.pop(job.request_id, None)
            job.uploading = False

    async def _put(self, job: Job) -> None:
        url = job.upload_url or ""
        record: dict[str, Any] = {"request_id": job.request_id, "at": time.time(), "url": url}
        fault = self._state.faults.take("upload", request_id=job.request_id, prompt=job.prompt)
        try:
            content = await self._cache.get(job)
            if fault is not None and fault.name == "skip":
                record.update(status=None, size_bytes=0, error="skipped")
                return
            if fault is not None and fault.name == "cut_short":
                content = content[: len(content) // 2]
            async with (
                aiohttp.ClientSession(timeout=_UPLOAD_TIMEOUT) as session,
                session.put(url, data=content, headers={"Content-Type": "video/mp4"}) as response,
            ):
                record.update(status=response.status, size_bytes=len(content), error=None)
        except (aiohttp.ClientError, TimeoutError, OSError, RendererMissingError) as error:
            record.update(status=None, size_bytes=0, error=f"{type(error).__name__}: {error}")
        finally:
            self._state.uploads.append(record)
