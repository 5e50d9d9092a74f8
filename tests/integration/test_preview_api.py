"""The preview asks an API that drips, says too much or nothing: its threads come back, and other APIs are asked."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import Any

import pytest

from airflow_provider_grokvideo.plugins.preview import progress as progress_module
from airflow_provider_grokvideo.plugins.preview.progress import MAX_CONCURRENT_POLLS, UNKNOWN, ProgressCache

REQUEST_TIMEOUT = 0.5


class Dripping:
    """Answers with headers, then with one byte now and then, for ever."""

    def __init__(self, first: bytes) -> None:
        self.first = first
        self.accepted = 0
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            if self._stop.is_set():
                peer.close()
                return
            self.accepted += 1
            thread = threading.Thread(target=self._drip, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _drip(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.sendall(self.first)
            while not self._stop.wait(0.05):
                peer.sendall(b" ")

    def close(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._listener.close()
        for thread in self._threads:
            thread.join()


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(params=["", HEADERS.decode() + "X-Drip: ", HEADERS.decode() + "Content-Length: 100000\r\n\r\n"])
def dripping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dripping]:
    server = Dripping(request.param.encode())
    host = f"http://127.0.0.1:{server.port}/grok/v1"
    monkeypatch.setenv(
        "AIRFLOW_CONN_DRIPPING", json.dumps({"conn_type": "grokvideo", "host": host, "password": "k" * 20})
    )
    monkeypatch.setattr(progress_module, "REQUEST_TIMEOUT", REQUEST_TIMEOUT)
    yield server
    server.close()


def test_dripping_api_holds_no_thread_and_no_other_api(dripping: Dripping, sandbox: Any) -> None:
    progress = ProgressCache()
    progress.get("grokvideo_default", "warm-up")
    before = threading.active_count()

    started = time.monotonic()
    with ThreadPoolExecutor(12) as viewers:
        said = list(viewers.map(lambda number: progress.get("dripping", str(number % 4)), range(12)))
    took = time.monotonic() - started

    assert said == [UNKNOWN] * 12
    assert took < REQUEST_TIMEOUT + 10
    assert dripping.accepted <= MAX_CONCURRENT_POLLS
    # The connection is left alone for a while; another is asked at once.
    assert progress.get("dripping", "one more") == UNKNOWN
    assert dripping.accepted <= MAX_CONCURRENT_POLLS
    assert all(progress._slots.acquire(blocking=False) for _ in range(MAX_CONCURRENT_POLLS))
    for _ in range(MAX_CONCURRENT_POLLS):
        progress._slots.release()
    request_id = _submitted()
    assert progress.get("grokvideo_default", request_id)["state"] in {"pending", "done"}
    assert threading.active_count() <= before + len(dripping._threads) + 2


def _submitted() -> str:
    from airflow_provider_grokvideo.api.request import VideoRequest
    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

    return GrokVideoHook().submit(VideoRequest(prompt="A lake", duration=1))


def test_viewers_of_one_generation_share_one_question() -> None:
    asked, go = [], threading.Event()

    def ask(conn_id: str, request_id: str) -> Any:
        asked.append(request_id)
        go.wait(10)
        raise ValueError("no answer")

    progress = ProgressCache(ask)
    with ThreadPoolExecutor(8) as viewers:
        looking = [viewers.submit(progress.get, "c", "r") for _ in range(8)]
        # All but the one that asks.
        finished = list(islice(as_completed(looking, timeout=10), 7))
        go.set()

    assert asked == ["r"]
    assert [one.result() for one in finished] == [UNKNOWN] * 7


def test_unknown_connection_and_unusable_id_are_unknown_progress() -> None:
    progress = ProgressCache()

    assert progress.get("no_such_connection", "r") == UNKNOWN
    assert progress.get("grokvideo_default", "\ud800") == UNKNOWN
