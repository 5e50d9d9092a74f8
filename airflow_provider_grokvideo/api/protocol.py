"""Requests of the API, and the meaning of each response or failure. No I/O: both clients share it.

A submission costs money, so one question decides its outcome: is it known whether the API accepted it?
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from airflow_provider_grokvideo.api.exchange import HTTPRequest, HTTPResponse
from airflow_provider_grokvideo.api.generation import Generation, is_moderation, read_error, read_generation
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.api.text import MAX_REQUEST_ID, NAME_LIMIT, clean, is_usable_id, shown_id
from airflow_provider_grokvideo.exceptions import (
    ApiError,
    AuthenticationError,
    GenerationNotFoundError,
    GrokVideoError,
    InsufficientQuotaError,
    InvalidRequestError,
    RateLimitError,
    RequestRejectedError,
    ServerError,
    SubmissionUnknownError,
    TransportError,
    sentence,
)

_OUT_OF_CREDIT = re.compile(
    r"credit|spending limit|insufficient|\bbalance\b|quota_not_enough|quota_failed|licen[cs]es|billing|额度",
    re.I,
)
_RATE_LIMITED = re.compile(r"too many requests|rate[ _-]?limit|requests per", re.I)
_BAD_KEY = re.compile(r"incorrect api key|invalid api key|no credentials|invalid token|unauthenticated", re.I)
_NOT_FOUND = re.compile(r"task_not_exist|not[ _-]?found|no deferred video|does not exist", re.I)
_FINAL_SERVER_CODES = frozenset({"invalid_request", "model_not_found"})
"""Codes of CometAPI's 500 (missing field) and 503 (unknown model) for a submission that was not accepted."""
_NO_SUCH_PATH = frozenset({404, 405})
"""Statuses of a web server that does not have the path or the method of a submission."""
_TIMED_OUT = frozenset({408, 499})
"""Statuses below 500 of a server or gateway that has ended the request itself."""
_SUMMARY_LIMIT = 200
"""Maximum bytes of an invalid body in a message."""
OUTCOME_UNKNOWN = "The outcome of this submission is unknown, and it may be billed."
_MAX_ITEMS = 50_000
"""Maximum items of a JSON document. A body can contain a million empty lists, which would block an event loop."""
_LONGEST_INTEGER = 40
"""Maximum digits of a number. Python does not parse thousands of them, and no field of the API has so many."""


def headers(settings: Settings) -> dict[str, str]:
    """Return the headers of every request.

    :raises AuthenticationError: the key is missing or not valid in a header.
    """
    key = settings.api_key
    if not key:
        raise AuthenticationError(
            f'{_capital(settings.connection)} has no API key. Enter it in the field "API key" (password).'
        )
    if not key.isascii() or not key.isprintable() or any(character.isspace() for character in key):
        raise AuthenticationError(
            f"The API key of {settings.connection} has characters that no key has. Copy it again."
        )
    return {"Authorization": f"Bearer {key}", "Accept": "application/json"}


def submit_request(settings: Settings, request: VideoRequest) -> HTTPRequest:
    """Return the paid POST."""
    body = json.dumps(request.body()).encode()
    return HTTPRequest(
        "POST",
        settings.base_url + request.path,
        {**headers(settings), "Content-Type": "application/json"},
        body,
    )


def poll_url(settings: Settings, request_id: str) -> str:
    """Return the URL of the poll of a generation.

    :raises InvalidRequestError: the id is not valid in a URL.
    """
    if not is_usable_id(request_id):
        raise InvalidRequestError(
            f"request_id={shown_id(request_id)!r} is not valid. Use the id of a generation, which has up to "
            f"{MAX_REQUEST_ID} printable characters."
        )
    return f"{settings.base_url}/videos/{quote(request_id, safe='')}"


def poll_request(settings: Settings, request_id: str) -> HTTPRequest:
    """Return the GET that polls a generation."""
    return HTTPRequest("GET", poll_url(settings, request_id), headers(settings))


def models_request(settings: Settings) -> HTTPRequest:
    """Return the GET of the list of models, which needs the key and is free, at the root of the same origin."""
    parts = urlsplit(settings.base_url)
    return HTTPRequest("GET", f"{parts.scheme}://{parts.netloc}/v1/models", headers(settings))


def read_submission(settings: Settings, response: HTTPResponse) -> str:
    """Return the ``request_id`` of an accepted submission.

    :raises ApiError: the API rejected the submission. After ``RateLimitError`` it may be sent again.
    :raises SubmissionUnknownError: the outcome is unknown.
    """
    if 200 <= response.status < 300:
        candidates = _request_ids(_json(response))
        usable = next((one for one in candidates if is_usable_id(one, settings.api_key)), None)
        if usable is not None:
            return usable
        if candidates:
            raise _unknown(
                f"The API answered with HTTP {response.status} and a request_id that cannot be used: "
                f"{clean(candidates[0], settings.api_key)!r}"
            )
        raise _unknown(
            f"The API answered with HTTP {response.status} and without a request_id: "
            f"{_summarize_body(settings, response)}"
        )
    error = read_api_error(settings, response)
    accepted_maybe = (
        isinstance(error, ServerError) or response.status == 303 or response.status < 200
    ) and error.code not in _FINAL_SERVER_CODES
    if accepted_maybe:
        raise _unknown(str(error))
    raise read_api_error(settings, response, bill="Nothing was billed.")


def submission_transport_error(settings: Settings, reason: str, *, body_sent: bool) -> GrokVideoError:
    """Return the error of a submission without a response.

    :param reason: of the failed exchange.
    :param body_sent: whether the connection got any byte of the body. Headers alone are not a complete request.
    """
    if body_sent:
        return _unknown(f"No response from {settings.base_url} ({settings.connection}): {reason}")
    return unreachable_error(settings, reason)


def unreachable_error(settings: Settings, reason: str, tries: str = "") -> TransportError:
    """Return the error for a submission that did not reach the API.

    :param reason: what the transport said.
    :param tries: how often and how long it was tried, e.g. ``" after 5 attempts in 25 s"``.
    """
    return TransportError(
        f"Could not reach {settings.base_url} ({settings.connection}): {reason}{tries}. Nothing was billed. "
        + _reach_advice(settings),
        delivered=False,
        reason=reason,
    )


def _reach_advice(settings: Settings) -> str:
    if urlsplit(settings.base_url).hostname in {"127.0.0.1", "::1", "localhost"}:
        return "Check that the server, e.g. the sandbox, is running."
    return f"Check the host of {settings.connection}, the network and the proxy."


def _unknown(reason: str) -> SubmissionUnknownError:
    return SubmissionUnknownError(f"{sentence(reason)} {OUTCOME_UNKNOWN}")


def no_response_error(settings: Settings, url: str, reason: str) -> TransportError:
    """Return the error for a GET that got no response.

    :param reason: what the transport said.
    """
    return TransportError(f"No response from {url} ({settings.connection}): {reason}.", delivered=True)


def unknown_generation(request_id: str, connection: str) -> str:
    """Return what to say of an id that the API does not know.

    :param connection: as :attr:`.Settings.connection` names it.
    """
    return (
        f"The API knows no generation {request_id} for this key. Check the id, and that {connection} is the one that "
        "submitted it."
    )


def read_poll(settings: Settings, request_id: str, response: HTTPResponse) -> Generation:
    """Return the generation in the response to a poll.

    :raises ApiError: the API returned an error.
    """
    request_id = shown_id(request_id, settings.api_key)
    if 200 <= response.status < 300:
        document = _json(response)
        if document is _UNREADABLE:
            raise ServerError(
                _summarize_body(settings, response),
                what="The API did not answer with JSON",
                status=response.status,
                request_id=request_id,
            )
        generation = read_generation(request_id, document, settings.api_key)
        if generation.state != "done" and not generation.raw_status:
            # Not a failed generation, after which a retry would submit and pay again.
            code, message = read_error(document, settings.api_key)
            if _NOT_FOUND.search(code):
                raise _not_found(settings, message, response.status, code, request_id)
        return generation
    code, message = _error_fields(settings, response)
    if response.status in {400, 403, 422} and is_moderation(code, message):
        document = _json(response)
        refused = read_generation(request_id, document if isinstance(document, Mapping) else {}, settings.api_key)
        return Generation(
            refused.request_id,
            "moderated",
            cost_usd=refused.cost_usd,
            model=refused.model,
            error_code=code,
            error_message=message,
        )
    raise read_api_error(settings, response, request_id)


def read_models(settings: Settings, response: HTTPResponse) -> list[str]:
    """Return the names of the models that the key may use.

    :raises ApiError: the API rejected the key, or is not a video API.
    """
    if response.status != 200:
        raise read_api_error(settings, response)
    document = _json(response)
    if not isinstance(document, Mapping):
        raise ServerError(
            _summarize_body(settings, response), what="The API did not answer with JSON", status=response.status
        )
    models = next((document[key] for key in ("data", "models") if isinstance(document.get(key), list)), None)
    if models is None:
        raise ServerError(
            _summarize_body(settings, response),
            what="The API did not answer with a list of models",
            status=response.status,
        )
    names = [model["id"] for model in models if isinstance(model, Mapping) and isinstance(model.get("id"), str)]
    return [clean(name, settings.api_key, NAME_LIMIT) for name in names]


def read_api_error(
    settings: Settings, response: HTTPResponse, request_id: str | None = None, bill: str = ""
) -> ApiError:
    """Return the typed error of a response that is not a success.

    :param bill: sentence on what the request cost, if it could cost anything.
    """
    request_id = request_id and shown_id(request_id, settings.api_key)
    code, message = _error_fields(settings, response)
    is_foreign = not (code or message)
    message = message or _summarize_body(settings, response)
    status = response.status
    words = f"{code} {message}"
    out_of_credit = bool(_OUT_OF_CREDIT.search(words))
    if status == 429 and (_RATE_LIMITED.search(words) or not out_of_credit):
        return RateLimitError(
            message,
            retry_after=retry_after(response.headers),
            code=code,
            request_id=request_id,
            what=f"The rate limit of {settings.connection} is exceeded",
            advice=bill,
        )
    if request_id is not None and (status == 404 or (status == 400 and _NOT_FOUND.search(words))):
        return _not_found(settings, message, status, code, request_id)
    kind: type[ApiError]
    if status == 402 or (status in {403, 429} and out_of_credit):
        kind, what, advice = (
            InsufficientQuotaError,
            f"The account of {settings.connection} is out of credit",
            "Add credit, then clear this task.",
        )
    elif status == 403:
        kind, what, advice = (
            AuthenticationError,
            f"The API does not let the key of {settings.connection} do that",
            "Give the key this permission, or enter another one.",
        )
    elif status == 401 or (status == 400 and _BAD_KEY.search(words)):
        kind, what, advice = (
            AuthenticationError,
            f"The API rejected the key of {settings.connection}",
            f"Check that it is a key for {settings.base_url}.",
        )
    elif 300 <= status < 400:
        kind, what, advice = (
            RequestRejectedError,
            f"The API at {settings.base_url} redirects, which is not followed",
            f"Check the host of {settings.connection}.",
        )
    elif status in _NO_SUCH_PATH and is_foreign:
        kind, what, advice = (
            RequestRejectedError,
            f"There is no video API at {settings.base_url}",
            f"Check the host of {settings.connection}.",
        )
    elif status in _TIMED_OUT or (status >= 500 and not (code in _FINAL_SERVER_CODES and request_id is None)):
        kind, what, advice = ServerError, "The API failed", ""
    else:
        kind, what, advice = RequestRejectedError, f"The API rejected the request of {settings.connection}", ""
    advice = " ".join(filter(None, (bill, advice)))
    return kind(message, status=status, code=code, request_id=request_id, what=what, advice=advice)


def _not_found(settings: Settings, message: str, status: int, code: str, request_id: str) -> GenerationNotFoundError:
    what, _, advice = unknown_generation(request_id, settings.connection).partition(". ")
    return GenerationNotFoundError(message, status=status, code=code, request_id=request_id, what=what, advice=advice)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _error_fields(settings: Settings, response: HTTPResponse) -> tuple[str, str]:
    """Return code and message of an error, clean."""
    return read_error(_json(response), settings.api_key)


def retry_after(response_headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait, given as a number or as a date."""
    value = response_headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


_UNREADABLE = object()


def _json(response: HTTPResponse) -> object:
    """Return the parsed body, ``None`` for an empty one, ``_UNREADABLE`` if it is not JSON."""
    if response.body_error:
        return _UNREADABLE
    if not response.body.strip():
        return None
    if len(response.body) > _MAX_ITEMS and sum(map(response.body.count, (b"[", b"{", b","))) > _MAX_ITEMS:
        return _UNREADABLE
    try:
        return _DECODER.decode(response.body.decode(json.detect_encoding(response.body), "surrogatepass"))
    except (ValueError, RecursionError):
        return _UNREADABLE


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else None


_DECODER = json.JSONDecoder(parse_int=_integer)


def _request_ids(document: object) -> list[str]:
    """Return the ids in ``{request_id}``, or a gateway's ``{data: {request_id | task_id}}``, ``{id}`` or ``{data}``."""
    if not isinstance(document, Mapping):
        return []
    found: list[object] = [
        layer.get(key)
        for layer in (document, document.get("data"))
        if isinstance(layer, Mapping)
        for key in ("request_id", "task_id", "id")
    ]
    if document.get("code") in (None, "success"):
        found.append(document.get("data"))
    return [stripped for value in found if isinstance(value, str) and (stripped := value.strip())]


def _summarize_body(settings: Settings, response: HTTPResponse) -> str:
    """Return what to say of a body: its type and first words."""
    text = clean(response.body[:4096].decode("utf-8", "replace"), settings.api_key)
    if len(response.body) > 4096:
        # The cut can be in the middle of a key.
        text = text[: max(0, len(text) - 8 * len(settings.api_key))]
    text = clean(text, limit=_SUMMARY_LIMIT)
    kind = clean(response.headers.get("content-type", "").split(";")[0], settings.api_key, NAME_LIMIT)
    if response.body_error:
        return f"it sent {kind or 'a body'}, and {response.body_error}"
    if not text:
        return "it sent an empty body"
    return f"it sent {kind}: {text}" if kind else f"it sent: {text}"
