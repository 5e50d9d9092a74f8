"""Any answer to one call: a typed outcome, within time and memory, and no secret in it.

Each row says how an API answers, and what becomes of a submission and of a poll. The question of a submission is
whether the API may have accepted it: then the outcome is unknown, and it is never sent again.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Any

import pytest

from tests.robustness.bounded import ID, KEY, run
from tests.support.hostile import assert_clean
from tests.support.raw_server import CLOSE, HOLD, RESET, RawServer, Step, drip, repeat, response

pytestmark = pytest.mark.timeout(120)

UNKNOWN, REJECTED, NOT_SENT = "SubmissionUnknownError", "RequestRejectedError", "TransportError"
NO_ANSWER, SERVER = "TransportError", "ServerError"
MIB = b" " * 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\n"
BAD = b"HTTP/1.1 400 Bad\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = {"request_id": ID, "status": "pending", "data": [{"id": "grok-imagine-video"}]}


def bomb(mebibytes: int, wbits: int = zlib.MAX_WBITS | 16) -> bytes:
    """Return so many MiB of blanks, compressed."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join([*(compressor.compress(MIB) for _ in range(mebibytes)), compressor.flush()])


def whole(status: int, body: Any = b"", **fields: str) -> list[Step]:
    """Return the script of one whole response."""
    return [response(status, body, **fields)]


def error(status: int, code: str = "", message: str = "no") -> list[Step]:
    """Return the script of an error in the API's own words."""
    return whole(status, {"error": {"code": code, "message": message}})


@dataclass(frozen=True)
class Row:
    """An answer, and what becomes of a submission and of a poll with either client.

    :param models: whether the test of the connection says that it works.
    """

    script: Any
    submit: str
    poll: str
    models: bool = False


GOOD_ROW = ("id", "pending", True)
ROWS: dict[str, Row] = {
    # Interim answers and other statuses that are none.
    "good": Row(whole(200, GOOD), *GOOD_ROW),
    "100-first": Row([b"HTTP/1.1 100 Continue\r\n\r\n", *whole(200, GOOD)], *GOOD_ROW),
    "102-and-103-first": Row([b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nA: b\r\n\r\n", *whole(200, GOOD)], *GOOD_ROW),
    "103-and-closed": Row([b"HTTP/1.1 103 E\r\nA: b\r\n\r\n", CLOSE], UNKNOWN, NO_ANSWER),
    "103-and-silence": Row([b"HTTP/1.1 103 E\r\n\r\n", HOLD], UNKNOWN, NO_ANSWER),
    "103-for-ever": Row(repeat(b"HTTP/1.1 103 E\r\n\r\n", 0.001), UNKNOWN, NO_ANSWER),
    "101": Row([b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", HOLD], UNKNOWN, ""),
    "status-099": Row([b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n"], UNKNOWN, ""),
    "status-999": Row([b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"], UNKNOWN, ""),
    "status-1000": Row([b"HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n"], UNKNOWN, ""),
    "status-nonsense": Row([b"HTTP/1.1 \xff\xfe X\r\n\r\n"], UNKNOWN, NO_ANSWER),
    # Connections that break.
    "closed": Row([CLOSE], UNKNOWN, NO_ANSWER),
    "reset": Row([RESET], UNKNOWN, NO_ANSWER),
    "silence": Row([HOLD], UNKNOWN, NO_ANSWER),
    "cut-in-headers": Row([b"HTTP/1.1 400 Bad\r\nContent-Ty", CLOSE], UNKNOWN, NO_ANSWER),
    "cut-in-body": Row([OK + b'Content-Length: 99\r\n\r\n{"request_id": "r"}', CLOSE], UNKNOWN, NO_ANSWER),
    "reset-in-body": Row([OK + b"Content-Length: 99\r\n\r\n{", RESET], UNKNOWN, NO_ANSWER),
    "silence-in-body": Row([OK + b"Content-Length: 99\r\n\r\n{", HOLD], UNKNOWN, NO_ANSWER),
    # Drips.
    "slow-status": Row(drip(b"HTTP/1.1 200 OK\r\n", 0.3), UNKNOWN, NO_ANSWER),
    "slow-header": Row([OK + b"X: ", *drip(b"y" * 200, 0.1)], UNKNOWN, NO_ANSWER),
    "slow-headers": Row(repeat(b"HTTP/1.1 200 OK\r\nX: y\r\n", 0.1), UNKNOWN, ""),
    "slow-body": Row([OK + b"Content-Length: 999\r\n\r\n", *drip(b" " * 999, 0.1)], UNKNOWN, NO_ANSWER),
    "slow-chunks": Row([CHUNKED, *drip(b"1\r\nx\r\n" * 99, 0.1, 6)], UNKNOWN, NO_ANSWER),
    "slow-rejection": Row(
        [b"HTTP/1.1 400 No\r\nContent-Length: 999\r\n\r\n", *drip(b" " * 999, 0.1)], UNKNOWN, NO_ANSWER
    ),
    # Lengths.
    "length-longer": Row([OK + b"Content-Length: 9999999999\r\n\r\n" + b" " * 2_000_000, HOLD], UNKNOWN, SERVER),
    "length-negative": Row([OK + b"Content-Length: -1\r\n\r\n", CLOSE], UNKNOWN, ""),
    "length-word": Row([OK + b"Content-Length: ten\r\n\r\n", CLOSE], UNKNOWN, ""),
    "lengths-differ": Row([OK + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}", CLOSE], UNKNOWN, ""),
    "length-of-5000-digits": Row([OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", CLOSE], UNKNOWN, ""),
    "chunk-nonsense": Row([CHUNKED + b"zz\r\n", CLOSE], UNKNOWN, NO_ANSWER),
    "chunk-negative": Row([CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n", CLOSE], UNKNOWN, NO_ANSWER),
    "chunk-huge": Row([CHUNKED + b"ffffffffffff\r\n", *[MIB] * 4, HOLD], UNKNOWN, SERVER),
    "chunk-size-endless": Row([CHUNKED, *[b"1" * 65536] * 40, HOLD], UNKNOWN, NO_ANSWER),
    "chunk-extension-endless": Row([CHUNKED + b"1;", *[b"x" * 65536] * 40, HOLD], UNKNOWN, NO_ANSWER),
    "no-last-chunk": Row([CHUNKED + b"2\r\n{}\r\n", CLOSE], UNKNOWN, NO_ANSWER),
    # Sizes.
    "endless-body": Row(repeat(OK + b"\r\n" + MIB), UNKNOWN, SERVER),
    "50-MB-rejection": Row([b"HTTP/1.1 422 No\r\nContent-Length: 50000000\r\n\r\n", *[MIB] * 47], REJECTED, REJECTED),
    "endless-status": Row([b"HTTP/1.1 200 ", *[MIB] * 50], UNKNOWN, NO_ANSWER),
    "endless-header": Row([OK + b"X: ", *[MIB] * 50], UNKNOWN, NO_ANSWER),
    "endless-headers": Row(repeat(OK + b"X: y\r\n" * 10_000), UNKNOWN, NO_ANSWER),
    "large-headers": Row([OK, *[b"X-%d: " % n + b"y" * 60_000 + b"\r\n" for n in range(90)], HOLD], UNKNOWN, NO_ANSWER),
    # Encodings.
    "gzip": Row(whole(200, gzip.compress(json.dumps(GOOD).encode()), Content_Encoding="gzip"), *GOOD_ROW),
    "deflate": Row(whole(200, zlib.compress(json.dumps(GOOD).encode()), Content_Encoding="deflate"), *GOOD_ROW),
    "gzip-bomb": Row(whole(200, bomb(300), Content_Encoding="gzip"), UNKNOWN, SERVER),
    "deflate-bomb": Row(whole(200, bomb(300, -15), Content_Encoding="deflate"), UNKNOWN, SERVER),
    "gzip-twice": Row(whole(200, gzip.compress(bomb(1000)), Content_Encoding="gzip, gzip"), UNKNOWN, SERVER),
    "gzip-ten-times": Row(whole(200, bomb(10), Content_Encoding=", ".join(["gzip"] * 10)), UNKNOWN, ""),
    "gzip-cut": Row(whole(200, gzip.compress(MIB)[:-9], Content_Encoding="gzip"), UNKNOWN, SERVER),
    "gzip-of-nothing": Row(whole(200, json.dumps(GOOD).encode(), Content_Encoding="gzip"), UNKNOWN, SERVER),
    "brotli": Row(whole(200, b"\x0b\x02\x80{}\x03", Content_Encoding="br"), UNKNOWN, SERVER),
    "encoding-nonsense": Row(whole(200, GOOD, Content_Encoding="\xff" * 5000), UNKNOWN, SERVER),
    # Bodies.
    "empty": Row(whole(200), UNKNOWN, "pending"),
    "html": Row(whole(200, b"<html>nginx</html>", Content_Type="text/html"), UNKNOWN, SERVER),
    "deep": Row(whole(200, b"[" * 500_000), UNKNOWN, SERVER),
    "deep-object": Row(whole(200, b'{"video":' * 100_000), UNKNOWN, SERVER),
    "wide": Row(whole(200, b"[" + b"[]," * 300_000 + b"[]]"), UNKNOWN, SERVER),
    "many-keys": Row(whole(200, json.dumps({str(n): n for n in range(60_000)}).encode()), UNKNOWN, SERVER),
    "huge-number": Row(whole(200, b'{"progress": ' + b"9" * 900_000 + b"}"), UNKNOWN, "pending"),
    "huge-exponent": Row(whole(200, b'{"progress": 1e999999999, "duration": -1e999}'), UNKNOWN, "pending"),
    "surrogates": Row(whole(200, b'{"status": "\\ud800", "model": "\\udfff"}'), UNKNOWN, "pending"),
    "nul": Row(
        whole(200, b'{"status": "failed", "error": {"code": "a\\u0000b", "message": "\\u001b[2J"}}'), UNKNOWN, "failed"
    ),
    "bad-utf-8": Row(whole(200, b'{"status": "\xff\xfe"}'), UNKNOWN, SERVER),
    "utf-16": Row(whole(200, json.dumps(GOOD).encode("utf-16")), *GOOD_ROW),
    "unusable-id": Row(whole(200, {"request_id": "a\nb/../../c\x00"}), UNKNOWN, "pending"),
    "id-of-a-megabyte": Row(whole(200, {"request_id": "i" * 900_000}), UNKNOWN, "pending"),
    "key-as-id": Row(whole(200, {"request_id": KEY}), UNKNOWN, "pending"),
    "key-echoed": Row(whole(400, {"error": f"Authorization: Bearer {KEY} {KEY[::-1]}"}), REJECTED, REJECTED),
    "key-in-header": Row([OK + KEY.encode() + b"\r\n:" + KEY.encode() + b"\r\n\r\n", CLOSE], UNKNOWN, ""),
    "megabyte-of-message": Row(error(400, message="x" * 1_000_000), REJECTED, REJECTED),
    # Statuses. The last word of a rejection is whether anything was accepted.
    "400": Row(error(400), REJECTED, REJECTED),
    "401": Row(error(401), "AuthenticationError", "AuthenticationError"),
    "402": Row(error(402), "InsufficientQuotaError", "InsufficientQuotaError"),
    "403": Row(error(403), "AuthenticationError", "AuthenticationError"),
    "404": Row(error(404), REJECTED, "GenerationNotFoundError"),
    "408": Row(error(408), UNKNOWN, SERVER),
    "409": Row(error(409), REJECTED, REJECTED),
    "422": Row(error(422), REJECTED, REJECTED),
    "429": Row(error(429), "RateLimitError", "RateLimitError"),
    "429-for-a-day": Row(whole(429, GOOD, Retry_After="86400"), "RateLimitError", "RateLimitError"),
    "429-nonsense": Row(whole(429, GOOD, Retry_After="9" * 4000), "RateLimitError", "RateLimitError"),
    "500": Row(error(500), UNKNOWN, SERVER),
    "500-invalid": Row(error(500, "invalid_request"), REJECTED, SERVER),
    "503-no-model": Row(error(503, "model_not_found"), REJECTED, SERVER),
    "502-html": Row(whole(502, b"<html>bad gateway</html>"), UNKNOWN, SERVER),
    "599": Row(error(599), UNKNOWN, SERVER),
    # Redirections.
    "301": Row(whole(301, Location="http://127.0.0.1:9/"), REJECTED, REJECTED),
    "302-nonsense": Row(whole(302, Location="http://["), REJECTED, REJECTED),
    "302-bytes": Row([b"HTTP/1.1 302 X\r\nLocation: \xff\xfe\x80\r\nContent-Length: 0\r\n\r\n"], REJECTED, REJECTED),
    "303": Row(whole(303, Location="/elsewhere"), UNKNOWN, REJECTED),
    "307": Row(whole(307, Location="file:///etc/passwd"), REJECTED, REJECTED),
    # What is no HTTP.
    "bytes": Row([bytes(range(256)) * 300], UNKNOWN, NO_ANSWER),
    "ssh": Row([b"SSH-2.0-OpenSSH_9.2\r\n", HOLD], UNKNOWN, NO_ANSWER),
    "http-0.9": Row([json.dumps(GOOD).encode(), CLOSE], UNKNOWN, NO_ANSWER),
}


def checked(call: str, script: Any, *, path: str = "", **options: Any) -> tuple[str, str]:
    """Run a call against a server, check what holds for every outcome, and return kind and text."""
    with RawServer(script) as server:
        outcome = run(call, server.url + path, **options)
    assert_clean(outcome.text, KEY)
    assert not outcome.kind.startswith(("untyped", "died", "out of")), outcome
    return outcome.kind, outcome.text


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_submission_is_accepted_rejected_or_unknown(row: Row) -> None:
    assert checked("submit", row.script)[0] == row.submit


@pytest.mark.parametrize("call", ["poll", "apoll"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_poll_is_a_generation_or_a_typed_error(row: Row, call: str) -> None:
    kind, _ = checked(call, row.script)
    # Where the two libraries differ on what is no HTTP, either is right that does no harm.
    assert kind == row.poll or (not row.poll and kind in {"pending", NO_ANSWER, SERVER, REJECTED}), kind


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_connection_is_tested_without_an_exception(row: Row) -> None:
    kind, text = checked("test_connection", row.script)
    assert text
    if row.poll:
        assert (kind == "works") is row.models


def test_plain_answer_to_tls_means_not_submitted() -> None:
    with RawServer([b"HTTP/1.1 400 Speak TLS\r\n\r\n", CLOSE], reads=False) as server:
        url = server.url.replace("http:", "https:")
        assert run("submit", url).kind == NOT_SENT
        assert run("apoll", url).kind == NO_ANSWER
