"""Texts, documents and bodies that an API should not send, and a check of their output."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from airflow_provider_grokvideo.api import protocol
from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import ApiError, GrokVideoError

KEY = "sk-Zq81xTopSecret/Key+0042=="
SIGNATURE = "f00dfacecafe5167"
SIGNED_URL = f"https://user:{SIGNATURE}@cdn.example/v.mp4?X-Amz-Signature={SIGNATURE}&x=1#t={SIGNATURE}"
SETTINGS = Settings(api_key=KEY)
ID = "4b2cd27e-0b0d-3dec-c31c-7572daf74bb3"

FIELDS = (
    *("status", "data", "task_id", "request_id", "id", "video", "videos", "url", "fail_reason", "progress", "model"),
    *("models", "usage", "cost_in_usd_ticks", "error", "code", "message", "detail", "respect_moderation", "duration"),
)


def disguises(key: str) -> list[str]:
    """Return the key in every form in which a server may echo it."""
    return [
        key,
        key.upper(),
        key.lower(),
        quote(key, safe=""),
        quote(quote(key, safe=""), safe=""),
        "".join(f"\\u{ord(character):04x}" for character in key),
        "".join(f"%{ord(character):02X}" for character in key),
        "".join(f"&#{ord(character)};" for character in key),
        key.replace("/", "\\/"),
        " ".join(key),
        "\n".join((key[:9], key[9:])),
        "\x00".join(key),
        f"{key[:7]}\x1b[31m{key[7:]}",
        f"{key[:7]}\u202e{key[7:]}",
        f"{key[:7]}\u200b{key[7:]}",
        base64.b64encode(f"user:{key}".encode()).decode(),
        base64.b64encode(f"Bearer {key}!".encode()).decode(),
        base64.urlsafe_b64encode(key.encode()).decode(),
        key.encode().hex(),
    ]


NASTY = (
    *("\ud800", "\udfff tail", "a\x00b", "\x1b[31mred\x1b[0m", "\x1b]8;;http://evil/\x07click", "\x9b2J", "\u202eevil"),
    *(
        "one\r\ntwo",
        "one\u2028two",
        "\x85",
        "\x7f",
        "\ufeff",
        "\u2066x",
        "x" * 20_000,
        "é" * 9000,
        "http://[",
        SIGNED_URL,
    ),
    *(f"GET {SIGNED_URL} failed", SIGNED_URL.replace("/", "\\/"), quote(SIGNED_URL, safe=""), "moderated \ud8ff"),
    f"cdn.example/v.mp4?sig={SIGNATURE}",
)
texts = (
    st.text(st.characters(), max_size=12)
    | st.sampled_from(NASTY)
    | st.sampled_from(disguises(KEY))
    | st.sampled_from(["done", "failed", "pending", "expired", "moderated", "task_not_exist", "https://e/v.mp4", ""])
    | st.tuples(st.text(max_size=4), st.sampled_from(disguises(KEY)), st.text(max_size=4)).map("".join)
)
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**64, 1e308, 10**17])
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | texts, children, max_size=6)
    ),
    max_leaves=20,
)
bodies = documents.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=300)
answers = st.builds(
    HTTPResponse,
    st.sampled_from([200, 202, 301, 400, 401, 403, 404, 422, 429, 500, 503]),
    st.dictionaries(st.just("content-type"), texts, max_size=1),
    bodies,
)

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def what_comes_out(answer: HTTPResponse, settings: Settings = SETTINGS, request_id: str = ID) -> dict[str, Any]:
    """Return everything that the parser makes of an answer, by name: each a text, a number or nothing."""
    found: dict[str, Any] = {}
    readers = {
        "poll": lambda: vars(protocol.read_poll(settings, request_id, answer)),
        "submission": lambda: {"id": protocol.read_submission(settings, answer)},
        "models": lambda: dict(enumerate(protocol.read_models(settings, answer))),
        "error": lambda: _fields(protocol.read_api_error(settings, answer, request_id)),
    }
    for name, read in readers.items():
        try:
            values = read()
        except GrokVideoError as error:
            values = _fields(error)
        found |= {f"{name}.{field}": value for field, value in values.items()}
    return found


def _fields(error: GrokVideoError) -> dict[str, Any]:
    fields: dict[str, Any] = {"error": str(error)}
    return fields | vars(error) if isinstance(error, ApiError) else fields


def assert_clean(text: str, key: str = KEY, limit: int = 8192) -> None:
    """Assert what makes a text fit for every log, database and page."""
    assert len(text.encode()) <= limit
    assert _FORBIDDEN.search(text) is None
    squeezed = text.replace(" ", "").lower()
    assert key.lower() not in squeezed
    assert SIGNATURE not in text
    assert quote(key, safe="").lower() not in squeezed
    assert base64.b64encode(key.encode()).decode().rstrip("=")[:20] not in text
