"""Responses of the API: three poll envelopes, two styles of error, and how they are sent or cut off."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit

from aiohttp import web

from airflow_provider_grokvideo.sandbox.jobs import Job
from airflow_provider_grokvideo.sandbox.options import Envelope
from airflow_provider_grokvideo.sandbox.validation import Style

MODERATED = "Generated video rejected by content moderation."
_FAILED = "The video could not be generated because of an internal error."
_JSON = "application/json"


@dataclass(frozen=True)
class HTTPResponse:
    """An HTTP response before it is sent."""

    status: int
    text: str = ""
    content_type: str = _JSON
    headers: dict[str, str] = field(default_factory=dict)


def json_response(body: object, status: int = 200) -> HTTPResponse:
    """Return a JSON response."""
    return HTTPResponse(status, json.dumps(body, ensure_ascii=False))


# --- errors -------------------------------------------------------------------------------------

# reason: (CometAPI status, CometAPI code, xAI status, xAI code)
_ERRORS: dict[str, tuple[int, str, int, str | None]] = {
    "no_key": (401, "", 401, "unauthenticated:no-credentials"),
    "bad_key": (401, "", 400, "invalid-argument"),
    "not_json": (400, "invalid_request", 400, "invalid-argument"),
    "missing_field": (500, "invalid_request", 400, "invalid-argument"),
    "bad_type": (400, "fail_to_fetch_task", 422, "invalid-argument"),
    "bad_value": (400, "fail_to_fetch_task", 400, "invalid-argument"),
    "unknown_model": (503, "model_not_found", 404, "not-found"),
    "too_large": (413, "", 413, "invalid-argument"),
    "not_found": (404, "", 404, "not-found"),
    "rate_limited": (429, "", 429, "resource-exhausted"),
    "out_of_credit": (429, "", 429, None),
    "no_quota": (403, "insufficient_user_quota", 403, "permission-denied"),
    "payment_required": (402, "", 402, "payment-required"),
}

OUT_OF_CREDIT = (
    "Your team sandbox has either used all available credits or reached its monthly spending limit. "
    "To continue making API requests, please purchase more credits or raise your spending limit."
)
NO_QUOTA = {
    "comet": "user quota is not enough, user quota: US$0.000000, need quota: US$0.400000",
    "xai": "Your newly created team doesn't have any credits or licenses yet. You can purchase those first.",
}


def error(style: Style, reason: str, message: str, param: str = "") -> HTTPResponse:
    """Return an error in the words of CometAPI or xAI.

    :param reason: a key of ``_ERRORS``.
    :param param: the name of the field, which only CometAPI reports.
    """
    comet_status, comet_code, xai_status, xai_code = _ERRORS[reason]
    if style == "xai":
        body = {"error": message} if xai_code is None else {"code": xai_code, "error": message}
        return json_response(body, xai_status)
    if comet_code == "fail_to_fetch_task":
        # The gateway puts the whole JSON response of xAI into its own message.
        message = json.dumps({"code": "invalid-argument", "error": message}, ensure_ascii=False)
    return json_response(
        {
            "error": {
                "message": f"{message} (request id: {uuid.uuid4().hex})",
                "type": "comet_api_error",
                "param": param,
                "code": comet_code,
            }
        },
        comet_status,
    )


def invalid_key(style: Style, key: str) -> HTTPResponse:
    """Return the error for a wrong API key, with its first two characters, as xAI does."""
    if style == "xai":
        text = f"Incorrect API key provided: {key[:2]}***. You can obtain an API key from the console."
        return error(style, "bad_key", text)
    return error(style, "bad_key", "Invalid token")


def server_error() -> HTTPResponse:
    """Return a 500 without details."""
    return HTTPResponse(500, "Internal Server Error", "text/plain")


def unknown_model(style: Style, name: str) -> HTTPResponse:
    """Return the error for a model that the API does not offer."""
    if style == "xai":
        text = f"The model {name} does not exist or your team sandbox does not have access to it."
        return error(style, "unknown_model", text)
    text = f"no available channel for group default and model {name} (distributor)"
    return error(style, "unknown_model", text)


def unknown_id(style: Style) -> HTTPResponse:
    """Return the error for a request_id that the API never issued."""
    if style == "xai":
        return json_response({"error": {"message": "No deferred video"}}, 404)
    return task_not_exist()


def task_not_exist() -> HTTPResponse:
    """Return CometAPI's error for an unknown request_id, which has no nested ``error``."""
    return json_response({"code": "task_not_exist", "message": "task_not_exist", "data": None}, 400)


def rate_limited(style: Style, limit: float, retry_after: float | None) -> HTTPResponse:
    """Return a 429.

    :param limit: requests per second, for the message.
    :param retry_after: seconds for the header ``Retry-After``; None omits it.
    """
    text = (
        "Too many requests for team sandbox and model grok-imagine-video. "
        f"Your team's rate limit is — Requests per Second (actual/limit): {limit + 1:g}/{limit:g}."
    )
    response = error(style, "rate_limited", text)
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return HTTPResponse(response.status, response.text, headers=headers)


def html(status: int, title: str) -> HTTPResponse:
    """Return an HTML page, as a gateway in front of the API does."""
    page = (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>"
        f"<body><center><h1>{title}</h1></center></body></html>\n"
    )
    return HTTPResponse(status, page, "text/html")


# --- polls --------------------------------------------------------------------------------------


def poll(envelope: Envelope, job: Job, url: str, outcome: str | None = None) -> HTTPResponse:
    """Return the response to a poll for this job.

    :param outcome: respond as if the job had ended with this outcome, even if it is still pending.
    """
    if outcome is None and job.pending:
        return _pending(envelope, job)
    outcome = outcome or job.outcome
    if outcome == "moderated_400":
        usage = {"cost_in_usd_ticks": job.cost_ticks}
        return json_response({"code": "imagine:content-moderated", "error": MODERATED, "usage": usage}, 400)
    inner = _ended(envelope, job, url, outcome)
    if envelope == "wrapped":
        return json_response(_wrap_ended(job, inner))
    if envelope == "raw":
        return json_response({"request_id": job.request_id, **inner})
    return json_response(inner)


def _pending(envelope: Envelope, job: Job) -> HTTPResponse:
    queued = job.polls <= 1
    if envelope == "xai":
        return json_response({"status": "pending", "progress": job.progress}, 202)
    if envelope == "wrapped":
        return json_response(
            wrap_task(job, "QUEUED" if queued else "IN_PROGRESS", "", job.progress, {"status": "pending"})
        )
    if queued:
        return json_response({"request_id": job.request_id})
    return json_response({"request_id": job.request_id, "status": "processing", "progress": job.progress})


def _ended(envelope: Envelope, job: Job, url: str, outcome: str) -> dict[str, Any]:
    usage = {"cost_in_usd_ticks": job.cost_ticks}
    if outcome == "expired":
        return {"status": "expired"}
    if outcome == "failed":
        return _failed(job, *(job.failure or ("internal_error", _FAILED)))
    if outcome == "moderated_failed":
        return {**_failed(job, "invalid_argument", MODERATED), "usage": usage}
    # xAI's own clients require the field, so its envelope has an empty URL where the others have none.
    no_url = {"url": ""} if envelope == "xai" else {}
    address = {"url": url} if outcome == "done" else no_url
    video = {**address, "duration": job.duration, "respect_moderation": outcome != "moderated_done"}
    if outcome == "done" and job.storage_options is not None:
        video["file_output"] = _file_output(job, job.storage_options, url)
    return {"status": "done", "progress": 100, "model": job.model, "usage": usage, "video": video}


def _file_output(job: Job, options: dict[str, Any], url: str) -> dict[str, Any]:
    file: dict[str, Any] = {"file_id": f"file_{job.request_id}", "filename": options.get("filename") or "video.mp4"}
    lifetime, public = options.get("expires_after"), options.get("public_url")
    if lifetime is not None:
        file["expires_at"] = int(job.finished_at + lifetime)
    if job.is_public:
        parts = urlsplit(url)
        file["public_url"] = f"{parts.scheme}://{parts.netloc}/files/{job.request_id}.mp4"
        lifetime = public.get("expires_after", lifetime) if isinstance(public, dict) else lifetime
        if lifetime is not None:
            file["public_url_expires_at"] = int(job.finished_at + lifetime)
    return file


def _failed(job: Job, code: str, message: str) -> dict[str, Any]:
    return {
        "status": "failed",
        "progress": 0,
        "model": job.model,
        "error": {"code": code, "message": message},
    }


def _wrap_ended(job: Job, inner: dict[str, Any]) -> dict[str, Any]:
    if inner["status"] == "done":
        # This envelope really has the video's URL in fail_reason.
        return wrap_task(job, "SUCCESS", inner["video"].get("url", ""), 100, inner)
    failure = inner.get("error")
    if failure is None:
        return wrap_task(job, "FAILURE", "task expired", 100, inner)
    # For an internal error the gateway has no response of xAI to include.
    included = inner if failure["code"] == "invalid_argument" else None
    return wrap_task(job, "FAILURE", failure["message"], 100, included)


def wrap_task(job: Job, status: str, fail_reason: str, progress: float, inner: dict[str, Any] | None) -> dict[str, Any]:
    """Return a poll response of xAI in CometAPI's task envelope."""
    ended = status in {"SUCCESS", "FAILURE"}
    return {
        "code": "success",
        "message": "",
        "data": {
            "task_id": job.request_id,
            "action": "VIDEO_GENERATION",
            "status": status,
            "fail_reason": fail_reason,
            "submit_time": int(job.accepted_at),
            "start_time": 0,
            "finish_time": int(job.finished_at) if ended else 0,
            "progress": f"{progress:g}%",
            "data": inner,
        },
    }


def request_style(request: web.Request) -> Style:
    """Return the style of the API that this path imitates."""
    return "comet" if request.path.startswith("/grok/") else "xai"


def _encode_body(response: HTTPResponse) -> bytes:
    # The text may quote the request, which may contain a lone surrogate.
    return response.text.encode(errors="replace")


def to_web_response(response: HTTPResponse) -> web.Response:
    """Return the response as aiohttp sends it, complete and correct."""
    body = _encode_body(response)
    if not body:
        return web.Response(status=response.status, headers=response.headers)
    return web.Response(
        status=response.status,
        body=body,
        content_type=response.content_type,
        charset="utf-8",
        headers=response.headers,
    )


def close_connection(request: web.Request) -> web.Response:
    """Close the connection without a response."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def send_half_body(request: web.Request, response: HTTPResponse) -> web.StreamResponse:
    """Announce the whole body, send its first half, and close the connection."""
    body = _encode_body(response)
    return await send_truncated(request, body[: len(body) // 2], len(body), response.content_type)


async def send_truncated(
    request: web.Request, part: bytes, announced_bytes: int, content_type: str
) -> web.StreamResponse:
    """Announce a body of ``announced_bytes``, send ``part`` of it, and close the connection."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "Content-Length": str(announced_bytes)})
    await response.prepare(request)
    await response.write(part)
    # Lets the event loop send the part before the connection closes.
    await asyncio.sleep(0)
    close_connection(request)
    return response


def redirect_to_page() -> NoReturn:
    """Redirect to a web page, as the gateway does for unknown paths."""
    raise web.HTTPMovedPermanently("/sandbox/page")
