"""Limits of the sandbox: access to control endpoints, memory, blocking hosts, time to exit."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.sandbox.jobs import MAX_ENTRY_BYTES, truncate
from airflow_provider_grokvideo.sandbox.state import Log
from tests.support.sandbox_http import KEY

COMMAND = [sys.executable, "-m", "airflow_provider_grokvideo.sandbox", "--port", "0", "--render-seconds", "0"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(render_seconds=0) as running:
        yield running


def submit(base: str, **body: Any) -> str:
    body = {"prompt": "A lake", "duration": 1, **body}
    answer = requests.post(f"{base}/videos/generations", json=body, headers=KEY, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["request_id"])


def video(base: str, request_id: str) -> bytes:
    url = requests.get(f"{base}/videos/{request_id}", headers=KEY, timeout=30).json()["video"]["url"]
    answer = requests.get(url, timeout=60)
    answer.raise_for_status()
    return answer.content


# --- the control endpoints ------------------------------------------------------------------------

FAULT = json.dumps({"on": "submit", "fault": "html", "prompt_contains": "nobody says this"})


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("path", ["faults", "finish", "progress"])
def test_control_takes_json_only(path: str, content_type: str, sandbox: Sandbox) -> None:
    url = f"{sandbox.origin}/sandbox/{path}"
    assert requests.post(url, data=FAULT, headers={"Content-Type": content_type}, timeout=10).status_code == 415
    assert sandbox.armed == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": ""},
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
    ],
    ids=str,
)
def test_control_rejects_pages_of_other_sites(headers: dict[str, str], sandbox: Sandbox) -> None:
    url = f"{sandbox.origin}/sandbox/faults"
    headers = {"Content-Type": "application/json", **headers}
    for method in ("POST", "DELETE", "GET"):
        assert requests.request(method, url, data=FAULT, headers=headers, timeout=10).status_code in {400, 403}
    assert requests.get(f"{sandbox.origin}/sandbox/requests", headers=headers, timeout=10).status_code in {400, 403}
    assert sandbox.armed == []


def test_control_accepts_requests_of_same_machine(sandbox: Sandbox) -> None:
    port = sandbox.origin.rpartition(":")[2]
    kinds = (
        {},
        {"Origin": sandbox.origin},
        {"Host": f"localhost:{port}"},
        {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"},
    )
    for headers in kinds:
        headers = {"Content-Type": "application/json; charset=utf-8", **headers}
        url = f"{sandbox.origin}/sandbox/faults"
        assert requests.post(url, data=FAULT, headers=headers, timeout=10).status_code == 200
        assert requests.delete(url, headers=headers, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "body", ["[" * 100_000, "{", "\ud800".encode(errors="surrogatepass"), '{"on": 1' + "0" * 5000 + "}"]
)
def test_control_rejects_malformed_bodies(body: Any, sandbox: Sandbox) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("faults", "finish", "progress"):
        assert (
            requests.post(f"{sandbox.origin}/sandbox/{path}", data=body, headers=headers, timeout=10).status_code == 400
        )


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"x"', "null", "1" + "0" * 400])
def test_invalid_progress_is_rejected(number: str, sandbox: Sandbox) -> None:
    body = f'{{"request_id": "{submit(sandbox.base_url)}", "progress": {number}}}'
    headers = {"Content-Type": "application/json"}
    assert (
        requests.post(f"{sandbox.origin}/sandbox/progress", data=body, headers=headers, timeout=10).status_code == 400
    )


# --- bodies ---------------------------------------------------------------------------------------


def raw(sandbox: Sandbox, head: str, body: bytes = b"") -> bytes:
    """Return the response to raw bytes."""
    with socket.create_connection(("127.0.0.1", int(sandbox.origin.rpartition(":")[2])), timeout=10) as peer:
        peer.sendall(head.replace("\n", "\r\n").encode() + body)
        return peer.recv(4096)


POST = "POST /grok/v1/videos/generations HTTP/1.1\nHost: 127.0.0.1\nAuthorization: Bearer sandbox-key\n"


def test_announced_huge_body_is_rejected_unread(sandbox: Sandbox) -> None:
    assert b" 413 " in raw(sandbox, f"{POST}Content-Length: 99999999999\n\n").splitlines()[0]


@pytest.mark.parametrize("length", ["-1", "9" * 5000, "x"])
def test_invalid_content_length_is_rejected(length: str, sandbox: Sandbox) -> None:
    assert b" 400 " in raw(sandbox, f"{POST}Content-Length: {length}\n\n").splitlines()[0]


def test_body_without_length_is_read_to_limit(sandbox: Sandbox) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(70):
            yield b"x" * 1024 * 1024

    refused = False
    with contextlib.suppress(requests.ConnectionError):
        answer = requests.post(f"{sandbox.base_url}/videos/generations", data=chunks(), headers=KEY, timeout=60)
        refused = answer.status_code == 413
    submit(sandbox.base_url)
    assert refused or sandbox.refusals[-1]["status"] == 413


@pytest.mark.parametrize("body", ["[" * 100_000, '{"prompt":' * 100_000, '{"prompt": 1' + "0" * 5000 + "}"])
def test_unreadable_body_is_rejected(body: str, sandbox: Sandbox) -> None:
    for base in (sandbox.base_url, sandbox.xai_base_url):
        answer = requests.post(f"{base}/videos/generations", data=body, headers=KEY, timeout=30)
        assert answer.status_code == 400


@pytest.mark.parametrize(
    "query", ["expires=" + "9" * 5000 + "&serial=1", "expires=1&serial=" + "9" * 5000, "expires=²&serial=²"]
)
def test_malformed_video_urls_get_a_response(query: str, sandbox: Sandbox) -> None:
    request_id = submit(sandbox.base_url)
    answer = requests.get(f"{sandbox.origin}/videos/{request_id}.mp4?{query}&signature=x", timeout=30)
    assert answer.status_code in {400, 403}


@pytest.mark.parametrize("asked", [f"bytes={'9' * 5000}-", f"bytes=-{'9' * 5000}", "bytes=²-"])
def test_malformed_ranges_get_a_response(asked: str, sandbox: Sandbox) -> None:
    request_id = submit(sandbox.base_url)
    url = requests.get(f"{sandbox.base_url}/videos/{request_id}", headers=KEY, timeout=30).json()["video"]["url"]
    assert requests.get(url, headers={"Range": asked.encode()}, timeout=60).status_code in {200, 206, 416}


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**7,
        "é" * 10**7,
        ["x" * 1000] * 100_000,
        {str(number): number for number in range(300_000)},
        [[[["x" * 10**6]]]] * 20,
        {"x" * 10**6: 1},
        10**100_000,
    ],
    ids=["text", "accents", "list", "object", "nested", "key", "integer"],
)
def test_truncated_value_is_small(value: Any) -> None:
    kept = truncate(value)
    assert len(str(kept)) < 2 * MAX_ENTRY_BYTES


def test_small_value_is_unchanged() -> None:
    value = {
        "prompt": "A lake",
        "image": {"url": "data:image/png;base64," + "A" * 100_000},
        "extra": [1, None, 2.5, True],
    }
    assert truncate(value) == value


def test_deeply_nested_value_is_truncated() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    assert len(str(truncate(value))) < 1000


def test_log_truncates_entries() -> None:
    log = Log()
    log.append({"prompt": "x" * 10**7})
    assert len(log[0]["prompt"]) < 200


def test_large_submissions_use_bounded_memory(sandbox: Sandbox) -> None:
    image = "data:image/png;base64," + base64.b64encode(png(8, 8) + b"\0" * 12_000_000).decode()
    tracemalloc.start()
    try:
        submit(sandbox.base_url, image={"url": image})
        before = tracemalloc.get_traced_memory()[0]
        for number in range(12):
            submit(sandbox.base_url, image={"url": image}, user=str(number) * 1_000_000)
            requests.post(
                f"{sandbox.base_url}/videos/generations", json={"prompt": 5, "x": "x" * 10**7}, headers=KEY, timeout=30
            )
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # The limit is for all images together.
    assert grown < 80 * 1024 * 1024
    assert len(str(sandbox.submissions[-1])) < 2 * MAX_ENTRY_BYTES


def png(width: int, height: int) -> bytes:
    """Return a black PNG: a small file of any number of pixels."""
    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(b"\0" * (3 * width + 1)) for _ in range(height)) + packed.flush()
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )


class Program:
    """Run the sandbox as a separate process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.base = self.process.stdout.readline().split(": ", 1)[1].strip()

    def end(self) -> None:
        """Send SIGTERM and wait for the exit, which no work in progress may delay."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=15)


@pytest.fixture
def program() -> Iterator[Program]:
    program = Program()
    yield program
    program.process.kill()
    program.process.communicate()


def test_image_with_too_many_pixels_is_not_decoded(program: Program) -> None:
    bomb = "data:image/png;base64," + base64.b64encode(png(12_000, 12_000)).decode()
    content = video(program.base, submit(program.base, image={"url": bomb}))

    assert content[4:8] == b"ftyp"
    with Path(f"/proc/{program.process.pid}/status").open() as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak < 400 * 1024


# --- slow hosts and exit --------------------------------------------------------------------------


@pytest.fixture
def dripping() -> Iterator[str]:
    """Return the origin of a host that sends single bytes without an end."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def drip(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not stop.wait(0.1):
                peer.sendall(b"\x89")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                thread = threading.Thread(target=drip, args=(listener.accept()[0],))
                threads.append(thread)
                thread.start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield f"http://127.0.0.1:{port}"
        stop.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
        accepting.join()
    for thread in threads:
        thread.join()


def test_slow_image_host_blocks_neither_videos_nor_exit(program: Program, dripping: str) -> None:
    held = [submit(program.base, image={"url": f"{dripping}/{number}.png"}) for number in range(4)]
    waiting = [threading.Thread(target=lambda one=one: _quietly(program.base, one)) for one in held]
    for thread in waiting:
        thread.start()

    assert video(program.base, submit(program.base))[4:8] == b"ftyp"
    assert all(thread.is_alive() for thread in waiting)
    program.end()
    for thread in waiting:
        thread.join()
    assert program.process.returncode == 0


def _quietly(base: str, request_id: str) -> None:
    with contextlib.suppress(requests.RequestException, KeyError):
        video(base, request_id)


def test_open_work_does_not_delay_exit(program: Program, dripping: str) -> None:
    port = int(program.base.split(":")[2].split("/")[0])
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    idle[0].sendall(POST.replace("\n", "\r\n").encode() + b"Content-Length: 1000\r\n\r\n{")
    idle[1].sendall(b"GET /gro")
    submit(program.base, output={"upload_url": f"{dripping}/put"})
    threads = []
    for prompt in ("A lake", "x #fault:video:slow", "x #fault:video:trickle"):
        one = submit(program.base, prompt=prompt, duration=15)
        threads.append(threading.Thread(target=_quietly, args=(program.base, one)))
        threads[-1].start()
    # CPU use shows that rendering has started.
    process = psutil.Process(program.process.pid)
    deadline = time.monotonic() + 30
    while sum(process.cpu_times()[:2]) < 1 and time.monotonic() < deadline:
        time.sleep(0.05)

    program.end()
    for thread in threads:
        thread.join()
    for one in idle:
        one.close()
    assert program.process.returncode == 0
