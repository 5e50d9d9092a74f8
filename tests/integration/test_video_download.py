"""Any answer of a video host: the download ends in time, within its size, and shows no secret."""

from __future__ import annotations

import gzip
import logging
import socket
from pathlib import Path

import pytest

from airflow_provider_grokvideo.api import connections, download
from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import DownloadError, InvalidRequestError
from airflow_provider_grokvideo.storage import check_writable
from tests.support.video_hosts import SECRET, VIDEO, Host, drips, refused, save, says, sends

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW = {
    "status-line": (b"HTTP/1.1 200", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Header: x\r\n"),
    "one-header": (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x"),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (OK + VIDEO[:1000], b"x"),
    "body-without-length": (b"HTTP/1.1 200 OK\r\n\r\n" + VIDEO[:1000], b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "length-of-a-chunk": (CHUNKED + b"1;", b"x"),
    "trailer": (CHUNKED + b"0\r\nX-Trailer: ", b"x"),
}


@pytest.mark.parametrize("where", SLOW)
def test_dripping_host_times_out(where: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SPEED_WINDOW", 0.6)
    monkeypatch.setattr(connections, "TICK", 0.05)
    host.answers = [drips(host, *SLOW[where])]
    # It would drip for ever.
    why = refused(host.url, tmp_path, request_timeout=0.8)
    assert "timed out" in why or "less than 1024 bytes/s" in why


def test_silent_host_times_out(host: Host, tmp_path: Path) -> None:
    host.answers = [drips(host, OK + VIDEO[:1000], b"", pause=60)]
    assert "timed out" in refused(host.url, tmp_path, request_timeout=0.5)


def test_slow_but_sufficient_host_succeeds(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SPEED_WINDOW", 0.6)
    monkeypatch.setattr(connections, "TICK", 0.05)

    def answer(connection: socket.socket) -> None:
        connection.sendall(OK.replace(b"1000000", str(len(VIDEO)).encode()))
        for start in range(0, len(VIDEO), 10_000):
            connection.sendall(VIDEO[start : start + 10_000])
            host.stopped.wait(0.1)

    host.answers = [answer]
    assert save(host.url, tmp_path) == VIDEO


def test_slow_store_does_not_time_out(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SPEED_WINDOW", 0.3)
    monkeypatch.setattr(connections, "TICK", 0.05)
    monkeypatch.setattr(download, "CHUNK", 20_000)
    host.answers = [says()]
    with GrokVideoClient(Settings()) as client, client.open_video(host.url) as pieces:
        received = b""
        for piece in pieces:
            received += piece
            host.stopped.wait(0.4)
    assert received == VIDEO


def test_wrong_content_length_is_refused(host: Host, tmp_path: Path) -> None:
    host.answers = [says(length=len(VIDEO) + 1)]
    assert "broke off" in refused(host.url, tmp_path)
    host.answers = [sends(CHUNKED + b"%x\r\n" % len(VIDEO) + VIDEO + b"\r\n")]
    assert "broke off" in refused(host.url, tmp_path)


@pytest.mark.parametrize("length", ["nonsense", "-1", "5, 6", "9" * 5000])
def test_invalid_content_length_is_an_error_or_ignored(length: str, host: Host, tmp_path: Path) -> None:
    host.answers = [sends(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + VIDEO)]
    try:
        assert save(host.url, tmp_path) == VIDEO
    except DownloadError as error:
        assert SECRET not in str(error)


def test_content_encoding_is_ignored(host: Host, tmp_path: Path) -> None:
    host.answers = [says(body=gzip.compress(VIDEO), Content_Encoding="gzip")]
    assert "no MP4 file" in refused(host.url, tmp_path)
    # S3 serves objects with the label under which they were uploaded.
    host.answers = [says(Content_Encoding="aws-chunked"), says(Content_Encoding="gzip")]
    assert save(host.url, tmp_path) == VIDEO
    assert save(host.url, tmp_path) == VIDEO
    assert b"accept-encoding: identity" in host.requests[0].lower()


def test_video_above_the_limit_is_refused(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_grokvideo.utils.retries.ATTEMPTS", 5)
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__MAX_VIDEO_BYTES", str(len(VIDEO) - 1))
    host.answers = [says(), sends(CHUNKED + b"%x\r\n" % len(VIDEO) + VIDEO + b"\r\n0\r\n\r\n"), drips(host, OK, VIDEO)]
    for _ in range(3):
        why = refused(host.url, tmp_path)
        assert f"larger than {len(VIDEO) - 1:,} bytes" in why
        assert "max_video_bytes" in why
    # Another attempt would find the same.
    assert host.connections == 3
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__MAX_VIDEO_BYTES", str(len(VIDEO)))
    host.answers = [says()]
    assert save(host.url, tmp_path) == VIDEO


def test_video_above_4_gib_is_refused_by_default(host: Host, tmp_path: Path) -> None:
    host.answers = [says(length=4 * 1024**3 + 1)]
    assert "larger than 4,294,967,296 bytes" in refused(host.url, tmp_path)


@pytest.mark.parametrize("value", ["nonsense", "0", "-1", "1.5"])
def test_invalid_max_video_bytes_is_refused(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__MAX_VIDEO_BYTES", value)
    with pytest.raises(InvalidRequestError, match="max_video_bytes"):
        check_writable(f"{tmp_path}/v.mp4")


@pytest.mark.parametrize("content", [b"root:x:0:0:root", b"<html>internal wiki</html>", b'{"AccessKeyId": "AKIA"}'])
def test_content_of_a_wrong_answer_is_not_shown(content: bytes, host: Host, tmp_path: Path) -> None:
    host.answers = [says(body=content)]
    why = refused(host.url, tmp_path)
    assert "no MP4 file" in why
    assert content[:9].decode() not in why


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff" * 100_000,
        b"HTTP/1.1 nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\n12345",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe:99999999/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xf0\x9f\x8e\xac\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 300 + b".example/\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"9" * 70_000,
    ],
)
def test_malformed_answer_is_a_clear_error(answer: bytes, host: Host, tmp_path: Path) -> None:
    host.answers = [sends(answer)]
    assert refused(host.url, tmp_path, request_timeout=2.0)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://h/x", "http://[", "http://", "https:///x", "nonsense", ""]
)
def test_invalid_url_is_a_clear_error(url: str, tmp_path: Path) -> None:
    # Without a URL, the API is asked for one, which cannot be reached here.
    assert refused(url, tmp_path)


# --- credentials --------------------------------------------------------------------------------------


def test_redirects_are_followed_without_credentials(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hunter2\ndefault login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    folder = tmp_path / "videos"
    folder.mkdir()
    targets = [f"http://127.0.0.1:{host.port}/1?{SECRET}", "/2", f"//127.0.0.1:{host.port}/3", "4?x=y"]
    targets.append(f"http://user:hunter2@127.0.0.1:{host.port}/5")
    cookie = "session=hunter2; Path=/"
    host.answers = [
        says(f"30{n} Moved", b"", Location=to, Set_Cookie=cookie) for n, to in zip("12378", targets, strict=True)
    ]
    host.answers.append(says())
    assert save(host.url, folder, api_key="sk-secret") == VIDEO
    assert [asked.split()[1] for asked in host.requests[1:]] == [
        f"/1?{SECRET}".encode(),
        b"/2",
        b"/3",
        b"/4?x=y",
        b"/5",
    ]
    for asked in host.requests:
        lower = asked.lower()
        assert not any(word in lower for word in (b"authorization", b"cookie", b"hunter2", b"sk-secret", b"referer"))


def test_endless_redirects_are_refused(host: Host, tmp_path: Path) -> None:
    host.answers = [says("302 Found", b"", Location=host.url)]
    assert "redirects more than 5 times" in refused(host.url, tmp_path)
    assert host.connections == 6


def test_redirects_share_one_deadline(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TICK", 0.05)

    def slowly(connection: socket.socket) -> None:
        host.stopped.wait(0.6)
        says("302 Found", b"", Location=host.url)(connection)

    host.answers = [slowly]
    # Each redirect is in time; with a deadline each, the sixth would be refused as one too many.
    assert "timed out" in refused(host.url, tmp_path, request_timeout=1.0)
    assert host.connections < 6


def test_signed_url_is_in_no_log(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    host.answers = [says("302 Found", b"", Location=f"/next?{SECRET}"), says(), sends(b"")]
    save(host.url, tmp_path)
    (tmp_path / "v.mp4").unlink()
    refused(host.url, tmp_path)
    refused(f"http://127.0.0.1:1/v.mp4?{SECRET}", tmp_path)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    assert any("/next" in line for line in lines)
    assert SECRET not in caplog.text
    # Others log as ever.
    logging.getLogger("urllib3.connectionpool").debug("%s", "http://elsewhere/?a=b")
    assert "a=b" in caplog.text
