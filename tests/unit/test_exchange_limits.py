"""The body of a response: decoded within its limits."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.api.exchange import MAX_BODY_BYTES, BodyReader, describe_cause, exchange_seconds

TEXT = b'{"status": "pending"}'
RAW_DEFLATE = zlib.compressobj(wbits=-15)


def read(body: bytes, encoding: str = "", limit: int = 1000) -> tuple[bytes, str]:
    """Return what a reader makes of a body that comes in two pieces."""
    reader = BodyReader({"content-encoding": encoding} if encoding else {}, limit)
    if reader.feed(body[:7]):
        reader.feed(body[7:])
    return reader.finish()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (TEXT, ""),
        (TEXT, "identity"),
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), "X-GZIP"),
        (zlib.compress(TEXT), "deflate"),
        (RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush(), "deflate"),
        (gzip.compress(zlib.compress(TEXT)), "deflate, gzip"),
    ],
    ids=["none", "identity", "gzip", "x-gzip", "zlib", "deflate", "two"],
)
def test_body_is_decoded(body: bytes, encoding: str) -> None:
    assert read(body, encoding) == (TEXT, "")


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (bytes(1001), "", "larger than 1000"),
        (gzip.compress(bytes(1001)), "gzip", "when it is decompressed"),
        (gzip.compress(bytes(10_000_000))[:900], "gzip", "when it is decompressed"),
        (gzip.compress(TEXT)[:-4], "gzip", "damaged"),
        (TEXT, "gzip", "damaged"),
        (b"", "gzip", "damaged"),
        (TEXT, "br", "not asked for"),
        (TEXT, "gzip, gzip, gzip, gzip", "not asked for"),
    ],
    ids=["large", "large-gzip", "cut-bomb", "cut", "no-gzip", "empty", "brotli", "four"],
)
def test_unparsed_body_says_why(body: bytes, encoding: str, words: str) -> None:
    content, error = read(body, encoding)
    assert words in error
    assert len(content) <= 1000


def test_compression_bomb_uses_little_memory() -> None:
    bomb = gzip.compress(bytes(300 * 1024 * 1024), 9)
    assert len(bomb) < MAX_BODY_BYTES
    tracemalloc.start()
    _, error = read(bomb, "gzip", MAX_BODY_BYTES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error
    assert peak < 8 * MAX_BODY_BYTES


@given(st.binary(max_size=200), st.sampled_from(["", "gzip", "deflate", "deflate,gzip", "br", "\x00, ,"]))
def test_reader_never_fails(body: bytes, encoding: str) -> None:
    content, error = read(body, encoding, limit=100)
    assert len(content) <= 100
    assert isinstance(error, str)


def test_large_request_has_a_longer_timeout() -> None:
    assert exchange_seconds(30, None) == exchange_seconds(30, bytes(MAX_BODY_BYTES)) == 30
    assert exchange_seconds(30, bytes(21 * MAX_BODY_BYTES)) == 30 + 20 * 8


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """Return an error that was raised from another."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (ValueError("http://u:s3cret@p"), "ValueError"),
        (caused(OSError("s3cret"), TimeoutError("s3cret")), "TimeoutError"),
        (OSError("Tunnel connection failed: 407 s3cret"), "HTTP 407 from the proxy"),
        (UnicodeDecodeError("utf-8", b"s3cret", 0, 1, "s3cret"), "UnicodeDecodeError"),
    ],
)
def test_error_cause_holds_no_foreign_text(error: Any, words: str) -> None:
    assert describe_cause(error) == words
