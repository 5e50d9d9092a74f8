"""Byte ranges of a saved file, and that only the authorized file is opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.plugins.preview.access import AuthorizedFile, Location
from airflow_provider_grokvideo.plugins.preview.media import (
    CHUNK_SIZE,
    ByteRange,
    MediaUnavailable,
    RangeNotSatisfiable,
    _open_without_links,
    open_authorized,
    parse_range,
    read_range,
)

VIDEO = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("header", "byte_range"),
    [
        (None, None),
        ("", None),
        ("bytes=0-", ByteRange(0, 99)),
        ("bytes=0-0", ByteRange(0, 0)),
        ("bytes=10-19", ByteRange(10, 19)),
        ("bytes=90-1000", ByteRange(90, 99)),
        ("bytes=-1", ByteRange(99, 99)),
        ("bytes=-1000", ByteRange(0, 99)),
        ("bytes=99-", ByteRange(99, 99)),
        (" bytes=5-6 ", ByteRange(5, 6)),
        ("bytes=20-10", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=0x1-2", None),
        ("bytes=+1-2", None),
    ],
)
def test_range_header_is_parsed(header: str | None, byte_range: ByteRange | None) -> None:
    assert parse_range(header, 100) == byte_range


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_range_after_the_end_is_not_satisfiable(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, 100)


@given(st.integers(0, 300) | st.none(), st.integers(0, 300) | st.none(), st.integers(1, 200))
def test_range_is_always_inside_the_file(first: int | None, last: int | None, size: int) -> None:
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    try:
        byte_range = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    if byte_range:
        assert 0 <= byte_range.first <= byte_range.last < size


@given(st.text(max_size=30))
def test_any_header_is_parsed_or_ignored(header: str) -> None:
    assert parse_range(header, 10) in {
        None,
        *(ByteRange(first, last) for first in range(10) for last in range(first, 10)),
    }


def authorized(path: Path, root: Path | None = None, size: int = len(VIDEO)) -> AuthorizedFile:
    location = Location.parse(str(path))
    return AuthorizedFile(str(path), location, Location.parse(f"{root}/") if root else location, size, '"e"')


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "v.mp4").write_bytes(VIDEO)
    (tmp_path / "secret.mp4").write_bytes(VIDEO)
    return tmp_path / "root"


def read(file: AuthorizedFile) -> bytes:
    return b"".join(read_range(open_authorized(file), ByteRange(0, file.size_bytes - 1)))


def test_authorized_file_is_read(root: Path) -> None:
    assert read(authorized(root / "v.mp4", root)) == VIDEO
    assert read(authorized(root / "v.mp4")) == VIDEO
    assert b"".join(read_range(open_authorized(authorized(root / "v.mp4", root)), ByteRange(3, 9))) == VIDEO[3:10]


def test_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)

    assert read(authorized(tmp_path / "alias" / "v.mp4", tmp_path / "alias")) == VIDEO


def test_link_out_of_the_root_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "up").symlink_to(tmp_path)

    for file in (
        authorized(root / "link.mp4", root),
        authorized(root / "link.mp4"),
        authorized(root / "up" / "secret.mp4", root),
    ):
        with pytest.raises(MediaUnavailable, match="link"):
            open_authorized(file)


def test_folder_replaced_by_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "up").symlink_to(tmp_path)

    with pytest.raises(OSError):
        _open_without_links(root / "up" / "secret.mp4")
    os.close(_open_without_links(tmp_path / "secret.mp4"))


@pytest.mark.parametrize("content", [b"root:x:0:0", b"\x00\x00\x00\x18moov....", b""])
def test_file_that_is_not_a_video_is_not_sent(root: Path, content: bytes) -> None:
    (root / "v.mp4").write_bytes(content)

    with pytest.raises(MediaUnavailable):
        open_authorized(authorized(root / "v.mp4", root, len(content)))


def test_replaced_file_is_not_sent(root: Path) -> None:
    with pytest.raises(MediaUnavailable, match="replaced"):
        open_authorized(authorized(root / "v.mp4", root, len(VIDEO) + 1))


def test_missing_file_pipe_or_directory_is_unavailable(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for name in ("none.mp4", "pipe"):
        with pytest.raises(MediaUnavailable):
            open_authorized(authorized(root / name, root))
    with pytest.raises(MediaUnavailable):
        open_authorized(authorized(root, root.parent))


def test_file_is_closed_after_an_error(root: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    # The tracebacks keep the local variables alive, so the garbage collector closes nothing.
    errors = []
    for _ in range(20):
        with pytest.raises(MediaUnavailable) as error:
            open_authorized(authorized(root / "v.mp4", root, 1))
        errors.append(error)

    assert len(errors) == 20
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class CountingFile(AbstractBufferedFile):
    """A remote file that counts the bytes that are fetched."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        self.fs.fetched += end - start
        return VIDEO.ljust(self.size, b"x")[start:end]


class CountingStore(AbstractFileSystem):
    cachable = False
    size = 10 * CHUNK_SIZE
    fetched = 0

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> CountingFile:
        return CountingFile(self, path, mode, size=self.size, **{**kwargs, "cache_options": {}})


def test_only_the_requested_bytes_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CountingStore()
    monkeypatch.setattr(ObjectStoragePath, "fs", property(lambda self: store))
    uri = "s3://bucket/videos/v.mp4"
    file = AuthorizedFile(uri, Location.parse(uri), Location.parse("s3://bucket/videos/"), store.size, '"e"')

    assert len(b"".join(read_range(open_authorized(file), ByteRange(100, 199)))) == 100
    assert store.fetched < 200


def test_store_is_read_through_airflows_filesystem(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryFileSystem()
    store.pipe("/bucket/videos/v.mp4", VIDEO)
    monkeypatch.setattr(ObjectStoragePath, "fs", property(lambda self: store))
    uri = "s3://bucket/videos/v.mp4"
    file = AuthorizedFile(uri, Location.parse(uri), Location.parse("s3://bucket/videos/"), len(VIDEO), '"e"')

    assert read(file) == VIDEO
    store.rm("/bucket/videos/v.mp4")
    with pytest.raises(MediaUnavailable, match="does not exist"):
        open_authorized(file)


def test_unknown_store_is_unavailable() -> None:
    uri = "nowhere://bucket/v.mp4"

    with pytest.raises(MediaUnavailable, match="cannot be read"):
        open_authorized(AuthorizedFile(uri, Location.parse(uri), Location.parse("nowhere://bucket"), 10, '"e"'))


def test_large_file_is_read_in_chunks(root: Path) -> None:
    size = 3 * CHUNK_SIZE + 5
    (root / "v.mp4").write_bytes(VIDEO.ljust(size, b"x"))

    chunks = list(read_range(open_authorized(authorized(root / "v.mp4", root, size)), ByteRange(0, size - 1)))

    assert [len(chunk) for chunk in chunks] == [CHUNK_SIZE, CHUNK_SIZE, CHUNK_SIZE, 5]
