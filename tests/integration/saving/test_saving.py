"""A finished video is saved whole or not at all, on every kind of store."""

from __future__ import annotations

import contextlib
import errno
import http.server
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

import airflow_provider_grokvideo
from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.exceptions import DownloadError
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.storage import destination, save
from tests.support.mp4_files import head as mp4_head
from tests.support.saved_videos import FullStore, check_saved, names_in

Attached = Callable[..., str]


def test_video_is_saved_under_its_name_only(
    client: GrokVideoClient, done: Generation, folder: ObjectStoragePath, content: bytes
) -> None:
    saved = save(client, done, folder / "fox.mp4")
    check_saved(saved, content)
    assert names_in(folder) == ["fox.mp4"]


def test_video_in_a_directory_is_named_by_its_id(
    client: GrokVideoClient, done: Generation, folder: ObjectStoragePath, content: bytes
) -> None:
    saved = save(client, done, f"{folder}/")
    check_saved(saved, content)
    assert names_in(folder) == [f"{done.request_id}.mp4"]


def test_saving_again_writes_the_same_file(
    client: GrokVideoClient, done: Generation, folder: ObjectStoragePath, content: bytes, sandbox: Sandbox
) -> None:
    first = save(client, done, folder / "fox.mp4")
    assert save(client, done, folder / "fox.mp4") == first
    check_saved(first, content)
    assert names_in(folder) == ["fox.mp4"]
    assert len(sandbox.submissions) == 1


def test_failed_save_keeps_an_earlier_file(
    client: GrokVideoClient, done: Generation, folder: ObjectStoragePath, sandbox: Sandbox
) -> None:
    target = folder / "fox.mp4"
    folder.fs.makedirs(folder.path, exist_ok=True)
    target.write_bytes(b"an earlier video")
    sandbox.fault("video", "cut_clean", times=None)
    with pytest.raises(DownloadError):
        save(client, done, target)
    assert target.read_bytes() == b"an earlier video"
    assert names_in(folder) == ["fox.mp4"]


def test_saved_path_names_the_store_connection(
    client: GrokVideoClient, done: Generation, content: bytes, attached: Attached
) -> None:
    conn_id = attached(MemoryFileSystem()).removeprefix("memory://").removesuffix("@")
    saved = save(client, done, f"memory://{uuid.uuid4().hex}/fox.mp4", conn_id)
    assert conn_id in saved.path
    check_saved(saved, content)


@pytest.mark.parametrize("name", ["../../escaped", "a/b", "..", "a\\b?c#d"])
def test_request_id_cannot_leave_the_directory(name: str, tmp_path: Path) -> None:
    target = destination(f"file://{tmp_path}/videos/", name)
    assert Path(target.path).parent == tmp_path / "videos"
    assert target.name.endswith(".mp4")


# --- what the destination does ------------------------------------------------------------------------


class Watched(MemoryFileSystem):
    """A store that notes what it holds when a file gets its name."""

    cachable = False
    store: dict[str, Any] = {}
    pseudo_dirs = [""]

    def __init__(self) -> None:
        super().__init__()
        self.before_copy: list[list[str]] = []

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Note, then copy."""
        self.before_copy.append(sorted(self.find("/")))
        super().cp_file(path1, path2, **kwargs)


def test_final_name_exists_only_for_a_whole_video(
    client: GrokVideoClient, done: Generation, attached: Attached, content: bytes
) -> None:
    watched = Watched()
    save(client, done, f"{attached(watched)}bucket/fox.mp4")
    ((name,),) = watched.before_copy
    assert Path(name).match(".grokvideo-*.part")
    assert sorted(watched.find("/")) == ["/bucket/fox.mp4"]
    assert watched.cat_file("/bucket/fox.mp4") == content


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), "No space left on device", id="full"),
        pytest.param(OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded", id="quota"),
        pytest.param(PermissionError(errno.EACCES, "Permission denied"), "Permission denied", id="forbidden"),
        pytest.param(RuntimeError("AccessDenied"), "AccessDenied", id="error-of-the-store's-own"),
    ],
)
def test_unwritable_destination_is_a_clear_error(
    error: Exception, words: str, client: GrokVideoClient, done: Generation, attached: Attached, sandbox: Sandbox
) -> None:
    full = FullStore(error)
    name = uuid.uuid4().hex
    with pytest.raises(DownloadError, match=words) as caught:
        save(client, done, f"{attached(full)}{name}/fox.mp4")
    assert "fox.mp4" in str(caught.value)
    assert full.find(f"/{name}") == []
    assert len(sandbox.submissions) == 1


def test_full_store_is_retried(
    client: GrokVideoClient, done: Generation, content: bytes, attached: Attached, caplog: pytest.LogCaptureFixture
) -> None:
    url = attached(FullStore(OSError(errno.ENOSPC, "No space left on device"), times=1))
    check_saved(save(client, done, f"{url}{uuid.uuid4().hex}/fox.mp4"), content)
    assert "No space left on device" in caplog.text


def test_forbidden_store_costs_one_download(
    client: GrokVideoClient, done: Generation, attached: Attached, sandbox: Sandbox
) -> None:
    downloads = len(sandbox.downloads)
    full = FullStore(PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(DownloadError, match="Permission denied"):
        save(client, done, f"{attached(full)}{uuid.uuid4().hex}/fox.mp4")
    assert len(sandbox.downloads) == downloads + 1


def test_destination_below_a_file_is_a_clear_error(client: GrokVideoClient, done: Generation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot write to"):
        save(client, done, f"file://{tmp_path}/file/fox.mp4")
    assert (tmp_path / "file").read_text() == "in the way"


def test_unknown_store_is_a_clear_error(client: GrokVideoClient, done: Generation) -> None:
    with pytest.raises((DownloadError, ValueError), match="nonsense"):
        save(client, done, "nonsense://bucket/fox.mp4")


# --- death --------------------------------------------------------------------------------------------

KILLED = """
import sys
from airflow_provider_grokvideo.api import download
from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo import storage, store_files

class Telling(store_files.Writer):
    def write(self, content):
        super().write(content)
        if content:
            self._file.flush()
            print("written", len(content), flush=True)

store_files.Writer = Telling
download.CHUNK = 4096
base_url, key, request_id, path = sys.argv[1:]
client = GrokVideoClient(Settings(base_url=base_url, api_key=key))
storage.save(client, client.get_generation(request_id), path)
print("saved", flush=True)
"""


def test_next_save_succeeds_after_a_killed_writer(
    sandbox: Sandbox, client: GrokVideoClient, done: Generation, content: bytes, tmp_path: Path
) -> None:
    sandbox.fault("video", "trickle", bytes_per_second=len(content) / 20)
    path = f"file://{tmp_path}/fox.mp4"
    root = str(Path(airflow_provider_grokvideo.__file__).parent.parent)
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, sandbox.base_url, sandbox.api_key, done.request_id, path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path[1:]])},
    )
    assert worker.stdout is not None
    said = next(line for line in worker.stdout if line.startswith(("written", "saved")))
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert said.startswith("written")
    (left,) = tmp_path.iterdir()
    assert left.match(".grokvideo-*.part")

    check_saved(save(client, done, path), content)
    assert [path.name for path in tmp_path.iterdir()] == ["fox.mp4"]
    assert len(sandbox.submissions) == 1


class Interrupted(MemoryFileSystem):
    """A store whose writer is interrupted."""

    cachable = False

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        opened = super()._open(path, mode, **kwargs)
        if "w" in mode and isinstance(opened, MemoryFile):
            opened.write = self._interrupt
        return opened

    def _interrupt(self, _: bytes) -> int:
        raise KeyboardInterrupt


def test_interrupted_writer_removes_its_file(client: GrokVideoClient, done: Generation, attached: Attached) -> None:
    interrupted, name = Interrupted(), uuid.uuid4().hex
    with pytest.raises(KeyboardInterrupt):
        save(client, done, f"{attached(interrupted)}{name}/fox.mp4")
    assert interrupted.find(f"/{name}") == []


# --- memory -------------------------------------------------------------------------------------------

LARGE = 256 * 1024 * 1024
PIECE = bytes(1024 * 1024)


class LargeVideo(http.server.BaseHTTPRequestHandler):
    """Serves one large video that takes no memory itself."""

    def do_GET(self) -> None:
        """Send it."""
        head = mp4_head(LARGE)
        self.send_response(200)
        self.send_header("Content-Length", str(len(head) + LARGE))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(head)
            for _ in range(LARGE // len(PIECE)):
                self.wfile.write(PIECE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_memory_does_not_grow_with_the_video(client: GrokVideoClient, tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), LargeVideo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v.mp4"
        tracemalloc.start()
        try:
            saved = save(client, Generation("large", "done", video_url=url), f"file://{tmp_path}/v.mp4")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            server.shutdown()
    assert saved.size_bytes > LARGE
    assert Path(tmp_path / "v.mp4").stat().st_size == saved.size_bytes
    assert peak < 24 * 1024 * 1024
