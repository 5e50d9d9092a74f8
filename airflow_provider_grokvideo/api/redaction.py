"""Values for messages and logs: URLs without signature and password, images without their bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import unquote

from airflow_provider_grokvideo.exceptions import InvalidRequestError

HIDDEN = "***"
_MAX_DEPTH = 50
_DATA_HEAD = 40

# Limited lengths: otherwise a long text, e.g. an image in base64, takes quadratic time.
_SCHEME = r"[a-z][a-z0-9+.\-]{0,20}://"
_URL = re.compile(rf"(?P<scheme>{_SCHEME})(?P<authority>[^\s\"'<>/?#]*)(?P<rest>[^\s\"'<>]*)", re.IGNORECASE)
_WHOLE_URL = re.compile(rf"\s*(?P<scheme>{_SCHEME}|//)[^\s?#]*[?#]", re.IGNORECASE)
"""Start of a text that is one URL: everything after the ``?`` or ``#`` belongs to it."""
_WHOLE_QUERY = re.compile(r"\s*[^\s?]+\?[^\s=]*=")
"""Start of a text that is probably a URL without its scheme."""
_ENCODED_QUERY = re.compile(r"%3f\S*%3d\S*", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    r"(?P<name>[?&;][\w.~%-]{0,40}(?:sig|token|credential|secret|passw|key|policy)[\w.~%-]{0,40})=[^&\s\"'<>]+",
    re.IGNORECASE,
)
_DATA_URI = re.compile(
    r"data:[a-z]{1,20}/[\w.+-]{1,60}(?:;[\w.=+-]{1,60}){0,5},[^\s\"'<>,]*",
    re.IGNORECASE,
)
_WEB = ("http:", "https:", "ws:", "wss:", "ftp:", "ftps:", "//")
"""Schemes whose URLs have a query and a fragment. In a store, ``?`` and ``#`` may be part of a file's name."""


def redact(value: object, limit: int = 200) -> str:
    """Return a value for a message or log: short, without image bytes, without a URL's signature."""
    redacted = redact_value(value)
    text = redacted if isinstance(redacted, str) else repr(redacted)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def invalid_field(name: str, value: object, advice: str) -> InvalidRequestError:
    """Return the error that names a field and its value as it may be shown.

    :param advice: whole sentences that name the limit and what to use instead.
    """
    text = redact(value)
    return InvalidRequestError(f"{name}={repr(text) if text == value else text} is not valid. {advice}")


def redact_value(value: object, depth: int = 0) -> object:
    """Return a copy of a value with the same structure and without secrets.

    An object that is not a collection is replaced by its redacted text if that differs.
    """
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float | Decimal):
        return value
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {
            redact_text(key) if isinstance(key, str) else key: redact_value(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact_value(item, depth + 1) for item in value]
    text = str(value)
    redacted = redact_text(text)
    # Airflow also shows the options of a path object, which can contain a key.
    is_path = isinstance(value, os.PathLike) or hasattr(value, "storage_options")
    return redacted if is_path or redacted != text else value


def redact_text(text: str) -> str:
    """Return a text without secrets, which are replaced by ``***``."""
    if text[:100].lstrip()[:5].lower() == "data:":
        return _shorten_data_uri(text.strip())
    if match := _WHOLE_URL.match(text):
        if match["scheme"].lower().startswith(_WEB):
            text = text[: match.end()] + HIDDEN
    elif match := _WHOLE_QUERY.match(text):
        text = text[: text.index("?") + 1] + HIDDEN
    text = _URL.sub(_redact_url, text)
    text = _SECRET_PARAMETER.sub(rf"\g<name>={HIDDEN}", text)
    return _DATA_URI.sub(lambda found: _shorten_data_uri(found.group()), text)


def _redact_url(found: re.Match[str]) -> str:
    scheme, authority, rest = found["scheme"], found["authority"], found["rest"]
    is_web = scheme.lower().startswith(_WEB)
    user, at, host = authority.rpartition("@")
    # In a store's URL, Airflow writes the connection's id in place of the user: s3://conn_id@bucket/key.
    if at and (is_web or ":" in unquote(user)):
        authority = f"{HIDDEN}@{host}"
    mark = re.search("[?#]", rest)
    if mark and is_web and rest[mark.end() :]:
        rest = rest[: mark.end()] + HIDDEN
    return f"{scheme}{authority}{_ENCODED_QUERY.sub(f'?{HIDDEN}', rest)}"


def _shorten_data_uri(uri: str) -> str:
    head, comma, content = uri.partition(",")
    if not comma:
        is_short = len(uri) <= _DATA_HEAD or uri[_DATA_HEAD] == "…"
        return uri if is_short else f"{uri[:_DATA_HEAD]}… ({len(uri)} characters)"
    return uri if content.startswith("…") else f"{head[:_DATA_HEAD]},… ({len(content)} characters)"
