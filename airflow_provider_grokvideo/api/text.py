r"""The one place that takes text from the API.

Whatever the API writes may end in a log, an event, XCom, the ledger, a metric or a page. A lone surrogate there kills
the triggerer, a NUL makes PostgreSQL refuse the row, an echoed key is a leak. So each text passes through
:func:`clean` before it leaves the parser, and each id and URL is either usable as it is or not used at all.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from urllib.parse import quote, urlsplit

MESSAGE_LIMIT = 4096
"""Bytes of a message, after encoding."""
ERROR_LIMIT = 1024
"""Bytes of the message of an HTTP error, which is shown in the middle of another message."""
NAME_LIMIT = 256
"""Bytes of a code, a model or a status, after encoding."""
MAX_REQUEST_ID = 512
"""Characters of an id that is used. Everything that stores ids takes as many."""
MAX_URL = 16 * 1024
HIDDEN = "***"

_READ_AT_MOST = 16 * 1024
_WORD = 64
_MAX_STEM = 120
"""Twice this and a suffix still fit into the 255 bytes that a file system allows for a name."""
_SHORT_KEY = 6
_KEY_PREFIX = 48
"""Characters of a key that are looked for in disguise; what follows them is removed up to the next blank."""

# What a terminal would obey: control sequences, strings with their content, and two-byte escapes.
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
# Nearly every text: nothing to remove in it but the key.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:()'! -]*\Z")


def clean(text: str, key: str = "", limit: int = MESSAGE_LIMIT) -> str:
    """Return a text of the API as it may be stored and shown anywhere.

    One line of valid UTF-8 without control characters, without the key in any usual disguise, and without query,
    fragment and user of the URLs in it.

    :param text: what the API wrote.
    :param key: the API key; ``""`` for none.
    :param limit: bytes after encoding; what is longer ends in an ellipsis.
    """
    return _clean_word(text, key, limit) if len(text) <= _WORD else _clean(text, key, limit)


def _clean(text: str, key: str, limit: int) -> str:
    if len(text) > _READ_AT_MOST:
        # What may be the first half of a key, cut here, goes as well.
        text = text[: _READ_AT_MOST - 8 * len(key[:_KEY_PREFIX]) - len(key)]
    if not _PLAIN.match(text):
        text = _INVISIBLE.sub("", _ANSI.sub("", text))
        text = _SURROGATES.sub("\ufffd", text)
    text = _redact(_BLANKS.sub(" ", text).strip(), key)
    if not _PLAIN.match(text):
        text = _SIGNATURE.sub(rf"\1{HIDDEN}", _QUERY.sub(_without_query, _ADDRESS.sub(_without_secrets, text)))
        text = _redact(text, key)
    return _capped(text.strip(), limit)


# Thousands of waits hear the same status and model again and again.
_clean_word = lru_cache(maxsize=1024)(_clean)


def is_usable_id(request_id: object, key: str = "") -> bool:
    """Return whether an id can be polled, stored, logged, and name a file.

    Printable characters of any script, up to 512 of them. ``.`` and ``..`` mean another address in a URL's path.
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
    """Return an id as it may be stored and shown: itself where it is usable."""
    return request_id if is_usable_id(request_id, key) else clean(request_id, key)


def file_stem(request_id: str) -> str:
    """Return the name, without a suffix, of the file of a generation: an id is no path and may be long."""
    name = quote(request_id, safe="", errors="replace")
    if len(name) <= _MAX_STEM:
        return name
    digest = hashlib.sha256(request_id.encode(errors="replace")).hexdigest()[:32]
    return f"{name[: _MAX_STEM - 33]}-{digest}"


def is_video_url(value: object, key: str = "") -> bool:
    """Return whether a value is an http(s) URL that can be kept exactly as it is.

    One with a user in it is not: requests would not send that user, and a password would be stored with the result.
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
    """Return whether a text holds the key, plain or in a usual disguise."""
    return bool(key) and _key_pattern(key).search(text) is not None


def _redact(text: str, key: str) -> str:
    return _key_pattern(key).sub(HIDDEN, text) if key else text


@lru_cache(maxsize=64)
def _key_pattern(key: str) -> re.Pattern[str]:
    """Return what finds a key: in either case, escaped, percent-encoded, split by blanks, as base64 or as hex."""
    if len(key) < _SHORT_KEY:
        # As it stands inside of ordinary words.
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
    """Return the part of the key's base64 that does not depend on what stands beside it, for each alignment."""
    forms = set()
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"\0" * offset + key.encode(errors="replace")).decode()
            first = -(-offset * 8 // 6)
            last = (offset + len(key)) * 8 // 6
            forms.add(whole[first:last][: 2 * _KEY_PREFIX])
    return forms


def _without_secrets(address: re.Match[str]) -> str:
    """Return what follows a URL's scheme, without user, query and fragment."""
    path = _PATH_END.split(address.group(), maxsplit=1)[0]
    scheme_end = _SCHEME_END.match(path)
    start = scheme_end.end() if scheme_end else 0
    slash = _AUTHORITY_END.search(path, start)
    end = slash.start() if slash else len(path)
    return path[:start] + _USER.sub("", path[start:end]) + path[end:]


def _without_query(query: re.Match[str]) -> str:
    """Return nothing for what assigns something: a query whose URL lacks its scheme or is encoded."""
    return "" if _ASSIGNS.search(query.group()) else query.group()


def _capped(text: str, limit: int) -> str:
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    return encoded[: limit - 3].decode(errors="ignore").rstrip() + "…"
