"""POST videos/generations, edits and extensions."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from airflow_provider_grokvideo.sandbox import envelopes
from airflow_provider_grokvideo.sandbox.answering import hang_up, redirect, send, send_half, style_of
from airflow_provider_grokvideo.sandbox.faults import Fault, hashtags
from airflow_provider_grokvideo.sandbox.jobs import Job
from airflow_provider_grokvideo.sandbox.models import (
    DEFAULT_ASPECT_RATIO,
    DEFAULT_DURATION,
    DEFAULT_MODEL,
    DEFAULT_RESOLUTION,
    DEFAULT_SOURCE_SECONDS,
    cost_in_ticks,
    find_model,
)
from airflow_provider_grokvideo.sandbox.studio import Studio
from airflow_provider_grokvideo.sandbox.validation import Kind, Style, check, extension_failure, input_images

KINDS: dict[str, Kind] = {"generations": "generation", "edits": "edit", "extensions": "extension"}
_NOT_RECORDED = {"authorization", "x-api-key", "cookie", "proxy-authorization"}
_SLOW = 2.0


class SubmitRoutes:
    """Accepts or refuses submissions."""

    def __init__(self, studio: Studio, accepted: Callable[[Job], None]) -> None:
        self._studio = studio
        self._accepted = accepted

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """Judge one submission, then let an armed fault spoil it."""
        style = style_of(request)
        kind = KINDS[request.match_info["what"]]
        raw = await request.read()
        body = _json_object(raw)
        prompt = str(body.get("prompt") or "") if body is not None else ""
        fault = self._studio.faults.take("submit", prompt=prompt) or _asked_for(prompt)

        if fault is not None and fault.name == "slow_before_accept":
            await asyncio.sleep(fault.number("delay", _SLOW))
        if fault is not None and fault.name == "close_before_accept":
            self._refuse(request, prompt, None, fault.name)
            return hang_up(request)
        if fault is not None and fault.name == "redirect":
            self._refuse(request, prompt, 301, fault.name)
            redirect()

        refusal = _faulty_answer(style, fault, body) or self._judge(kind, body, style)
        if refusal is not None:
            self._refuse(request, prompt, refusal.status, fault.name if fault else None, refusal.text)
            return send(refusal)
        if body is None:  # pragma: no cover - _judge has refused it
            raise web.HTTPBadRequest
        job = self._accept(kind, request, body, prompt)
        return await self._answer(request, fault, job)

    def _judge(self, kind: Kind, body: dict[str, Any] | None, style: Style) -> envelopes.Answer | None:
        if body is None:
            return envelopes.error(style, "not_json", "the body must be a JSON object")
        source = self._studio.source_of(body)
        refusal = check(kind, body, style, source.duration if source else None)
        if refusal is None:
            return None
        if refusal.reason == "unknown_model":
            return envelopes.unknown_model(style, refusal.message)
        return envelopes.error(style, refusal.reason, refusal.message, refusal.field)

    def _accept(self, kind: Kind, request: web.Request, body: dict[str, Any], prompt: str) -> Job:
        studio = self._studio
        job = _job(studio, kind, request, body, prompt)
        fate = studio.faults.take("outcome", prompt=prompt)
        if fate is not None:
            job.outcome = fate.name
            if "code" in fate.options:
                job.failure = (str(fate.options["code"]), str(fate.options.get("message", "The generation failed.")))
        for on, name in hashtags(prompt):
            if on == "outcome":
                job.outcome = name
            elif on != "submit":
                studio.faults.arm(Fault(on, name, request_id=job.request_id))
        source = studio.source_of(body)
        reason = extension_failure(kind, body, source.duration if source else None)
        if reason is not None:
            job.outcome, job.failure = "failed", ("invalid_argument", reason)
        job.uploading = job.upload_url is not None and job.outcome == "done"
        studio.jobs.add(job)
        self._accepted(job)
        return job

    async def _answer(self, request: web.Request, fault: Fault | None, job: Job) -> web.StreamResponse:
        answer = envelopes.of_json({"request_id": job.request_id})
        name = fault.name if fault else None
        if fault is not None and name == "slow_after_accept":
            await asyncio.sleep(fault.number("delay", _SLOW))
        if name == "close_after_accept":
            return hang_up(request)
        if name == "half_answer":
            return await send_half(request, answer)
        if name == "no_id":
            return send(envelopes.of_json({}))
        if name == "html":
            return send(envelopes.html(200, "CometAPI"))
        return send(answer)

    def _refuse(self, request: web.Request, prompt: str, status: int | None, fault: str | None, text: str = "") -> None:
        self._studio.refusals.append(
            {
                "path": request.path,
                "prompt": prompt,
                "status": status,
                "code": _code_in(text),
                "fault": fault,
                "at": time.time(),
            }
        )


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _asked_for(prompt: str) -> Fault | None:
    for on, name in hashtags(prompt):
        if on == "submit":
            return Fault(on, name)
    return None


def _code_in(text: str) -> str | None:
    body = _json_object(text.encode(errors="replace"))
    if body is None:
        return None
    nested = body.get("error")
    code = nested.get("code") if isinstance(nested, dict) else body.get("code")
    return str(code) if code is not None else None


def _faulty_answer(style: Style, fault: Fault | None, body: dict[str, Any] | None) -> envelopes.Answer | None:
    if fault is None:
        return None
    if fault.name == "rate_limited":
        return envelopes.rate_limited(style, 1, fault.options.get("retry_after"))
    if fault.name == "gateway_timeout":
        status = int(fault.number("status", 504))
        return envelopes.html(status, f"{status} Gateway Time-out")
    if fault.name == "model_not_found":
        return envelopes.unknown_model(style, str((body or {}).get("model") or DEFAULT_MODEL))
    answers: dict[str, Callable[[], envelopes.Answer]] = {
        "out_of_credit_429": lambda: envelopes.error(style, "out_of_credit", envelopes.OUT_OF_CREDIT),
        "bad_key": lambda: bad_key(style, "sk-sandbox"),
        "no_quota": lambda: envelopes.error(style, "no_quota", envelopes.NO_QUOTA[style]),
        "payment_required": lambda: envelopes.error(style, "payment_required", "Payment required."),
        "invalid_request": lambda: envelopes.error(style, "missing_field", "the request is not valid"),
        "server_error": server_error,
        "bad_gateway": lambda: envelopes.html(502, "502 Bad Gateway"),
    }
    make = answers.get(fault.name)
    return make() if make else None


def bad_key(style: Style, key: str) -> envelopes.Answer:
    """The answer to a key that is not the sandbox's; shows its first two characters, as xAI does."""
    if style == "xai":
        text = f"Incorrect API key provided: {key[:2]}***. You can obtain an API key from the console."
        return envelopes.error(style, "bad_key", text)
    return envelopes.error(style, "bad_key", "Invalid token")


def server_error() -> envelopes.Answer:
    """A failure that says nothing about itself."""
    return envelopes.Answer(500, "Internal Server Error", "text/plain")


def _job(studio: Studio, kind: Kind, request: web.Request, body: dict[str, Any], prompt: str) -> Job:
    name = body.get("model") or DEFAULT_MODEL
    model = find_model(name)
    if model is None:  # pragma: no cover - refused before
        raise web.HTTPBadRequest
    source = studio.source_of(body) if kind != "generation" else None
    # An edit has its source's length; edits and extensions have its frame too, whatever they ask for.
    asked = DEFAULT_DURATION[kind]
    if kind != "edit":
        asked = body.get("duration") or body.get("seconds") or asked
    duration: float = asked
    if source is not None and kind == "edit":
        duration = source.duration
    if source is not None and kind == "extension":
        duration = source.duration + asked
    aspect_ratio, resolution = DEFAULT_ASPECT_RATIO, DEFAULT_RESOLUTION
    if source is not None:
        aspect_ratio = source.aspect_ratio
        resolution = source.resolution if source.resolution in model.per_second else DEFAULT_RESOLUTION
    elif kind == "generation":
        aspect_ratio = body.get("aspect_ratio") or aspect_ratio
        resolution = body.get("resolution") or resolution
    source_seconds = 0.0 if kind == "generation" else source.duration if source else DEFAULT_SOURCE_SECONDS
    return Job(
        request_id=studio.jobs.new_id(),
        kind=kind,
        path=request.path,
        body=body,
        headers={key: value for key, value in request.headers.items() if key.lower() not in _NOT_RECORDED},
        model=model.name,
        prompt=prompt,
        duration=duration,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        cost_ticks=cost_in_ticks(
            model, resolution, duration if kind == "edit" else asked, len(input_images(body)), source_seconds
        ),
        render_seconds=studio.options.render_seconds,
    )
