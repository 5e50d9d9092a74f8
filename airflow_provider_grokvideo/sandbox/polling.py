"""GET videos/{request_id}."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from airflow_provider_grokvideo.sandbox import envelopes
from airflow_provider_grokvideo.sandbox.answering import hang_up, send, send_half, style_of
from airflow_provider_grokvideo.sandbox.faults import Fault
from airflow_provider_grokvideo.sandbox.jobs import OUTCOMES, Job
from airflow_provider_grokvideo.sandbox.options import Envelope
from airflow_provider_grokvideo.sandbox.studio import Studio
from airflow_provider_grokvideo.sandbox.submitting import bad_key, server_error
from airflow_provider_grokvideo.sandbox.validation import Style

_SLOW = 2.0


class PollRoutes:
    """Says how a job is doing."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    async def poll(self, request: web.Request) -> web.StreamResponse:
        """Answer one poll, after letting an armed fault spoil it."""
        request_id = request.match_info["request_id"]
        style = style_of(request)
        job = self._studio.jobs.get(request_id)
        prompt = job.prompt if job else ""
        fault = self._studio.faults.take("poll", request_id=request_id, prompt=prompt)
        if job is None:
            answer = _without_job(style, fault) or envelopes.unknown_id(style)
            self._record(request_id, answer.status, None, fault)
            return send(answer)
        if fault is not None and fault.name == "slow":
            await asyncio.sleep(fault.number("delay", _SLOW))
        job.polls += 1
        if fault is not None and fault.name == "close":
            self._record(request_id, None, job, fault)
            return hang_up(request)
        answer = self._answer(request, style, job, fault)
        self._record(request_id, answer.status, job, fault)
        if fault is not None and fault.name == "half_answer":
            return await send_half(request, answer)
        return send(answer)

    def _answer(self, request: web.Request, style: Style, job: Job, fault: Fault | None) -> envelopes.Answer:
        envelope: Envelope = "xai" if style == "xai" else self._studio.options.envelope
        if fault is None:
            return envelopes.poll(envelope, job, self._url(request, job))
        spoiled = _without_job(style, fault) or _odd_pending(envelope, job, fault)
        if spoiled is not None:
            return spoiled
        name = fault.name
        if name in OUTCOMES:
            return envelopes.poll(envelope, job, self._url(request, job), outcome=name)
        if name == "failed_wrapped":
            return envelopes.poll("wrapped", job, "", outcome="failed")
        if name == "no_status":
            return self._done_without_status(request, envelope, job)
        if name == "raw":
            # The bare first answer would not show which envelope this is.
            job.polls = max(job.polls, 2)
            return envelopes.poll("raw", job, self._url(request, job))
        if name == "wrapped":
            return envelopes.poll("wrapped", job, self._url(request, job))
        if name == "xai":
            return envelopes.poll("xai", job, self._url(request, job))
        return envelopes.poll(envelope, job, self._url(request, job))

    def _done_without_status(self, request: web.Request, envelope: Envelope, job: Job) -> envelopes.Answer:
        if job.pending and not job.uploading:
            self._studio.jobs.finish(job.request_id, job.outcome)
        body = json.loads(envelopes.poll(envelope, job, self._url(request, job), outcome="done").text)
        if envelope == "wrapped":
            body["data"].pop("status")
            body["data"]["data"].pop("status")
        else:
            body.pop("status")
        return envelopes.of_json(body)

    def _url(self, request: web.Request, job: Job) -> str:
        origin = self._studio.options.video_origin or f"{request.scheme}://{request.host}"
        return origin + self._studio.signed_path(job)

    def _record(self, request_id: str, status: int | None, job: Job | None, fault: Fault | None) -> None:
        record: dict[str, Any] = {
            "request_id": request_id,
            "at": time.time(),
            "status": status,
            "state": job.state if job else None,
            "fault": fault.name if fault else None,
        }
        self._studio.polls.append(record)


def _without_job(style: Style, fault: Fault | None) -> envelopes.Answer | None:
    """Faults whose answer does not depend on the job."""
    if fault is None:
        return None
    match fault.name:
        case "rate_limited":
            return envelopes.rate_limited(style, 1, fault.options.get("retry_after"))
        case "server_error":
            return server_error()
        case "bad_gateway":
            return envelopes.html(502, "502 Bad Gateway")
        case "html":
            return envelopes.html(200, "CometAPI")
        case "empty_202":
            return envelopes.Answer(202)
        case "data_null":
            return envelopes.of_json({"code": "success", "message": "", "data": None})
        case "not_found":
            return envelopes.error(style, "not_found", "The requested resource was not found.")
        case "task_not_exist":
            return envelopes.task_not_exist()
        case "bad_key":
            return bad_key(style, "sk-sandbox")
    return None


def _odd_pending(envelope: Envelope, job: Job, fault: Fault) -> envelopes.Answer | None:
    """Answers that say "not yet" in an unusual way."""
    match fault.name:
        case "bare_id":
            return envelopes.of_json({"request_id": job.request_id})
        case "unknown_status":
            status, progress = "rendering_shadows", job.progress
            if envelope == "wrapped":
                inner = {"status": status}
                return envelopes.of_json(envelopes.wrap(job, status.upper(), "", progress, inner))
            return envelopes.of_json({"status": status, "progress": progress})
        case "string_progress":
            body = {"request_id": job.request_id, "status": "pending", "progress": f"{job.progress:g}%"}
            return envelopes.of_json(body)
    return None
