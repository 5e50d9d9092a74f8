"""The host of a video may say anything: the download ends in time, within its size, and tells no secret."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo import storage
from airflow_provider_grokvideo.api import download
from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import DownloadError, InvalidRequestError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.storage import check_writable
from tests.support.mp4_files import head

FILM = head(100_000) + bytes(100_000)
SECRET = "X-Amz-Signature=5ec4e7"
HTTPResponse = Callable[[socket.socket], None]


class Host:
    """A host that gives each connection the next answer, and the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[HTTPResponse] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """A signed URL of a video."""
        return f"http://127.0.0.1:{self.port}/v.mp4?{SECRET}"

    def close(self) -> None:
        """Stop."""
        self.stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.connections += 1
            self._threads.append(threading.Thread(target=self._answer, args=(connection, answer), daemon=True))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket, answer: HTTPResponse) -> None:
        with connection:
            try:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    asked += piece
                self.requests.append(asked)
                answer(connection)
            except OSError:
                return


@pytest.fixture
def host() -> Iterator[Host]:
    """Return a host."""
    opened = Host()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try once: what is tried again is tested with the sandbox."""
    monkeypatch.setattr("airflow_provider_grokvideo.utils.retries.ATTEMPTS", 1)


def says(status: str = "200 OK", body: bytes = FILM, length: int | None = None, **headers: str) -> HTTPResponse:
    """Return an answer with a body, whose length it may tell wrongly."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return sends("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def sends(content: bytes) -> HTTPResponse:
    """Return an answer as it goes over the wire."""
    return lambda connection: connection.sendall(content)


def drips(host: Host, start: bytes, drop: bytes, pause: float = 0.05) -> HTTPResponse:
    """Return an answer that goes on for ever, slowly."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        while not host.stopped.wait(pause):
            connection.sendall(drop)

    return answer


def save(url: str, folder: Path, **settings: Any) -> bytes:
    """Save a video, and return what was saved."""
    with GrokVideoClient(Settings(base_url="http://127.0.0.1:1", **{"request_timeout": 5.0, **settings})) as client:
        landed = storage.save(client, Generation("id", "done", video_url=url), f"{folder}/v.mp4")
    assert landed.size_bytes == len((folder / "v.mp4").read_bytes())
    return (folder / "v.mp4").read_bytes()


def refused(url: str, folder: Path, **settings: Any) -> str:
    """Try to save a video; return why it was refused, after looking for what must not be said."""
    with pytest.raises(DownloadError) as caught:
        save(url, folder, **settings)
    assert list(folder.iterdir()) == []
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW = {
    "status-line": (b"HTTP/1.1 200", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Header: x\r\n"),
    "one-header": (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x"),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (OK + FILM[:1000], b"x"),
    "body-without-length": (b"HTTP/1.1 200 OK\r\n\r\n" + FILM[:1000], b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "length-of-a-chunk": (CHUNKED + b"1;", b"x"),
    "trailer": (CHUNKED + b"0\r\nX-Trailer: ", b"x"),
}


@pytest.mark.parametrize("where", SLOW)
def test_dripping_host_is_left(where: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SPEED_WINDOW", 0.6)
    monkeypatch.setattr(download, "_TICK", 0.05)
    host.answers = [drips(host, *SLOW[where])]
    began = time.monotonic()
    why = refused(host.url, tmp_path, request_timeout=0.8)
    assert time.monotonic() - began < 5
    assert "timed out" in why or "less than 1024 bytes/s" in why


def test_silent_host_is_left(host: Host, tmp_path: Path) -> None:
    host.answers = [drips(host, OK + FILM[:1000], b"", pause=60)]
    assert "timed out" in refused(host.url, tmp_path, request_timeout=0.5)


def test_host_that_is_just_fast_enough_is_not_left(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SPEED_WINDOW", 0.6)
    monkeypatch.setattr(download, "_TICK", 0.05)

    def answer(connection: socket.socket) -> None:
        connection.sendall(OK.replace(b"1000000", str(len(FILM)).encode()))
        for start in range(0, len(FILM), 10_000):
            connection.sendall(FILM[start : start + 10_000])
            host.stopped.wait(0.1)

    host.answers = [answer]
    assert save(host.url, tmp_path) == FILM


def test_slow_store_is_not_the_hosts_fault(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SPEED_WINDOW", 0.3)
    monkeypatch.setattr(download, "_TICK", 0.05)
    monkeypatch.setattr(download, "CHUNK", 20_000)
    host.answers = [says()]
    with GrokVideoClient(Settings()) as client, client.open_video(host.url) as pieces:
        received = b""
        for piece in pieces:
            received += piece
            host.stopped.wait(0.4)
    assert received == FILM


def test_answer_of_another_length_than_told_is_refused(host: Host, tmp_path: Path) -> None:
    host.answers = [says(length=len(FILM) + 1)]
    assert "broke off" in refused(host.url, tmp_path)
    host.answers = [sends(CHUNKED + b"%x\r\n" % len(FILM) + FILM + b"\r\n")]
    assert "broke off" in refused(host.url, tmp_path)


@pytest.mark.parametrize("length", ["nonsense", "-1", "5, 6", "9" * 5000])
def test_length_that_is_none_is_an_error_or_ignored(length: str, host: Host, tmp_path: Path) -> None:
    host.answers = [sends(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + FILM)]
    try:
        assert save(host.url, tmp_path) == FILM
    except DownloadError as error:
        assert SECRET not in str(error)


def test_nothing_is_decompressed(host: Host, tmp_path: Path) -> None:
    host.answers = [says(body=gzip.compress(FILM), Content_Encoding="gzip")]
    assert "no MP4 file" in refused(host.url, tmp_path)
    # S3 serves objects with the label under which they were uploaded.
    host.answers = [says(Content_Encoding="aws-chunked"), says(Content_Encoding="gzip")]
    assert save(host.url, tmp_path) == FILM
    assert save(host.url, tmp_path) == FILM
    assert b"accept-encoding: identity" in host.requests[0].lower()


def test_video_larger_than_allowed_is_refused(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_grokvideo.utils.retries.ATTEMPTS", 5)
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__MAX_VIDEO_BYTES", str(len(FILM) - 1))
    host.answers = [says(), sends(CHUNKED + b"%x\r\n" % len(FILM) + FILM + b"\r\n0\r\n\r\n"), drips(host, OK, FILM)]
    for _ in range(3):
        why = refused(host.url, tmp_path)
        assert f"larger than {len(FILM) - 1:,} bytes" in why
        assert "max_video_bytes" in why
    # Another attempt would find the same.
    assert host.connections == 3
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__MAX_VIDEO_BYTES", str(len(FILM)))
    host.answers = [says()]
    assert save(host.url, tmp_path) == FILM


def test_video_larger_than_4_gib_is_refused_by_default(host: Host, tmp_path: Path) -> None:
    host.answers = [says(length=4 * 1024**3 + 1)]
    assert "larger than 4,294,967,296 bytes" in refused(host.url, tmp_path)


@pytest.mark.parametrize("value", ["nonsense", "0", "-1", "1.5"])
def test_wrong_size_in_the_configuration_is_refused_before_paying(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__MAX_VIDEO_BYTES", value)
    with pytest.raises(InvalidRequestError, match="max_video_bytes"):
        check_writable(f"{tmp_path}/v.mp4")


@pytest.mark.parametrize("content", [b"root:x:0:0:root", b"<html>internal wiki</html>", b'{"AccessKeyId": "AKIA"}'])
def test_wrong_answer_is_not_shown(content: bytes, host: Host, tmp_path: Path) -> None:
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
def test_nonsense_is_an_error_in_words(answer: bytes, host: Host, tmp_path: Path) -> None:
    host.answers = [sends(answer)]
    assert refused(host.url, tmp_path, request_timeout=2.0)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://h/x", "http://[", "http://", "https:///x", "nonsense", ""]
)
def test_url_that_is_none_is_an_error_in_words(url: str, tmp_path: Path) -> None:
    # Without a URL, the API is asked for one, which cannot be reached here.
    assert refused(url, tmp_path)


# --- credentials --------------------------------------------------------------------------------------


def test_redirects_are_followed_a_few_times_without_credentials(
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
    assert save(host.url, folder, api_key="sk-secret") == FILM
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


def test_redirects_without_end_are_refused(host: Host, tmp_path: Path) -> None:
    host.answers = [says("302 Found", b"", Location=host.url)]
    assert "redirects more than 5 times" in refused(host.url, tmp_path)
    assert host.connections == 6


def test_redirects_share_one_deadline(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_TICK", 0.05)

    def slowly(connection: socket.socket) -> None:
        host.stopped.wait(0.6)
        says("302 Found", b"", Location=host.url)(connection)

    host.answers = [slowly]
    began = time.monotonic()
    assert "timed out" in refused(host.url, tmp_path, request_timeout=1.0)
    assert time.monotonic() - began < 2.5


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


# --- private hosts ------------------------------------------------------------------------------------

PRIVATE = [
    "127.0.0.1", "127.1", "0x7f000001", "2130706433", "localhost", "a.localhost", "localhost.", "0.0.0.0", "10.0.0.1",
    "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fd00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("name", PRIVATE)
def test_private_address_is_none_of_the_public(name: str) -> None:
    assert not download._may_be_public(name)


@pytest.mark.parametrize("name", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101", "a.example"])
def test_public_address_and_name_may_be_public(name: str) -> None:
    assert download._may_be_public(name)


def answer_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let the resolver give these addresses, and return the names that it is asked for."""
    asked: list[str] = []

    def getaddrinfo(name: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(name)
        known = [name] if name[0].isdigit() else addresses
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_private_hosts_are_allowed_by_default(host: Host, tmp_path: Path) -> None:
    host.answers = [says()]
    assert save(host.url, tmp_path) == FILM


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "video.example"])
def test_private_host_is_not_even_connected_to(
    name: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, "127.0.0.1", "10.0.0.1")
    why = refused(f"http://{name}:{host.port}/v.mp4?{SECRET}", tmp_path, allow_private_hosts=False)
    assert "allow_private_hosts" in why
    assert host.connections == 0


def test_private_address_beside_a_public_one_is_not_connected_to(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer_with(monkeypatch, "127.0.0.1", "1.1.1.1")
    connected: list[str] = []

    def connect(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(download, "create_connection", connect)
    refused(f"http://video.example:{host.port}/v.mp4?{SECRET}", tmp_path, allow_private_hosts=False)
    assert connected == ["1.1.1.1"]
    # One look-up: what was checked is what is connected to.
    assert asked == ["video.example"]


def test_redirect_to_a_private_host_is_refused(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.create_connection
    monkeypatch.setattr(download, "create_connection", lambda *_, **__: real(("127.0.0.1", host.port)))
    answer_with(monkeypatch, "1.1.1.1")
    for target in (f"http://169.254.169.254:{host.port}/", "http://[::1]/x", "http://127.1/x"):
        before = host.connections
        host.answers = [says("302 Found", b"", Location=target), says()]
        why = refused(f"http://video.example/v.mp4?{SECRET}", tmp_path, allow_private_hosts=False)
        assert "allow_private_hosts" in why
        assert host.connections == before + 1
    host.answers = [says("302 Found", b"", Location="http://other.example/x"), says()]
    assert save("http://video.example/v.mp4", tmp_path, allow_private_hosts=False) == FILM


def test_proxy_may_be_private(host: Host, tmp_path: Path) -> None:
    host.answers = [says()]
    proxy = {"proxy": f"http://127.0.0.1:{host.port}", "allow_private_hosts": False}
    assert save("http://video.example/v.mp4", tmp_path, **proxy) == FILM
    (tmp_path / "v.mp4").unlink()
    assert "allow_private_hosts" in refused("http://169.254.169.254/x", tmp_path, **proxy)
    assert host.connections == 1


@pytest.mark.parametrize(
    ("given", "allowed"), [(False, False), ("false", False), (True, True), ("True", True), (None, True)]
)
def test_connection_says_whether_private_hosts_are_allowed(
    given: object, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connection(value: object) -> str:
        return json.dumps({"conn_type": "grokvideo", "extra": {"allow_private_hosts": value}})

    monkeypatch.setenv("AIRFLOW_CONN_PRIVATE", connection(given))
    assert GrokVideoHook("private").settings.allow_private_hosts is allowed
    monkeypatch.setenv(
        "AIRFLOW_CONN_WRONG", json.dumps({"conn_type": "grokvideo", "extra": {"allow_private_hosts": "x"}})
    )
    with pytest.raises(InvalidRequestError, match="allow_private_hosts"):
        _ = GrokVideoHook("wrong").settings
