"""A finished video on its way to its destination: whole or not at all, whatever goes wrong between."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.server
import math
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

import airflow_provider_grokvideo
from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.media import MAX_IMAGE_BYTES
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import DownloadError, InvalidRequestError, StorageError
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.storage import Landed, check_writable, destination, read_image, save
from airflow_provider_grokvideo.utils.retries import ATTEMPTS
from tests.support.mp4_files import head as mp4_head

pytest.importorskip("av", reason="the sandbox needs its extra to render videos")

Attached = Callable[..., str]


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    """Return one API for all tests of this file."""
    with Sandbox(render_seconds=0) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def request_id(running: Sandbox) -> str:
    """Return a finished generation that all tests share: it is rendered once."""
    return client_of(running).submit(VideoRequest(prompt="A red fox in the snow", duration=1))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat at once."""
    monkeypatch.setattr("airflow_provider_grokvideo.utils.retries.PAUSE", 0.0)


@pytest.fixture
def sandbox(running: Sandbox) -> Iterator[Sandbox]:
    """Return the API without faults."""
    yield running
    running.clear_faults()


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[GrokVideoClient]:
    """Return a client of it."""
    with client_of(sandbox) as opened:
        yield opened


@pytest.fixture
def done(client: GrokVideoClient, request_id: str) -> Generation:
    """Return the finished generation, with a fresh URL."""
    generation = client.get_generation(request_id)
    assert generation.state == "done"
    return generation


@pytest.fixture(scope="module")
def film(running: Sandbox, request_id: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the bytes of the video, fetched by another way."""
    from urllib.request import urlopen

    with urlopen(client_of(running).get_generation(request_id).video_url or "") as answer:
        content: bytes = answer.read()
    assert content[4:8] == b"ftyp"
    return content


def client_of(sandbox: Sandbox, **settings: Any) -> GrokVideoClient:
    """Return a client of the sandbox."""
    return GrokVideoClient(Settings(base_url=sandbox.base_url, api_key=sandbox.api_key, **settings))


def names_in(folder: ObjectStoragePath) -> list[str]:
    """Return what is in a directory, hidden files too."""
    folder.fs.invalidate_cache()
    return sorted(Path(name).name for name in folder.fs.ls(folder.path, detail=False))


# --- every store --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """Return a filesystem of a store that speaks S3, with a bucket."""
    s3fs = pytest.importorskip("s3fs", minversion="2023.1", reason="a current s3fs is needed to write to S3")
    moto = pytest.importorskip("moto.server", reason="moto's server stands in for S3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        filesystem = s3fs.S3FileSystem(key="k", secret="s", client_kwargs={"endpoint_url": f"http://{host}:{port}"})
        filesystem.mkdir("bucket")
        yield filesystem
    finally:
        server.stop()


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, attached: Attached) -> ObjectStoragePath:
    """Return a directory on each kind of store."""
    if request.param == "local":
        return ObjectStoragePath(f"file://{tmp_path}/videos")
    if request.param == "memory":
        return ObjectStoragePath(f"{attached(MemoryFileSystem())}{uuid.uuid4().hex}/videos")
    return ObjectStoragePath(f"{attached(request.getfixturevalue('s3'), 's3')}bucket/{uuid.uuid4().hex}/videos")


def check_landed(landed: Landed, film: bytes) -> None:
    """Assert that what is told is what is there."""
    assert ObjectStoragePath(landed.path).read_bytes() == film
    assert landed.size_bytes == len(film)
    assert landed.sha256 == hashlib.sha256(film).hexdigest()
    assert landed.content_type == "video/mp4"


def test_video_lands_whole_under_its_name_alone(
    client: GrokVideoClient, done: Generation, folder: ObjectStoragePath, film: bytes
) -> None:
    landed = save(client, done, folder / "fox.mp4")
    check_landed(landed, film)
    assert names_in(folder) == ["fox.mp4"]


def test_directory_gives_the_video_the_name_of_its_generation(
    client: GrokVideoClient, done: Generation, folder: ObjectStoragePath, film: bytes
) -> None:
    landed = save(client, done, f"{folder}/")
    check_landed(landed, film)
    assert names_in(folder) == [f"{done.request_id}.mp4"]


def test_landing_again_writes_the_same_file(
    client: GrokVideoClient, done: Generation, folder: ObjectStoragePath, film: bytes, sandbox: Sandbox
) -> None:
    first = save(client, done, folder / "fox.mp4")
    assert save(client, done, folder / "fox.mp4") == first
    check_landed(first, film)
    assert names_in(folder) == ["fox.mp4"]
    assert len(sandbox.submissions) == 1


def test_failed_landing_leaves_an_earlier_file_as_it_was(
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


def test_connection_of_the_store_is_carried_in_the_path(
    client: GrokVideoClient, done: Generation, film: bytes, attached: Attached
) -> None:
    conn_id = attached(MemoryFileSystem()).removeprefix("memory://").removesuffix("@")
    landed = save(client, done, f"memory://{uuid.uuid4().hex}/fox.mp4", conn_id)
    assert conn_id in landed.path
    check_landed(landed, film)


@pytest.mark.parametrize("name", ["../../escaped", "a/b", "..", "a\\b?c#d"])
def test_id_of_a_generation_names_a_file_and_no_path(name: str, tmp_path: Path) -> None:
    target = destination(f"file://{tmp_path}/videos/", name)
    assert Path(target.path).parent == tmp_path / "videos"
    assert target.name.endswith(".mp4")


# --- what the video's host does -----------------------------------------------------------------------

FAULTS = {
    "expired_url": "HTTP 403 (the URL has expired)",
    "not_found": "HTTP 404 (the URL has expired)",
    "server_error": "HTTP 500",
    "cut_short": "the download broke off",
    "cut_clean": "cut short",
    "html": "no MP4 file",
    "close": "no answer from the video's host",
    "slow": "timed out",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_that_passes_costs_one_more_download_from_a_fresh_url(
    fault: str, sandbox: Sandbox, request_id: str, film: bytes, tmp_path: Path
) -> None:
    options = {"delay": 60.0} if fault == "slow" else {}
    with client_of(sandbox, request_timeout=0.5 if fault == "slow" else 20.0) as client:
        done = client.get_generation(request_id)
        polls, downloads = len(sandbox.polls), len(sandbox.downloads)
        sandbox.fault("video", fault, **options)
        check_landed(save(client, done, f"file://{tmp_path}/fox.mp4"), film)
    assert len(sandbox.downloads) == downloads + 2
    assert len(sandbox.polls) == polls + 1
    assert len(sandbox.submissions) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["fox.mp4"]


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "slow"])
def test_fault_that_stays_is_an_error_in_words_and_leaves_nothing(
    fault: str, sandbox: Sandbox, client: GrokVideoClient, done: Generation, tmp_path: Path
) -> None:
    downloads = len(sandbox.downloads)
    sandbox.fault("video", fault, times=None)
    with pytest.raises(DownloadError) as caught:
        save(client, done, f"file://{tmp_path}/fox.mp4")
    assert FAULTS[fault] in str(caught.value)
    assert len(sandbox.downloads) == downloads + ATTEMPTS
    assert list(tmp_path.iterdir()) == []
    assert sandbox.api_key not in str(caught.value)
    assert "signature" not in str(caught.value)


def test_generation_without_url_is_asked_about_first(
    client: GrokVideoClient, request_id: str, film: bytes, tmp_path: Path
) -> None:
    check_landed(save(client, Generation(request_id, "done"), f"file://{tmp_path}/fox.mp4"), film)


def test_url_that_is_old_is_exchanged_for_a_fresh_one(
    sandbox: Sandbox, client: GrokVideoClient, done: Generation, film: bytes, tmp_path: Path
) -> None:
    url = (done.video_url or "").replace("signature=", "signature=0")
    stale = Generation(done.request_id, "done", video_url=url)
    check_landed(save(client, stale, f"file://{tmp_path}/fox.mp4"), film)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("expired", "reports it as expired"),
        ("not_found", "no fresh URL"),
        ("server_error", "no fresh URL"),
        ("bare_id", "pending"),
    ],
)
def test_api_that_names_no_fresh_url_is_an_error_in_words(
    fault: str, words: str, sandbox: Sandbox, client: GrokVideoClient, done: Generation, tmp_path: Path
) -> None:
    sandbox.fault("video", "expired_url", times=1)
    sandbox.fault("poll", fault, times=None)
    with pytest.raises(DownloadError, match=words) as caught:
        save(client, done, f"file://{tmp_path}/fox.mp4")
    assert done.request_id in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_key_is_never_sent_to_the_videos_host(
    sandbox: Sandbox,
    client: GrokVideoClient,
    done: Generation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {sandbox.api_key}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    count = len(sandbox.downloads)
    save(client, done, f"file://{tmp_path}/fox.mp4")
    assert len(sandbox.downloads) == count + 1
    assert [download for download in sandbox.downloads if download["authorization"]] == []


def test_certificate_trusted_for_the_api_is_trusted_for_its_videos(
    ca_file: str, context: ssl.SSLContext, tmp_path: Path
) -> None:
    with Sandbox(render_seconds=0, ssl_context=context) as secure, client_of(secure, verify=ca_file) as client:
        generation = client.get_generation(client.submit(VideoRequest(prompt="p", duration=1)))
        assert (generation.video_url or "").startswith("https://")
        assert save(client, generation, f"file://{tmp_path}/fox.mp4").size_bytes > 1000


def test_untrusted_certificate_of_the_videos_host_is_an_error_in_words(
    client: GrokVideoClient, done: Generation, context: ssl.SSLContext, tmp_path: Path
) -> None:
    with Sandbox(ssl_context=context) as secure:
        elsewhere = Generation(done.request_id, "done", video_url=f"{secure.origin}/videos/x.mp4")
        landed = save(client, elsewhere, f"file://{tmp_path}/fox.mp4")
        # The fresh URL is the API's own again.
        assert landed.size_bytes > 1000
        assert secure.downloads == []


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


def test_final_name_is_there_only_once_the_video_is_whole(
    client: GrokVideoClient, done: Generation, attached: Attached, film: bytes
) -> None:
    watched = Watched()
    save(client, done, f"{attached(watched)}bucket/fox.mp4")
    ((name,),) = watched.before_copy
    assert Path(name).match(".grokvideo-*.part")
    assert sorted(watched.find("/")) == ["/bucket/fox.mp4"]
    assert watched.cat_file("/bucket/fox.mp4") == film


class Full(MemoryFileSystem):
    """A store that runs full while a file is written to it, that many times."""

    cachable = False

    def __init__(self, error: Exception, times: float = math.inf) -> None:
        super().__init__()
        self.error = error
        self.times = times

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        opened = super()._open(path, mode, **kwargs)
        if "w" in mode and self.times > 0:
            self.times -= 1
            opened.write = self._fail
        return opened

    def _fail(self, _: bytes) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), "No space left on device", id="full"),
        pytest.param(OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded", id="quota"),
        pytest.param(PermissionError(errno.EACCES, "Permission denied"), "Permission denied", id="forbidden"),
        pytest.param(RuntimeError("AccessDenied"), "AccessDenied", id="error-of-the-store's-own"),
    ],
)
def test_destination_that_cannot_be_written_is_an_error_in_words(
    error: Exception, words: str, client: GrokVideoClient, done: Generation, attached: Attached, sandbox: Sandbox
) -> None:
    full = Full(error)
    name = uuid.uuid4().hex
    with pytest.raises(DownloadError, match=words) as caught:
        save(client, done, f"{attached(full)}{name}/fox.mp4")
    assert "fox.mp4" in str(caught.value)
    assert full.find(f"/{name}") == []
    assert len(sandbox.submissions) == 1


def test_full_store_is_tried_again_when_there_is_room(
    client: GrokVideoClient, done: Generation, film: bytes, attached: Attached, caplog: pytest.LogCaptureFixture
) -> None:
    url = attached(Full(OSError(errno.ENOSPC, "No space left on device"), times=1))
    check_landed(save(client, done, f"{url}{uuid.uuid4().hex}/fox.mp4"), film)
    assert "No space left on device" in caplog.text


def test_store_that_refuses_the_file_costs_one_download(
    client: GrokVideoClient, done: Generation, attached: Attached, sandbox: Sandbox
) -> None:
    downloads = len(sandbox.downloads)
    full = Full(PermissionError(errno.EACCES, "Permission denied"))
    with pytest.raises(DownloadError, match="Permission denied"):
        save(client, done, f"{attached(full)}{uuid.uuid4().hex}/fox.mp4")
    assert len(sandbox.downloads) == downloads + 1


def test_destination_below_a_file_is_an_error_in_words(
    client: GrokVideoClient, done: Generation, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot write to"):
        save(client, done, f"file://{tmp_path}/file/fox.mp4")
    assert (tmp_path / "file").read_text() == "in the way"


def test_store_that_nobody_knows_is_an_error_in_words(client: GrokVideoClient, done: Generation) -> None:
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
print("landed", flush=True)
"""


def test_killed_writer_leaves_no_final_name_and_the_next_one_lands(
    sandbox: Sandbox, client: GrokVideoClient, done: Generation, film: bytes, tmp_path: Path
) -> None:
    sandbox.fault("video", "trickle", bytes_per_second=len(film) / 20)
    path = f"file://{tmp_path}/fox.mp4"
    root = str(Path(airflow_provider_grokvideo.__file__).parent.parent)
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, sandbox.base_url, sandbox.api_key, done.request_id, path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path[1:]])},
    )
    assert worker.stdout is not None
    said = next(line for line in worker.stdout if line.startswith(("written", "landed")))
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert said.startswith("written")
    (left,) = tmp_path.iterdir()
    assert left.match(".grokvideo-*.part")

    check_landed(save(client, done, path), film)
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


def test_interrupted_writer_tidies_up(client: GrokVideoClient, done: Generation, attached: Attached) -> None:
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
            landed = save(client, Generation("large", "done", video_url=url), f"file://{tmp_path}/v.mp4")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            server.shutdown()
    assert landed.size_bytes > LARGE
    assert Path(tmp_path / "v.mp4").stat().st_size == landed.size_bytes
    assert peak < 24 * 1024 * 1024


# --- before anything is paid for ----------------------------------------------------------------------


def test_writable_place_is_left_as_it_was(folder: ObjectStoragePath) -> None:
    check_writable(f"{folder}/")
    check_writable(folder / "fox.mp4")
    folder.fs.invalidate_cache()
    assert not folder.exists() or names_in(folder) == []


def test_place_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (f"file://{tmp_path}/file/fox.mp4", f"file://{tmp_path}/file/", "nonsense://bucket/fox.mp4"):
        with pytest.raises(InvalidRequestError) as caught:
            check_writable(path)
        assert str(caught.value).startswith("Cannot")
        assert f"output_path='{path}'" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StorageError),
        (TimeoutError("timed out"), StorageError),
        (PermissionError(errno.EACCES, "Permission denied"), InvalidRequestError),
    ],
    ids=["full", "timeout", "forbidden"],
)
def test_place_is_checked_with_real_bytes(error: Exception, kind: type[Exception], attached: Attached) -> None:
    url = f"{attached(Full(error))}{uuid.uuid4().hex}/fox.mp4"
    with pytest.raises(kind) as caught:
        check_writable(url)
    assert str(caught.value).startswith(f"Cannot write to output_path='{url}': ")
    assert str(caught.value).endswith("Nothing was billed.")


def test_image_is_read_from_every_store(folder: ObjectStoragePath) -> None:
    folder.fs.makedirs(folder.path, exist_ok=True)
    (folder / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert read_image(str(folder / "cat.png")) == b"\x89PNG\r\n\x1a\n"


def test_image_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    cases = {
        str(tmp_path / "no-such.png"): "no such file on this worker",
        str(tmp_path): "it is a directory",
        str(large): f"up to {MAX_IMAGE_BYTES // 1024**2} MiB",
        "nonsense://bucket/cat.png": "nonsense",
    }
    for path, words in cases.items():
        with pytest.raises(InvalidRequestError) as caught:
            read_image(path, "reference_images[2]")
        assert re.search(rf"reference_images\[2\][= ]'{path}'", str(caught.value))
        assert words in str(caught.value)
