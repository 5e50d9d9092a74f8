"""GET videos/{request_id}.mp4: the file itself, from what stands in for the CDN."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress

from aiohttp import web

from airflow_provider_grokvideo.sandbox import envelopes
from airflow_provider_grokvideo.sandbox.answering import hang_up, send, send_part
from airflow_provider_grokvideo.sandbox.faults import Fault
from airflow_provider_grokvideo.sandbox.films import Films
from airflow_provider_grokvideo.sandbox.jobs import Job
from airflow_provider_grokvideo.sandbox.render import RendererMissingError
from airflow_provider_grokvideo.sandbox.studio import Studio

_MP4 = "video/mp4"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")
_SLOW = 2.0
_TRICKLE = 65536.0
_TICK = 0.05


class VideoRoutes:
    """Hands out rendered videos. Needs no key, and notes when a client sends one all the same."""

    def __init__(self, studio: Studio, films: Films) -> None:
        self._studio = studio
        self._films = films

    async def video(self, request: web.Request) -> web.StreamResponse:
        """Serve one video or one range of it, after letting an armed fault spoil it."""
        request_id = request.match_info["request_id"]
        job = self._studio.jobs.get(request_id)
        self._studio.downloads.append(
            {
                "request_id": request_id,
                "at": time.time(),
                "method": request.method,
                "authorization": "Authorization" in request.headers,
                "range": request.headers.get("Range"),
            }
        )
        if job is None or job.state != "done":
            return send(envelopes.html(404, "404 Not Found"))
        query = request.query
        address = (query.get("expires", ""), query.get("serial", ""), query.get("signature", ""))
        if not self._studio.is_valid_address(job, *address):
            return _access_denied()
        fault = self._studio.faults.take("video", request_id=request_id, prompt=job.prompt)
        spoiled = await self._spoil(request, job, fault)
        if spoiled is not None:
            return spoiled
        try:
            content = await self._films.get(job)
        except RendererMissingError as missing:
            return send(envelopes.Answer(500, f"{missing}\n", "text/plain"))
        if fault is not None and fault.name == "cut_short":
            part = content[: int(fault.number("bytes", len(content) // 2))]
            return await send_part(request, part, len(content), _MP4)
        if fault is not None and fault.name == "cut_clean":
            part = content[: int(fault.number("bytes", len(content) // 2))]
            return web.Response(body=part, content_type=_MP4)
        if fault is not None and fault.name == "trickle":
            return await _trickle(request, content, fault.number("bytes_per_second", _TRICKLE))
        return _ranged(request, content)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Serve a stored file under its public URL, which needs no signature."""
        job = self._studio.jobs.get(request.match_info["request_id"])
        if job is None or job.state != "done" or not job.is_public:
            return send(envelopes.html(404, "404 Not Found"))
        try:
            return _ranged(request, await self._films.get(job))
        except RendererMissingError as missing:
            return send(envelopes.Answer(500, f"{missing}\n", "text/plain"))

    async def _spoil(self, request: web.Request, job: Job, fault: Fault | None) -> web.StreamResponse | None:
        if fault is None:
            return None
        match fault.name:
            case "expired_url":
                self._studio.expire_addresses(job)
                return _access_denied()
            case "not_found":
                return send(envelopes.html(404, "404 Not Found"))
            case "server_error":
                return send(envelopes.html(500, "500 Internal Server Error"))
            case "html":
                return send(envelopes.html(200, "Please sign in"))
            case "close":
                return hang_up(request)
            case "slow":
                await asyncio.sleep(fault.number("delay", _SLOW))
        return None


def _access_denied() -> web.Response:
    details = "<Code>AccessDenied</Code><Message>Request has expired</Message>"
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error>{details}</Error>'
    return send(envelopes.Answer(403, text, "application/xml"))


def _ranged(request: web.Request, content: bytes) -> web.Response:
    total = len(content)
    headers = {"Accept-Ranges": "bytes"}
    asked = _RANGE.match(request.headers.get("Range", ""))
    if asked is None or asked.group(0) == "bytes=-":
        return web.Response(body=content, content_type=_MP4, headers=headers)
    first, last = asked.groups()
    start = int(first) if first else max(0, total - int(last))
    end = min(int(last), total - 1) if first and last else total - 1
    if start >= total or end < start:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{total}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{total}"
    return web.Response(status=206, body=content[start : end + 1], content_type=_MP4, headers=headers)


async def _trickle(request: web.Request, content: bytes, bytes_per_second: float) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": _MP4, "Content-Length": str(len(content))})
    await response.prepare(request)
    step = max(1, int(bytes_per_second * _TICK))
    # A client that tires of waiting is what this fault is for.
    with suppress(ConnectionResetError):
        for start in range(0, len(content), step):
            await response.write(content[start : start + step])
            await asyncio.sleep(_TICK)
        await response.write_eof()
    return response
