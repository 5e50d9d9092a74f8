"""Files are saved under exactly the given name on every kind of store, or refused before submission."""

from __future__ import annotations

import threading
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.ftp import FTPFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.storage import (
    check_writable,
    destination,
    directory,
    exists,
    open_path,
    read_image,
    replace_file,
)
from airflow_provider_grokvideo.store_files import StoreFile

Attached = Callable[..., str]
NAMES = {
    "question": "What is love?.mp4",
    "star": "5 * 5.mp4",
    "brackets": "take [1].mp4",
    "braces": "{a,b}.mp4",
    "hash": "take #2.mp4",
    "percent": "100%.mp4",
    "escaped": "a%20b%3F.mp4",
    "blanks": "  a  b .mp4 ",
    "composed": unicodedata.normalize("NFC", "Zoë Å.mp4"),
    "decomposed": unicodedata.normalize("NFD", "Zoë Å.mp4"),
    "emoji": "🎬👩‍👩‍👧.mp4",
    "right-to-left": "\u200f\u05e1\u05e8\u05d8\u202e.mp4",
    "quotes": "'\"`$(x);&|<>.mp4",
    "backslash": "a\\b.mp4",
    "at-sign": "a@b:c.mp4",
    "two-queries": "a?b=c?d#e#f.mp4",
    "dots": "...",
    "tilde": "~",
    "like-an-option": "-rf",
    "255-bytes": "é" * 125 + "x.mp4",
}


@dataclass
class Store:
    """A directory of a store, and another way to see what is in it."""

    url: str
    names: Callable[[], set[str]]
    loses: str = ""
    """Characters behind which ObjectStoragePath loses the name."""


@pytest.fixture(scope="session")
def ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FTPFileSystem, Path]]:
    """Return an FTP server's filesystem and the directory that it serves."""
    pytest.importorskip("pyftpdlib", reason="an FTP server stands in for stores that rename")
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    folder = tmp_path_factory.mktemp("ftp")
    authorizer = DummyAuthorizer()
    authorizer.add_user("me", "secret", str(folder), perm="elradfmwMT")
    handler = type("Handler", (FTPHandler,), {"authorizer": authorizer, "log": lambda *_, **__: None})
    server = ThreadedFTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"handle_exit": False}, daemon=True)
    thread.start()
    host, port = server.address
    try:
        yield FTPFileSystem(host, port, username="me", password="secret", encoding="utf-8"), folder
    finally:
        server.close_all()
        thread.join(10)


@pytest.fixture(params=["local", "file", "memory", "s3", "ftp", "dir", "dir-on-memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, attached: Attached) -> Store:
    """Return a directory of each kind of store."""
    folder = uuid.uuid4().hex
    if request.param in {"local", "file"}:
        prefix = "file://" if request.param == "file" else ""
        return Store(f"{prefix}{tmp_path}/", lambda: {path.name for path in tmp_path.iterdir()})
    if request.param == "memory":
        return Store(f"{attached(MemoryFileSystem())}{folder}/", lambda: _in_memory(f"/{folder}/"))
    if request.param == "ftp":
        filesystem, root = request.getfixturevalue("ftp")
        (root / folder).mkdir()
        url = f"{attached(filesystem, 'ftp')}host/{folder}/"
        return Store(url, lambda: {path.name for path in (root / folder).iterdir()}, loses="?")
    if request.param == "dir":
        filesystem = DirFileSystem(str(tmp_path), LocalFileSystem())
        return Store(f"{attached(filesystem)}a/", lambda: {path.name for path in (tmp_path / "a").iterdir()})
    if request.param == "dir-on-memory":
        filesystem = DirFileSystem(f"/{folder}", MemoryFileSystem())
        return Store(f"{attached(filesystem)}a/", lambda: _in_memory(f"/{folder}//a/") | _in_memory(f"/{folder}/a/"))
    s3 = request.getfixturevalue("s3")
    return Store(f"{attached(s3, 's3')}bucket/{folder}/", lambda: _in_bucket(s3, f"{folder}/"))


def _in_memory(folder: str) -> set[str]:
    return {path.removeprefix(folder) for path in MemoryFileSystem.store if path.startswith(folder)}


def _in_bucket(s3: Any, folder: str) -> set[str]:
    found = s3.call_s3("list_objects_v2", Bucket="bucket", Prefix=folder)
    return {one["Key"].removeprefix(folder) for one in found.get("Contents", [])}


def names_of(store: Store) -> set[str]:
    """Return the names in the store's directory, none if it does not exist."""
    try:
        return store.names()
    except FileNotFoundError:
        return set()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_file_is_saved_under_exactly_its_name(name: str, store: Store) -> None:
    # What patterns in the name would find.
    decoys = {"What is loveX.mp4", "5 x 5.mp4", "take 1.mp4", "a"}
    for decoy in decoys:
        replace_file(open_path(store.url + decoy), b"decoy")
    if set(store.loses) & set(name):
        with pytest.raises(InvalidRequestError, match="exactly this name"):
            check_writable(store.url + name)
        return
    check_writable(store.url + name)
    assert names_of(store) == decoys

    target = destination(store.url + name, "id")
    replace_file(target, b"first")
    replace_file(target, b"second, and longer")

    assert names_of(store) == decoys | {name}
    assert ObjectStoragePath(str(target)).read_bytes() == b"second, and longer"
    assert {open_path(store.url + decoy).read_bytes() for decoy in decoys} == {b"decoy"}
    assert exists(str(target))
    assert read_image(store.url + name) == b"second, and longer"


@pytest.mark.parametrize("folder", ["wh?t", "a*", "[b]", "#c", "50%"])
def test_directory_may_have_any_name(folder: str, store: Store, tmp_path: Path) -> None:
    path = f"{store.url}{folder}/fox.mp4"
    if set(store.loses) & set(folder):
        with pytest.raises(InvalidRequestError, match="exactly this name"):
            check_writable(path)
        return
    check_writable(path)
    replace_file(destination(path, "id"), b"video")
    assert exists(path)
    assert not exists(f"{store.url}{folder}")
    target = destination(f"{store.url}{folder}", "id")
    assert str(target).endswith(f"{folder}/id.mp4")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=40))
def test_any_name_is_saved_exactly_or_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    try:
        check_writable(f"file://{folder}/{name}")
    except InvalidRequestError:
        refused = True
    else:
        refused = False
        if name not in {".", ".."}:
            replace_file(destination(f"file://{folder}/{name}", "id"), b"video")
            assert [path.name for path in folder.iterdir()] == [name]
    breaks = not name.isprintable() or "::" in name or name.endswith(("?", "#")) or "?#" in name or "://" in name
    assert not refused or breaks or len(name.encode()) > 255


@pytest.mark.parametrize(
    "name",
    ["What is love?", "a?#b.mp4", "C#", "a::b.mp4", "a\nb.mp4", "a\tb.mp4", "a\0b.mp4", "\x1b[1mx.mp4", "x" * 256],
)
def test_name_that_would_change_is_refused(name: str, tmp_path: Path) -> None:
    for url in (f"file://{tmp_path}/", f"{tmp_path}/"):
        try:
            check_writable(url + name)
        except InvalidRequestError as error:
            assert "Cannot" in str(error)
        else:
            # Airflow before 3.2 opens it.
            assert "::" in name
            assert destination(url + name, "id").name == name
    assert list(tmp_path.iterdir()) == []


def test_path_object_with_a_lossy_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="exactly this name"):
        check_writable(ObjectStoragePath(f"file://{tmp_path}") / "What?")


# --- directories --------------------------------------------------------------------------------------


def test_existing_directory_needs_no_slash(store: Store) -> None:
    replace_file(open_path(f"{store.url}videos/other.mp4"), b"video")
    before, after = (destination(f"{store.url}videos", "id") for _ in range(2))
    assert str(before) == str(after) == str(destination(f"{store.url}videos/", "id"))
    check_writable(f"{store.url}videos")
    replace_file(after, b"another")
    assert exists(f"{store.url}videos/id.mp4")
    assert exists(f"{store.url}videos/other.mp4")


def test_directory_does_not_depend_on_existing_files(store: Store) -> None:
    before = str(directory(f"{store.url}videos"))
    replace_file(open_path(f"{store.url}videos/other.mp4"), b"video")
    assert str(directory(f"{store.url}videos")) == before == str(open_path(store.url.rstrip("/")))
    assert str(directory(f"{store.url}videos/")) == str(open_path(f"{store.url}videos"))


def test_missing_path_is_a_file(store: Store) -> None:
    assert str(destination(f"{store.url}videos", "id")) == str(open_path(f"{store.url}videos"))


def test_link_to_a_directory_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert destination(f"{tmp_path}/link", "id").name == "id.mp4"


def test_link_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(b"real")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    replace_file(destination(f"{tmp_path}/link.mp4", "id"), b"video")
    assert (tmp_path / "real.mp4").read_bytes() == b"real"
    assert (tmp_path / "link.mp4").read_bytes() == b"video"


@pytest.mark.parametrize("request_id", ["a/../b", "..", "x" * 300, "é" * 100, "a?b#c", "\ud800"])
def test_any_id_names_a_file(request_id: str, tmp_path: Path) -> None:
    target = destination(f"{tmp_path}/", request_id)
    replace_file(target, b"video")
    (saved,) = tmp_path.iterdir()
    assert saved.suffix == ".mp4"
    assert ObjectStoragePath(str(target)).read_bytes() == b"video"
    assert target.name != destination(f"{tmp_path}/", request_id + "x").name


def test_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert str(destination("videos/fox.mp4", "id")) == f"{tmp_path}/videos/fox.mp4"
    assert str(destination("videos/", "id")) == f"{tmp_path}/videos/id.mp4"
    assert str(destination("a:b.mp4", "id")) == f"{tmp_path}/a:b.mp4"
    assert str(destination("~/fox.mp4", "id")) == f"{tmp_path}/home/fox.mp4"
    assert str(destination(Path("fox.mp4"), "id")) == f"{tmp_path}/fox.mp4"


def test_connection_in_the_uri_has_precedence(attached: Attached) -> None:
    url = attached(MemoryFileSystem())
    conn_id = url.removeprefix("memory://").removesuffix("@")
    assert conn_id in str(open_path("memory://bucket/x.mp4", conn_id))
    assert "other" not in str(open_path(f"{url}bucket/x.mp4", "other"))
    assert conn_id in str(open_path(ObjectStoragePath("file:///x.mp4"), conn_id))


# --- writers that overlap, and writers that die ------------------------------------------------------


def test_concurrent_writers_do_not_mix(store: Store) -> None:
    target = open_path(f"{store.url}v.mp4")
    early, late = (StoreFile(target.fs, target.path) for _ in range(2))
    with early.writer() as first:
        first.write(b"a" * 100_000)
        with late.writer() as second:
            second.write(b"b" * 100_000)
            first.write(b"a" * 100_000)
            second.write(b"b" * 100_000)
        assert target.read_bytes() == b"b" * 200_000
    assert target.read_bytes() == b"a" * 200_000
    assert names_of(store) == {"v.mp4"}
