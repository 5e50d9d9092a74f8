r"""Sanitising of texts from the API. No other module takes text from it.

A text of the API can reach a log, an event, an XCom, the ledger, a metric or a page. There a lone surrogate kills the
triggerer, PostgreSQL rejects a NUL, and an echoed key is a leak. So each text passes through :func:`clean` before it
leaves the parser, and each id and URL is either valid without a change or not used.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from urllib.parse import quote, urlsplit

MESSAGE_LIMIT = 4096
"""Maximum bytes of a message, encoded."""
ERROR_LIMIT = 1024
"""Maximum bytes of the message of an HTTP error, which becomes part of another message."""
NAME_LIMIT = 256
"""Maximum bytes of a code, a model or a status, encoded."""
MAX_REQUEST_ID = 512
"""Maximum characters of an id. Everything that stores ids accepts as many."""
MAX_URL = 16 * 1024
HIDDEN = "***"

_READ_AT_MOST = 16 * 1024
_WORD = 64
_MAX_STEM = 120
"""Twice this and a suffix still fit into the 255 bytes that a file system allows for a name."""
_SHORT_KEY = 6
_KEY_PREFIX = 48
"""Number of a key's characters that are searched in encoded forms; the rest is removed up to the next blank."""

# Sequences that control a terminal: control sequences, strings with their content, and two-byte escapes.
_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{0,8}[0-~]"
)
_BLANKS = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")
# C0, DEL, C1, and invisible format characters: bidi marks and overrides, zero-width ones, tags.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_SLASH = r"(?:\\{0,4}/|%(?:25)*2f)"
_SCHEME_END = re.compile(rf"(?::|%(?:25)*3a){_SLASH}{{2}}", re.I)
_ADDRESS = re.compile(rf"{_SCHEME_END.pattern}[^\s\"<>]*", re.I)
_AUTHORITY_END = re.compile(_SLASH, re.I)
_USER = re.compile(r".*(?:@|%(?:25)*40)", re.I)
_QUERY_MARK = r"(?:\?|%(?:25)*3f|\\{1,4}u003f)"
_QUERY = re.compile(rf"{_QUERY_MARK}[^\s\"<>]*", re.I)
_PATH_END = re.compile(rf"{_QUERY_MARK}|#|%(?:25)*23|\\{{1,4}}u0023", re.I)
_ASSIGNS = re.compile(r"=|%(?:25)*3d|\\{1,4}u003d", re.I)
_SIGNATURE = re.compile(
    r"(?<![a-z0-9])((?:x-(?:amz|goog|ms)-[a-z-]{1,40}|signature|sig|policy|key-pair-id|awsaccesskeyid|googleaccessid"
    r"|(?:access_?)?token|api_?key)\s?(?:=|%(?:25)*3d|\\{1,4}u003d)\s?)[^\s\"<>&,;]+",
    re.I,
)
# Most texts: only the key may have to be removed.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:()'! -]*\Z")


def clean(text: str, key: str = "", limit: int = MESSAGE_LIMIT) -> str:
    """Return a text of the API in a form that can be stored and shown anywhere.

    The result is one line of valid UTF-8 without control characters, without the key in any usual encoding, and without
    query, fragment and user of URLs.

    :param text: the API's text.
    :param key: the API key; ``""`` for none.
    :param limit: maximum bytes, encoded; a longer text ends with an ellipsis.
    """
    return _clean_word(text, key, limit) if len(text) <= _WORD else _clean(text, key, limit)


def _clean(text: str, key: str, limit: int) -> str:
    if len(text) > _READ_AT_MOST:
        # A part of the key at the cut is removed, too.
        text = text[: _READ_AT_MOST - 8 * len(key[:_KEY_PREFIX]) - len(key)]
    if not _PLAIN.match(text):
        text = _INVISIBLE.sub("", _ANSI.sub("", text))
        text = _SURROGATES.sub("\ufffd", text)
    text = _redact(_BLANKS.sub(" ", text).strip(), key)
    if not _PLAIN.match(text):
        text = _SIGNATURE.sub(rf"\1{HIDDEN}", _QUERY.sub(_without_query, _ADDRESS.sub(_without_secrets, text)))
        text = _redact(text, key)
    return _capped(text.strip(), limit)


# Cached: thousands of waits receive the same status and model.
_clean_word = lru_cache(maxsize=1024)(_clean)


def is_usable_id(request_id: object, key: str = "") -> bool:
    """Return whether an id can be polled, stored, logged, and used as a file name.

    It may have up to 512 printable characters of any script. ``.`` and ``..`` would change the path of a URL.
    """
    return (
        isinstance(request_id, str)
        and 0 < len(request_id) <= MAX_REQUEST_ID
        and request_id.isprintable()
        and request_id == request_id.strip()
        and request_id not in {".", ".."}
        and not holds_key(request_id, key)
    )


@lru_cache(maxsize=1024)
def shown_id(request_id: str, key: str = "") -> str:
    """Return an id in a form that can be stored and shown; a valid id is unchanged."""
    return request_id if is_usable_id(request_id, key) else clean(request_id, key)


def file_stem(request_id: str) -> str:
    """Return the name, without a suffix, of the file of a generation: an id is no path and may be long."""
    name = quote(request_id, safe="", errors="replace")
    if len(name) <= _MAX_STEM:
        return name
    digest = hashlib.sha256(request_id.encode(errors="replace")).hexdigest()[:32]
    return f"{name[: _MAX_STEM - 33]}-{digest}"


def is_video_url(value: object, key: str = "") -> bool:
    """Return whether a value is an http(s) URL that can be stored unchanged.

    A URL with a user is not: requests would not send the user, and a password would be stored with the result.
    """
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isprintable() or set(" \\") & set(value):
        return False
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises where it is none
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False
    return usable and not holds_key(value, key)


def holds_key(text: str, key: str) -> bool:
    """Return whether a text contains the key, plain or in a usual encoding."""
    return bool(key) and _key_pattern(key).search(text) is not None


def _redact(text: str, key: str) -> str:
    return _key_pattern(key).sub(HIDDEN, text) if key else text


@lru_cache(maxsize=64)
def _key_pattern(key: str) -> re.Pattern[str]:
    """Return the pattern that finds a key in either case: escaped, percent-encoded, split, base64 or hex."""
    if len(key) < _SHORT_KEY:
        # As part of ordinary words.
        return re.compile(rf"(?<![A-Za-z0-9]){re.escape(key)}(?![A-Za-z0-9])")
    plain = "[ \u200c\u200d]{0,4}".join(map(_disguises, key[:_KEY_PREFIX]))
    encoded = [re.escape(form) for form in _base64_forms(key)]
    rest = r"[^\s\"'<>]*" if len(key) > _KEY_PREFIX else ""
    hexadecimal = key.encode(errors="replace").hex()[: 2 * _KEY_PREFIX]
    return re.compile(rf"(?:{plain}){rest}|(?-i:{'|'.join(encoded)})[\w+/=-]*|{hexadecimal}[0-9a-f]*", re.I)


def _disguises(character: str) -> str:
    code = format(ord(character), "02x")
    escaped = rf"\\{{1,4}}(?:u00|x){code}|%(?:25)*{code}|&#(?:x0{{0,4}}{code}|0{{0,4}}{ord(character)});"
    return rf"(?:\\{{0,4}}{re.escape(character)}|{escaped})"


def _base64_forms(key: str) -> set[str]:
    """Return the part of the key's base64 that does not depend on the bytes around it, for each alignment."""
    forms = set()
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"\0" * offset + key.encode(errors="replace")).decode()
            first = -(-offset * 8 // 6)
            last = (offset + len(key)) * 8 // 6
            forms.add(whole[first:last][: 2 * _KEY_PREFIX])
    return forms


def _without_secrets(address: re.Match[str]) -> str:
    """Return the rest of a URL after its scheme, without user, query and fragment."""
    path = _PATH_END.split(address.group(), maxsplit=1)[0]
    scheme_end = _SCHEME_END.match(path)
    start = scheme_end.end() if scheme_end else 0
    slash = _AUTHORITY_END.search(path, start)
    end = slash.start() if slash else len(path)
    return path[:start] + _USER.sub("", path[start:end]) + path[end:]


def _without_query(query: re.Match[str]) -> str:
    """Return ``""`` for a match with an assignment: a query whose URL has no scheme or is encoded."""
    return "" if _ASSIGNS.search(query.group()) else query.group()


def _capped(text: str, limit: int) -> str:
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    return encoded[: limit - 3].decode(errors="ignore").rstrip() + "…"
