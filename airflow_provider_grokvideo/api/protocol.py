"""Each HTTP call, and what each HTTP answer or failure means. No I/O: both clients share this.

A submission costs money, so its outcome is judged by one question: is it known whether the API accepted it?
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.generation import Generation, is_moderation, read_error, read_generation
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    GenerationNotFoundError,
    GrokVideoError,
    InsufficientQuotaError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
)

COMETAPI_URL = "https://api.cometapi.com/grok/v1"
COMETAPI_HOST = "api.cometapi.com"

_OUT_OF_CREDIT = re.compile(
    r"credit|spending limit|insufficient|\bbalance\b|quota_not_enough|quota_failed|licen[cs]es|billing|额度",
    re.I,
)
_RATE_LIMITED = re.compile(r"too many requests|rate[ _-]?limit|requests per", re.I)
_BAD_KEY = re.compile(r"incorrect api key|invalid api key|no credentials|invalid token|unauthenticated", re.I)
_NOT_FOUND = re.compile(r"task_not_exist|not[ _-]?found|no deferred video|does not exist", re.I)
_FINAL_SERVER_CODES = frozenset({"invalid_request", "model_not_found"})
"""CometAPI answers a missing field with 500 and an unknown model with 503; neither was accepted."""
_TIMED_OUT = frozenset({408, 499})
"""Codes of the 400s by which a server says that it, or a gateway before it, gave up."""
_MAX_MESSAGE = 500


@dataclass(frozen=True)
class Settings:
    """Where the API is and how to talk to it. Two equal settings may share one client.

    :param base_url: e.g. ``https://api.cometapi.com/grok/v1``, without a slash at the end.
    :param api_key: the bearer key.
    :param model: the model of requests that name none.
    :param request_timeout: seconds for one HTTP call.
    :param max_requests_per_second: of one process, while polling.
    :param proxy: URL of a proxy, also for fetching videos; default: the environment's.
    :param verify: check TLS certificates: yes, no, or against this CA file.
    """

    base_url: str = COMETAPI_URL
    api_key: str = field(default="", repr=False)
    model: str | None = None
    request_timeout: float = 30.0
    max_requests_per_second: float = 20.0
    proxy: str | None = field(default=None, repr=False)
    verify: bool | str = True

    @property
    def speaks_xai(self) -> bool:
        """Whether this address speaks xAI's own API: everything that is not below ``/grok``."""
        return "/grok/" not in urlsplit(self.base_url).path + "/"


@dataclass(frozen=True)
class Call:
    """One HTTP request to send."""

    method: Literal["GET", "POST"]
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


Answer = HTTPResponse


def headers(settings: Settings) -> dict[str, str]:
    """What every API call carries.

    :raises AuthenticationError: where the key is missing or cannot stand in a header.
    """
    key = settings.api_key
    if not key:
        raise AuthenticationError("the connection has no API key: put it into the password")
    if not key.isascii() or not key.isprintable() or any(character.isspace() for character in key):
        raise AuthenticationError("the connection's API key has characters that no key has; copy it again")
    return {"Authorization": f"Bearer {key}", "Accept": "application/json"}


def submit_call(settings: Settings, request: VideoRequest) -> Call:
    """The paid POST."""
    body = json.dumps(request.body()).encode()
    return Call(
        "POST",
        settings.base_url + request.path,
        {**headers(settings), "Content-Type": "application/json"},
        body,
    )


def poll_url(settings: Settings, request_id: str) -> str:
    """Where a generation is asked about."""
    return f"{settings.base_url}/videos/{quote(request_id, safe='')}"


def poll_call(settings: Settings, request_id: str) -> Call:
    """The GET that asks how a generation is doing."""
    return Call("GET", poll_url(settings, request_id), headers(settings))


def models_call(settings: Settings) -> Call:
    """A GET that needs the key and costs nothing, at the root of the same origin."""
    parts = urlsplit(settings.base_url)
    return Call("GET", f"{parts.scheme}://{parts.netloc}/v1/models", headers(settings))


def read_submission(settings: Settings, answer: Answer) -> str:
    """The ``request_id`` of an accepted submission.

    :raises ApiError: the API refused; nothing was accepted. ``RateLimitError`` may be tried again.
    :raises SubmissionUnknownError: it cannot be known whether the API accepted.
    """
    if 200 <= answer.status < 300:
        document = _json(answer)
        request_id = _request_id(document)
        if request_id is None:
            raise SubmissionUnknownError(
                f"the API answered HTTP {answer.status} without a request_id: {_excerpt(settings, answer)}"
            )
        return request_id
    error = read_api_error(settings, answer)
    accepted_maybe = (
        isinstance(error, ServerError) or answer.status == 303 or answer.status < 200
    ) and error.code not in _FINAL_SERVER_CODES
    if accepted_maybe:
        raise SubmissionUnknownError(f"the API answered with an error after taking the request: {error}")
    raise error


def submission_transport_error(reason: str, *, body_sent: bool) -> GrokVideoError:
    """Return the error for a submission that got no answer.

    :param reason: what the transport said.
    :param body_sent: whether any byte of the body was handed to the connection. Headers alone are no request.
    """
    if body_sent:
        return SubmissionUnknownError(f"no answer to the submission: {reason}")
    return TransportError(f"the submission did not reach the API: {reason}", delivered=False)


def read_poll(settings: Settings, request_id: str, answer: Answer) -> Generation:
    """The generation that a poll's answer describes.

    :raises ApiError: what the answer says instead.
    """
    if 200 <= answer.status < 300:
        document = _json(answer)
        if document is _UNREADABLE:
            raise ServerError(
                f"the answer is not JSON: {_excerpt(settings, answer)}",
                status=answer.status,
                request_id=request_id,
            )
        generation = read_generation(request_id, document)
        if not generation.is_final and not generation.raw_status:
            code, message = read_error(document)
            if _NOT_FOUND.search(code):
                raise GenerationNotFoundError(message, status=answer.status, code=code, request_id=request_id)
        return generation
    code, message = _said(settings, answer)
    if answer.status in {400, 403, 422} and is_moderation(code, message):
        document = _json(answer)
        refused = read_generation(request_id, document if isinstance(document, Mapping) else {})
        return Generation(
            request_id,
            "moderated",
            cost_usd=refused.cost_usd,
            model=refused.model,
            error_code=code,
            error_message=message,
        )
    raise read_api_error(settings, answer, request_id)


def read_models(settings: Settings, answer: Answer) -> list[str]:
    """The names of the models that the key may use.

    :raises ApiError: the key is refused, or this is not the API.
    """
    if answer.status != 200:
        raise read_api_error(settings, answer)
    document = _json(answer)
    if not isinstance(document, Mapping):
        raise ServerError(f"the answer is not JSON: {_excerpt(settings, answer)}", status=answer.status)
    listed = document.get("data") or document.get("models")
    models = listed if isinstance(listed, list) else []
    return [model["id"] for model in models if isinstance(model, Mapping) and isinstance(model.get("id"), str)]


def read_api_error(settings: Settings, answer: Answer, request_id: str | None = None) -> ApiError:
    """The typed error of an answer that is not a success."""
    code, message = _said(settings, answer)
    message = message or f"the API answered {_excerpt(settings, answer)}"
    status = answer.status
    words = f"{code} {message}"
    out_of_credit = bool(_OUT_OF_CREDIT.search(words))
    if status == 429 and (_RATE_LIMITED.search(words) or not out_of_credit):
        return RateLimitError(
            message,
            retry_after=retry_after(answer.headers),
            code=code,
            request_id=request_id,
        )
    if status == 402 or (status in {403, 429} and out_of_credit):
        kind: type[ApiError] = InsufficientQuotaError
        message = f"the account is out of credit: {message}"
    elif status in {401, 403} or (status == 400 and _BAD_KEY.search(words)):
        kind = AuthenticationError
        message = f"the API {'does not let this key do that' if status == 403 else 'refuses the key'}: {message}"
    elif request_id is not None and (status == 404 or (status == 400 and _NOT_FOUND.search(words))):
        kind = GenerationNotFoundError
    elif 300 <= status < 400:
        kind = RequestRejectedError
        message = f"the API redirects, which is not followed; check the connection's host ({message})"
    elif status in _TIMED_OUT or (status >= 500 and not (code in _FINAL_SERVER_CODES and request_id is None)):
        kind = ServerError
    else:
        kind = RequestRejectedError
    return kind(message, status=status, code=code, request_id=request_id)


def _said(settings: Settings, answer: Answer) -> tuple[str, str]:
    """Code and message of an error, without the key."""
    code, message = read_error(_json(answer))
    return _clean(settings, code), _clean(settings, message)


def retry_after(response_headers: Mapping[str, str]) -> float | None:
    """The seconds that ``Retry-After`` asks to wait, given as a number or as a date."""
    value = response_headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


_UNREADABLE = object()


def _json(answer: Answer) -> object:
    """The parsed body, ``None`` for an empty one, ``_UNREADABLE`` for what is no JSON."""
    if answer.body_error:
        return _UNREADABLE
    if not answer.body.strip():
        return None
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _request_id(document: object) -> str | None:
    """The id in ``{request_id}``, or in a gateway's ``{data: {request_id | task_id}}``, ``{id}`` or ``{data}``."""
    if not isinstance(document, Mapping):
        return None
    for layer in (document, document.get("data")):
        if isinstance(layer, Mapping):
            for key in ("request_id", "task_id", "id"):
                value = layer.get(key)
                if isinstance(value, str) and value.strip():
                    return value.strip()
    task, code = document.get("data"), document.get("code")
    return (task.strip() or None) if isinstance(task, str) and code in (None, "success") else None


def _clean(settings: Settings, text: str) -> str:
    """What the API wrote, without the key and not too long."""
    if settings.api_key:
        text = text.replace(settings.api_key, "***")
    return text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"


def _excerpt(settings: Settings, answer: Answer) -> str:
    # The key is taken out before the text is cut, lest half of it is left.
    text = _clean(settings, " ".join(answer.body[:4096].decode("utf-8", "replace").split()))[:200]
    kind = answer.headers.get("content-type", "").split(";")[0]
    about = f"HTTP {answer.status}{f' {kind}' if kind else ''}"
    if answer.body_error:
        return f"{about}, {answer.body_error}"
    return f"{about}: {text}" if text else f"{about} without a body"
