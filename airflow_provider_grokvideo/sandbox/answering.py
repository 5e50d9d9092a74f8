"""Sending an answer, well or badly."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from aiohttp import web

from airflow_provider_grokvideo.sandbox.envelopes import Answer
from airflow_provider_grokvideo.sandbox.validation import Style


def style_of(request: web.Request) -> Style:
    """Whose dialect this path speaks."""
    return "comet" if request.path.startswith("/grok/") else "xai"


def _encoded(answer: Answer) -> bytes:
    # A caller's own text may come back in it, half a surrogate pair included.
    return answer.text.encode(errors="replace")


def send(answer: Answer) -> web.Response:
    """The answer as it should be."""
    body = _encoded(answer)
    if not body:
        return web.Response(status=answer.status, headers=answer.headers)
    return web.Response(
        status=answer.status,
        body=body,
        content_type=answer.content_type,
        charset="utf-8",
        headers=answer.headers,
    )


def hang_up(request: web.Request) -> web.Response:
    """Close the connection without a word."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def send_half(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Promise the whole body, send the first half, close."""
    body = _encoded(answer)
    return await send_part(request, body[: len(body) // 2], len(body), answer.content_type)


async def send_part(request: web.Request, part: bytes, promised: int, content_type: str) -> web.StreamResponse:
    """Send ``part`` of a body that the headers say is ``promised`` bytes long, then close."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "Content-Length": str(promised)})
    await response.prepare(request)
    await response.write(part)
    # Lets what was written leave before the connection goes.
    await asyncio.sleep(0)
    hang_up(request)
    return response


def redirect() -> NoReturn:
    """Send the caller to a web page, as the gateway does for paths it does not know."""
    raise web.HTTPMovedPermanently("/sandbox/page")
