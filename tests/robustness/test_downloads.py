"""Any answer of a video host: a typed error, or the whole video under its name."""

from __future__ import annotations

import gzip
from functools import cache
from typing import Any

import pytest

from tests.robustness.bounded import KEY, run
from tests.support.hostile import SIGNATURE, assert_clean
from tests.support.mp4_files import FTYP, box, encode, head, moov
from tests.support.raw_server import CLOSE, HOLD, RESET, RawServer, Step, drip, repeat, response

pytestmark = pytest.mark.timeout(120)

OK = b"HTTP/1.1 200 OK\r\n"
MIB = bytes(1024 * 1024)
SIZE = 40 * 1024**2
SIGNED = f"/v.mp4?X-Amz-Signature={SIGNATURE}"
LAYOUTS = ("", "+faststart", "+frag_keyframe+empty_moov")


@cache
def video(movflags: str = "") -> bytes:
    """Return a whole video."""
    return encode(movflags)


def streamed(*pieces: Step, length: int | None = None) -> list[Step]:
    """Return the script of a response, with or without a length, that is closed at its end."""
    field = b"" if length is None else b"Content-Length: %d\r\n" % length
    return [OK + field + b"\r\n", *pieces]


def nested(depth: int) -> bytes:
    """Return boxes, each within the other."""
    return b"".join((8 * left).to_bytes(4) + b"moov" for left in range(depth, 0, -1))


WHOLE: dict[str, Any] = {
    "with-length": lambda: [response(200, video())],
    "without-length": lambda: streamed(video()),
    "interim-first": lambda: [b"HTTP/1.1 103 E\r\nA: b\r\n\r\n", response(200, video())],
    "chunks": lambda: [
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(video()) + video() + b"\r\n0\r\n\r\n"
    ],
    "moov-first": lambda: [response(200, video("+faststart"))],
    "fragments": lambda: [response(200, video("+frag_keyframe+empty_moov"))],
    "large": lambda: streamed(head(SIZE), *[MIB] * (SIZE // len(MIB)), length=len(head(SIZE)) + SIZE),
}

HOSTILE: dict[str, Any] = {
    "closed": [CLOSE],
    "reset": [RESET],
    "silence": [HOLD],
    "103-for-ever": repeat(b"HTTP/1.1 103 E\r\n\r\n", 0.001),
    "expired": [response(403, b"<Error>expired</Error>")],
    "not-found": [response(404, KEY.encode())],
    "html": [response(200, b"<html>sign in</html>")],
    "empty": [response(200)],
    "secret": [response(200, b"root:x:0:0:root:/root:/bin/bash\n" * 99)],
    "partial": [response(206, FTYP, Content_Range="bytes 0-19/99")],
    "slow-headers": repeat(b"HTTP/1.1 200 OK\r\nX: y\r\n", 0.1),
    "slow-body": [OK + b"Content-Length: 100000\r\n\r\n" + head(1000), *drip(b"x" * 500, 0.1)],
    "slow-chunks": [OK + b"Transfer-Encoding: chunked\r\n\r\n", *drip(b"1\r\nx\r\n" * 500, 0.1, 6)],
    "silence-in-body": streamed(head(1000), HOLD, length=9999),
    "too-short": streamed(head(1000), bytes(999), CLOSE, length=len(head(1000)) + 1000),
    "too-long-length": streamed(head(1000), bytes(1000), HOLD, length=10**18),
    "length-above-the-limit": streamed(HOLD, length=5 * 1024**3),
    "endless": repeat(OK + b"\r\n" + head(2**32 - 17) + MIB),
    "endless-header": [OK + b"X: ", *[MIB] * 50],
    "endless-headers": repeat(OK + b"X: y\r\n" * 10_000),
    "gzip": [response(200, gzip.compress(FTYP), Content_Encoding="gzip")],
    "bomb": [response(200, gzip.compress(bytes(300 * 1024**2)), Content_Encoding="gzip")],
    "chunk-nonsense": [OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"],
    "mdat-empty": [response(200, FTYP + box(b"mdat"))],
    "moov-alone": [response(200, FTYP + moov(9999, 100))],
    "box-of-size-1": [response(200, FTYP + box(b"moov", b"x" * 99, size=1))],
    "box-of-2-to-the-63": [response(200, FTYP + box(b"moov", b"x" * 99, large=True, size=2**63))],
    "moov-without-end": repeat(OK + b"\r\n" + FTYP + box(b"moov", b"", size=2**31) + MIB),
    "moov-of-a-gigabyte": streamed(FTYP, box(b"moov", b"", size=2**30), *[MIB] * 200, HOLD, length=2**30 + 99),
    "boxes-within-boxes": [
        response(200, FTYP + (100_000).to_bytes(4) + b"moov" + (99_000).to_bytes(4) + b"moov" * 24_750)
    ],
    "a-million-boxes": [response(200, FTYP + box(b"free") * 1_000_000)],
    "redirect-for-ever": [response(302, Location="/again")],
    "redirect-to-file": [response(302, Location="file:///etc/passwd")],
    "redirect-to-nonsense": [response(302, Location="http://[")],
    "redirect-to-bytes": [b"HTTP/1.1 302 X\r\nLocation: \xff\xfe\x80\r\nContent-Length: 0\r\n\r\n"],
    "not-http": [bytes(range(256)) * 300],
}


@pytest.mark.parametrize("script", WHOLE.values(), ids=WHOLE)
def test_whole_video_is_saved_in_little_memory(script: Any) -> None:
    with RawServer(script()) as server:
        outcome = run("download", server.url + SIGNED)
    assert outcome.kind == "saved", outcome
    assert outcome.saved == ("v.mp4",)
    assert b"\r\naccept-encoding: identity\r\n" in server.requests[0].lower()


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE)
def test_hostile_host_causes_a_typed_error_and_no_file(script: Any) -> None:
    with RawServer(script) as server:
        outcome = run("download", server.url + SIGNED)
    assert outcome.kind in {"DownloadError", "VideoTooLargeError"}, outcome
    assert outcome.saved == ()
    assert_clean(outcome.text, KEY)
    assert "root:x" not in outcome.text


@pytest.mark.parametrize("movflags", LAYOUTS, ids=["moov-last", "moov-first", "fragments"])
def test_video_cut_anywhere_is_not_saved(movflags: str) -> None:
    content = video(movflags)
    cuts = sorted({len(content) * part // 20 for part in range(1, 20)} | {len(content) - last for last in (1, 8, 100)})
    for cut in cuts:
        # Without a length nothing but the file itself says that it is not whole.
        with RawServer(streamed(content[:cut])) as server:
            outcome = run("download", server.url + SIGNED)
        assert (outcome.kind, outcome.saved) == ("DownloadError", ()), (cut, outcome)


def test_redirect_gets_neither_key_nor_netrc(tmp_path: Any) -> None:
    with RawServer([response(200, video())]) as target:
        netrc = tmp_path / ".netrc"
        netrc.write_text("machine 127.0.0.1 login me password hidden-word\n")
        with RawServer([response(302, Location=f"{target.url}/v.mp4", Set_Cookie="a=b")]) as server:
            outcome = run("download", server.url + SIGNED, environ={"NETRC": str(netrc)})
    assert outcome.kind == "saved", outcome
    for request in (*server.requests, *target.requests):
        assert not {b"authorization", b"cookie"} & {line.split(b":")[0].lower() for line in request.split(b"\r\n")}
