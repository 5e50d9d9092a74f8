"""One HTTP exchange as both clients see it: request, response, and the limits of size and time. No I/O."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MAX_BODY_BYTES = 1024 * 1024
"""Maximum bytes of a response's body, as received and as decoded."""
MAX_LINE = 64 * 1024
"""Maximum bytes of one line of a response's headers."""
MIN_UPLOAD_SPEED = 128 * 1024
"""Minimum bytes per second that a large request is expected to be sent with."""
_MAX_ENCODINGS = 3
_MAX_CAUSES = 20
CONNECTION_FAILED = "the connection failed"


@dataclass(frozen=True)
class HTTPRequest:
    """One HTTP request to send."""

    method: Literal["GET", "POST"]
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class HTTPResponse:
    """One HTTP response. Header names are lower case, or the mapping ignores case.

    :param body: decoded; cut if ``body_error`` is set.
    :param body_error: why the body is not complete and must not be parsed, else ``""``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    body_error: str = ""


class BodyReader:
    """Collector of a response's body, which limits its size and decodes it.

    :param headers: the response's, with lower-case names or ignoring case.
    """

    __slots__ = ("_encodings", "_limit", "_pieces", "_size")

    def __init__(self, headers: Mapping[str, str], limit: int = MAX_BODY_BYTES) -> None:
        self._encodings = headers.get("content-encoding", "")
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> bool:
        """Take the next piece; return whether more may follow."""
        self._size += len(piece)
        self._pieces.append(piece)
        return self._size <= self._limit

    def finish(self) -> tuple[bytes, str]:
        """Return the body, and why it is not complete, or ``""``."""
        body = b"".join(self._pieces)
        if self._size > self._limit:
            return body[: self._limit], f"the body is larger than {self._limit} bytes"
        return self._decoded(body) if self._encodings else (body, "")

    def _decoded(self, body: bytes) -> tuple[bytes, str]:
        encodings = [name for name in re.split(r"[,\s]+", self._encodings.lower()) if name not in {"", "identity"}]
        if len(encodings) > _MAX_ENCODINGS or not set(encodings) <= {"gzip", "x-gzip", "deflate"}:
            return b"", "the body has an encoding that was not asked for"
        for _ in encodings:
            decoded = _inflate(body, self._limit)
            if decoded is None:
                return b"", "the compressed body is damaged"
            body = decoded
            if len(body) > self._limit:
                return body[: self._limit], f"the body is larger than {self._limit} bytes when it is decompressed"
        return body, ""


def exchange_seconds(request_timeout: float, body: bytes | None) -> float:
    """Return the maximum seconds of one exchange: connect, send, headers and body together.

    A request of more than 1 MiB, with images, gets the time to send the rest at ``MIN_UPLOAD_SPEED``.
    """
    return request_timeout + max(0, len(body or b"") - MAX_BODY_BYTES) / MIN_UPLOAD_SPEED


def describe_cause(error: BaseException) -> str:
    """Return the cause of a failure: the operating system's text, or the class of the innermost error.

    The error's own text is not used: it can contain a proxy's password, a signed URL, or a server's response.
    """
    for _ in range(_MAX_CAUSES):
        error = _cause(error) or error
    if refusal := re.match(r"Tunnel connection failed: (\d{3})", str(error)):
        return f"HTTP {refusal[1]} from the proxy"
    return getattr(error, "strerror", None) or type(error).__name__


def describe_failure(words: str, error: BaseException) -> str:
    """Return what went wrong: the system's words if they are more than the name of an error, else ours with it."""
    cause = describe_cause(error)
    if words == CONNECTION_FAILED and " " in cause:
        return cause[0].lower() + cause[1:]
    return f"{words} ({cause})"


def _cause(error: BaseException) -> BaseException | None:
    for candidate in (getattr(error, "reason", None), *error.args, error.__cause__):
        if isinstance(candidate, BaseException):
            return candidate
    return None


def _inflate(data: bytes, limit: int) -> bytes | None:
    """Return the decompressed data, one byte more than the limit at most; ``None`` for damaged data."""
    # gzip and zlib tell themselves apart; what some servers call deflate has neither's header.
    for window in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        decoder = zlib.decompressobj(window)
        try:
            decoded = decoder.decompress(data, limit + 1)
        except zlib.error:
            continue
        return decoded if decoder.eof or len(decoded) > limit else None
    return None
