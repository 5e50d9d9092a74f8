"""A host of videos with scripted answers, and a client that saves from it."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo import storage
from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import DownloadError
from tests.support.mp4_files import head

VIDEO = head(100_000) + bytes(100_000)
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


def says(status: str = "200 OK", body: bytes = VIDEO, length: int | None = None, **headers: str) -> HTTPResponse:
    """Return an answer with a body, whose length it may tell wrongly."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return sends("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def sends(content: bytes) -> HTTPResponse:
    """Return an answer as it goes over the wire."""
    return lambda connection: connection.sendall(content)


def drips(host: Host, start: bytes, drop: bytes, pause: float = 0.05) -> HTTPResponse:
    """Return a slow answer without end."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        while not host.stopped.wait(pause):
            connection.sendall(drop)

    return answer


def save(url: str, folder: Path, **settings: Any) -> bytes:
    """Save a video, and return what was saved."""
    with GrokVideoClient(Settings(base_url="http://127.0.0.1:1", **{"request_timeout": 5.0, **settings})) as client:
        saved = storage.save(client, Generation("id", "done", video_url=url), f"{folder}/v.mp4")
    assert saved.size_bytes == len((folder / "v.mp4").read_bytes())
    return (folder / "v.mp4").read_bytes()


def refused(url: str, folder: Path, **settings: Any) -> str:
    """Try to save a video; return why it was refused, after looking for what must not be said."""
    with pytest.raises(DownloadError) as caught:
        save(url, folder, **settings)
    assert list(folder.iterdir()) == []
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)
