"""Endpoints of the video API: submissions, polls, models and the API key."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from airflow_provider_grokvideo.sandbox import responses
from airflow_provider_grokvideo.sandbox.faults import Fault, hashtags
from airflow_provider_grokvideo.sandbox.jobs import OUTCOMES, Job
from airflow_provider_grokvideo.sandbox.models import (
    DEFAULT_ASPECT_RATIO,
    DEFAULT_DURATION,
    DEFAULT_MODEL,
    DEFAULT_RESOLUTION,
    DEFAULT_SOURCE_SECONDS,
    MODELS,
    cost_in_ticks,
    find_model,
)
from airflow_provider_grokvideo.sandbox.options import Envelope
from airflow_provider_grokvideo.sandbox.responses import (
    close_connection,
    redirect_to_page,
    request_style,
    send_half_body,
    to_web_response,
)
from airflow_provider_grokvideo.sandbox.state import State
from airflow_provider_grokvideo.sandbox.validation import (
    Kind,
    Style,
    extension_failure,
    input_images,
    validate_submission,
)

KINDS: dict[str, Kind] = {"generations": "generation", "edits": "edit", "extensions": "extension"}
_NOT_RECORDED = {"authorization", "x-api-key", "cookie", "proxy-authorization"}
_DEFAULT_DELAY = 2.0


class SubmitRoutes:
    """Handlers of POST videos/generations, videos/edits and videos/extensions."""

    def __init__(self, state: State, on_accepted: Callable[[Job], None]) -> None:
        self._state = state
        self._on_accepted = on_accepted

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """Accept or reject one submission, or apply the fault set for it."""
        style = request_style(request)
        kind = KINDS[request.match_info["what"]]
        raw = await request.read()
        body = _json_object(raw)
        prompt = str(body.get("prompt") or "") if body is not None else ""
        fault = self._state.faults.take("submit", prompt=prompt) or _fault_in_prompt(prompt)

        if fault is not None and fault.name == "slow_before_accept":
            await asyncio.sleep(fault.number("delay", _DEFAULT_DELAY))
        if fault is not None and fault.name == "close_before_accept":
            self._record_refusal(request, prompt, None, fault.name)
            return close_connection(request)
        if fault is not None and fault.name == "redirect":
            self._record_refusal(request, prompt, 301, fault.name)
            redirect_to_page()

        rejection = _submit_fault_response(style, fault, body) or self._validate(kind, body, style)
        if rejection is not None:
            self._record_refusal(request, prompt, rejection.status, fault.name if fault else None, rejection.text)
            return to_web_response(rejection)
        if body is None:  # pragma: no cover - _validate has rejected it
            raise web.HTTPBadRequest
        job = self._accept(kind, request, body, prompt)
        return await self._respond(request, fault, job)

    def _validate(self, kind: Kind, body: dict[str, Any] | None, style: Style) -> responses.HTTPResponse | None:
        if body is None:
            return responses.error(style, "not_json", "the body must be a JSON object")
        source = self._state.find_source_job(body)
        rejection = validate_submission(kind, body, style, source.duration if source else None)
        if rejection is None:
            return None
        if rejection.reason == "unknown_model":
            return responses.unknown_model(style, rejection.message)
        return responses.error(style, rejection.reason, rejection.message, rejection.field)

    def _accept(self, kind: Kind, request: web.Request, body: dict[str, Any], prompt: str) -> Job:
        state = self._state
        job = _build_job(state, kind, request, body, prompt)
        fault = state.faults.take("outcome", prompt=prompt)
        if fault is not None:
            job.outcome = fault.name
            if "code" in fault.options:
                job.failure = (str(fault.options["code"]), str(fault.options.get("message", "The generation failed.")))
        for on, name in hashtags(prompt):
            if on == "outcome":
                job.outcome = name
            elif on != "submit":
                state.faults.add(Fault(on, name, request_id=job.request_id))
        source = state.find_source_job(body)
        reason = extension_failure(kind, body, source.duration if source else None)
        if reason is not None:
            job.outcome, job.failure = "failed", ("invalid_argument", reason)
        job.uploading = job.upload_url is not None and job.outcome == "done"
        state.jobs.add(job)
        self._on_accepted(job)
        return job

    async def _respond(self, request: web.Request, fault: Fault | None, job: Job) -> web.StreamResponse:
        response = responses.json_response({"request_id": job.request_id})
        name = fault.name if fault else None
        if fault is not None and name == "slow_after_accept":
            await asyncio.sleep(fault.number("delay", _DEFAULT_DELAY))
        if name == "close_after_accept":
            return close_connection(request)
        if name == "half_answer":
            return await send_half_body(request, response)
        if name == "no_id":
            return to_web_response(responses.json_response({}))
        if name == "html":
            return to_web_response(responses.html(200, "CometAPI"))
        return to_web_response(response)

    def _record_refusal(
        self, request: web.Request, prompt: str, status: int | None, fault: str | None, text: str = ""
    ) -> None:
        self._state.refusals.append(
            {
                "path": request.path,
                "prompt": prompt,
                "status": status,
                "code": _error_code(text),
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


def _fault_in_prompt(prompt: str) -> Fault | None:
    for on, name in hashtags(prompt):
        if on == "submit":
            return Fault(on, name)
    return None


def _error_code(text: str) -> str | None:
    body = _json_object(text.encode(errors="replace"))
    if body is None:
        return None
    nested = body.get("error")
    code = nested.get("code") if isinstance(nested, dict) else body.get("code")
    return str(code) if code is not None else None


def _submit_fault_response(
    style: Style, fault: Fault | None, body: dict[str, Any] | None
) -> responses.HTTPResponse | None:
    if fault is None:
        return None
    if fault.name == "rate_limited":
        return responses.rate_limited(style, 1, fault.options.get("retry_after"))
    if fault.name == "gateway_timeout":
        status = int(fault.number("status", 504))
        return responses.html(status, f"{status} Gateway Time-out")
    if fault.name == "model_not_found":
        return responses.unknown_model(style, str((body or {}).get("model") or DEFAULT_MODEL))
    responses_by_name: dict[str, Callable[[], responses.HTTPResponse]] = {
        "out_of_credit_429": lambda: responses.error(style, "out_of_credit", responses.OUT_OF_CREDIT),
        "bad_key": lambda: responses.invalid_key(style, "sk-sandbox"),
        "no_quota": lambda: responses.error(style, "no_quota", responses.NO_QUOTA[style]),
        "payment_required": lambda: responses.error(style, "payment_required", "Payment required."),
        "invalid_request": lambda: responses.error(style, "missing_field", "the request is not valid"),
        "server_error": responses.server_error,
        "bad_gateway": lambda: responses.html(502, "502 Bad Gateway"),
    }
    make = responses_by_name.get(fault.name)
    return make() if make else None


def _build_job(state: State, kind: Kind, request: web.Request, body: dict[str, Any], prompt: str) -> Job:
    name = body.get("model") or DEFAULT_MODEL
    model = find_model(name)
    if model is None:  # pragma: no cover - rejected before
        raise web.HTTPBadRequest
    source = state.find_source_job(body) if kind != "generation" else None
    # An edit has the duration of its source. Edits and extensions have its aspect ratio and resolution, whatever
    # the request says.
    requested = DEFAULT_DURATION[kind]
    if kind != "edit":
        requested = body.get("duration") or body.get("seconds") or requested
    duration: float = requested
    if source is not None and kind == "edit":
        duration = source.duration
    if source is not None and kind == "extension":
        duration = source.duration + requested
    aspect_ratio, resolution = DEFAULT_ASPECT_RATIO, DEFAULT_RESOLUTION
    if source is not None:
        aspect_ratio = source.aspect_ratio
        resolution = source.resolution if source.resolution in model.per_second else DEFAULT_RESOLUTION
    elif kind == "generation":
        aspect_ratio = body.get("aspect_ratio") or aspect_ratio
        resolution = body.get("resolution") or resolution
    source_seconds = 0.0 if kind == "generation" else source.duration if source else DEFAULT_SOURCE_SECONDS
    return Job(
        request_id=state.jobs.new_id(),
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
            model, resolution, duration if kind == "edit" else requested, len(input_images(body)), source_seconds
        ),
        render_seconds=state.options.render_seconds,
    )


class PollRoutes:
    """Handler of GET videos/{request_id}."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def poll(self, request: web.Request) -> web.StreamResponse:
        """Answer one poll, with the fault set for it, if any."""
        request_id = request.match_info["request_id"]
        style = request_style(request)
        job = self._state.jobs.get(request_id)
        prompt = job.prompt if job else ""
        fault = self._state.faults.take("poll", request_id=request_id, prompt=prompt)
        if job is None:
            response = _fault_response_without_job(style, fault) or responses.unknown_id(style)
            self._record_poll(request_id, response.status, None, fault)
            return to_web_response(response)
        if fault is not None and fault.name == "slow":
            await asyncio.sleep(fault.number("delay", _DEFAULT_DELAY))
        job.polls += 1
        if fault is not None and fault.name == "close":
            self._record_poll(request_id, None, job, fault)
            return close_connection(request)
        response = self._response(request, style, job, fault)
        self._record_poll(request_id, response.status, job, fault)
        if fault is not None and fault.name == "half_answer":
            return await send_half_body(request, response)
        return to_web_response(response)

    def _response(self, request: web.Request, style: Style, job: Job, fault: Fault | None) -> responses.HTTPResponse:
        envelope: Envelope = "xai" if style == "xai" else self._state.options.envelope
        if fault is None:
            return responses.poll(envelope, job, self._url(request, job))
        fault_response = _fault_response_without_job(style, fault) or _unusual_pending_response(envelope, job, fault)
        if fault_response is not None:
            return fault_response
        name = fault.name
        if name in OUTCOMES:
            return responses.poll(envelope, job, self._url(request, job), outcome=name)
        if name == "failed_wrapped":
            return responses.poll("wrapped", job, "", outcome="failed")
        if name == "no_status":
            return self._done_without_status(request, envelope, job)
        if name == "raw":
            # The first pending response has only the id, which looks the same in two envelopes.
            job.polls = max(job.polls, 2)
            return responses.poll("raw", job, self._url(request, job))
        if name == "wrapped":
            return responses.poll("wrapped", job, self._url(request, job))
        if name == "xai":
            return responses.poll("xai", job, self._url(request, job))
        return responses.poll(envelope, job, self._url(request, job))

    def _done_without_status(self, request: web.Request, envelope: Envelope, job: Job) -> responses.HTTPResponse:
        if job.pending and not job.uploading:
            self._state.jobs.finish(job.request_id, job.outcome)
        body = json.loads(responses.poll(envelope, job, self._url(request, job), outcome="done").text)
        if envelope == "wrapped":
            body["data"].pop("status")
            body["data"]["data"].pop("status")
        else:
            body.pop("status")
        return responses.json_response(body)

    def _url(self, request: web.Request, job: Job) -> str:
        origin = self._state.options.video_origin or f"{request.scheme}://{request.host}"
        return origin + self._state.signed_path(job)

    def _record_poll(self, request_id: str, status: int | None, job: Job | None, fault: Fault | None) -> None:
        record: dict[str, Any] = {
            "request_id": request_id,
            "at": time.time(),
            "status": status,
            "state": job.state if job else None,
            "fault": fault.name if fault else None,
        }
        self._state.polls.append(record)


def _fault_response_without_job(style: Style, fault: Fault | None) -> responses.HTTPResponse | None:
    """Return the response of a fault that does not depend on the job, or None."""
    if fault is None:
        return None
    match fault.name:
        case "rate_limited":
            return responses.rate_limited(style, 1, fault.options.get("retry_after"))
        case "server_error":
            return responses.server_error()
        case "bad_gateway":
            return responses.html(502, "502 Bad Gateway")
        case "html":
            return responses.html(200, "CometAPI")
        case "empty_202":
            return responses.HTTPResponse(202)
        case "data_null":
            return responses.json_response({"code": "success", "message": "", "data": None})
        case "not_found":
            return responses.error(style, "not_found", "The requested resource was not found.")
        case "task_not_exist":
            return responses.task_not_exist()
        case "bad_key":
            return responses.invalid_key(style, "sk-sandbox")
    return None


def _unusual_pending_response(envelope: Envelope, job: Job, fault: Fault) -> responses.HTTPResponse | None:
    """Return the response of a fault that reports a pending job in an unusual form, or None."""
    match fault.name:
        case "bare_id":
            return responses.json_response({"request_id": job.request_id})
        case "unknown_status":
            status, progress = "rendering_shadows", job.progress
            if envelope == "wrapped":
                inner = {"status": status}
                return responses.json_response(responses.wrap_task(job, status.upper(), "", progress, inner))
            return responses.json_response({"status": status, "progress": progress})
        case "string_progress":
            body = {"request_id": job.request_id, "status": "pending", "progress": f"{job.progress:g}%"}
            return responses.json_response(body)
    return None


class ModelRoutes:
    """Handlers of the free endpoints: models and API key."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def models(self, request: web.Request) -> web.Response:
        """List the models, or apply the fault set for it."""
        style = request_style(request)
        fault = self._state.faults.take("models")
        if fault is not None and fault.name == "slow":
            await asyncio.sleep(fault.number("delay", _DEFAULT_DELAY))
        elif fault is not None:
            fault_responses = {
                "bad_key": lambda: responses.invalid_key(style, "sk-sandbox"),
                "html": lambda: responses.html(200, "CometAPI"),
                "server_error": responses.server_error,
            }
            return to_web_response(fault_responses[fault.name]())
        models = [{"id": name, "object": "model", "created": 1769472000, "owned_by": "xai"} for name in MODELS]
        return to_web_response(responses.json_response({"object": "list", "data": models}))

    async def api_key(self, _: web.Request) -> web.Response:
        """Describe the API key, as xAI does."""
        description = {
            "redacted_api_key": f"{self._state.options.api_key[:2]}...",
            "name": "sandbox",
            "team_id": "sandbox",
            "acls": ["api-key:model:*", "api-key:endpoint:*"],
            "api_key_blocked": False,
            "api_key_disabled": False,
            "team_blocked": False,
        }
        return to_web_response(responses.json_response(description))
