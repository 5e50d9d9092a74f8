"""Ranges of a landed file, and that nothing but what was granted is opened."""

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

from airflow_provider_grokvideo.plugins.preview.access import Grant, Location
from airflow_provider_grokvideo.plugins.preview.media import (
    CHUNK,
    Span,
    Unavailable,
    Unsatisfiable,
    _open_without_links,
    chunks,
    open_granted,
    parse_range,
)

VIDEO = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("", None),
        ("bytes=0-", Span(0, 99)),
        ("bytes=0-0", Span(0, 0)),
        ("bytes=10-19", Span(10, 19)),
        ("bytes=90-1000", Span(90, 99)),
        ("bytes=-1", Span(99, 99)),
        ("bytes=-1000", Span(0, 99)),
        ("bytes=99-", Span(99, 99)),
        (" bytes=5-6 ", Span(5, 6)),
        ("bytes=20-10", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=0x1-2", None),
        ("bytes=+1-2", None),
    ],
)
def test_ranges(header: str | None, span: Span | None) -> None:
    assert parse_range(header, 100) == span


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_is_unsatisfiable(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 100)


@given(st.integers(0, 300) | st.none(), st.integers(0, 300) | st.none(), st.integers(1, 200))
def test_a_range_never_leaves_the_file(first: int | None, last: int | None, size: int) -> None:
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    try:
        span = parse_range(header, size)
    except Unsatisfiable:
        return
    if span:
        assert 0 <= span.first <= span.last < size


@given(st.text(max_size=30))
def test_any_header_is_understood_or_ignored(header: str) -> None:
    assert parse_range(header, 10) in {None, *(Span(first, last) for first in range(10) for last in range(first, 10))}


def grant(path: Path, within: Path | None = None, size: int = len(VIDEO)) -> Grant:
    location = Location.parse(str(path))
    return Grant(str(path), location, Location.parse(f"{within}/") if within else location, size, '"e"')


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "v.mp4").write_bytes(VIDEO)
    (tmp_path / "secret.mp4").write_bytes(VIDEO)
    return tmp_path / "root"


def read(granted: Grant) -> bytes:
    return b"".join(chunks(open_granted(granted), Span(0, granted.size_bytes - 1)))


def test_what_is_granted_is_read(root: Path) -> None:
    assert read(grant(root / "v.mp4", root)) == VIDEO
    assert read(grant(root / "v.mp4")) == VIDEO
    assert b"".join(chunks(open_granted(grant(root / "v.mp4", root)), Span(3, 9))) == VIDEO[3:10]


def test_a_root_may_be_reached_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)

    assert read(grant(tmp_path / "alias" / "v.mp4", tmp_path / "alias")) == VIDEO


def test_a_link_that_leads_out_of_its_place_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "up").symlink_to(tmp_path)

    for granted in (grant(root / "link.mp4", root), grant(root / "link.mp4"), grant(root / "up" / "secret.mp4", root)):
        with pytest.raises(Unavailable, match="link"):
            open_granted(granted)


def test_folder_that_becomes_a_link_after_the_check_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "up").symlink_to(tmp_path)

    with pytest.raises(OSError):
        _open_without_links(root / "up" / "secret.mp4")
    os.close(_open_without_links(tmp_path / "secret.mp4"))


@pytest.mark.parametrize("content", [b"root:x:0:0", b"\x00\x00\x00\x18moov....", b""])
def test_what_is_no_video_stays_here(root: Path, content: bytes) -> None:
    (root / "v.mp4").write_bytes(content)

    with pytest.raises(Unavailable):
        open_granted(grant(root / "v.mp4", root, len(content)))


def test_a_replaced_file_is_not_the_recorded_one(root: Path) -> None:
    with pytest.raises(Unavailable, match="replaced"):
        open_granted(grant(root / "v.mp4", root, len(VIDEO) + 1))


def test_what_is_missing_or_no_file(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for name in ("none.mp4", "pipe"):
        with pytest.raises(Unavailable):
            open_granted(grant(root / name, root))
    with pytest.raises(Unavailable):
        open_granted(grant(root, root.parent))


def test_no_file_stays_open_after_a_refusal(root: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    # Their tracebacks hold what the functions held: only what is closed is closed.
    refusals = []
    for _ in range(20):
        with pytest.raises(Unavailable) as refusal:
            open_granted(grant(root / "v.mp4", root, 1))
        refusals.append(refusal)

    assert len(refusals) == 20
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class CountingFile(AbstractBufferedFile):
    """A remote file that counts the bytes that are fetched."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        self.fs.fetched += end - start
        return VIDEO.ljust(self.size, b"x")[start:end]


class CountingStore(AbstractFileSystem):
    cachable = False
    size = 10 * CHUNK
    fetched = 0

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> CountingFile:
        return CountingFile(self, path, mode, size=self.size, **{**kwargs, "cache_options": {}})


def test_nothing_is_fetched_from_a_store_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CountingStore()
    monkeypatch.setattr(ObjectStoragePath, "fs", property(lambda self: store))
    uri = "s3://bucket/videos/v.mp4"
    granted = Grant(uri, Location.parse(uri), Location.parse("s3://bucket/videos/"), store.size, '"e"')

    assert len(b"".join(chunks(open_granted(granted), Span(100, 199)))) == 100
    assert store.fetched < 200


def test_a_store_is_read_through_airflows_own_filesystem(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryFileSystem()
    store.pipe("/bucket/videos/v.mp4", VIDEO)
    monkeypatch.setattr(ObjectStoragePath, "fs", property(lambda self: store))
    uri = "s3://bucket/videos/v.mp4"
    granted = Grant(uri, Location.parse(uri), Location.parse("s3://bucket/videos/"), len(VIDEO), '"e"')

    assert read(granted) == VIDEO
    store.rm("/bucket/videos/v.mp4")
    with pytest.raises(Unavailable, match="does not exist"):
        open_granted(granted)


def test_a_store_that_airflow_does_not_know_is_no_error_of_the_server() -> None:
    uri = "nowhere://bucket/v.mp4"

    with pytest.raises(Unavailable, match="cannot be read"):
        open_granted(Grant(uri, Location.parse(uri), Location.parse("nowhere://bucket"), 10, '"e"'))


def test_a_large_file_is_sent_in_small_pieces(root: Path) -> None:
    size = 3 * CHUNK + 5
    (root / "v.mp4").write_bytes(VIDEO.ljust(size, b"x"))

    pieces = list(chunks(open_granted(grant(root / "v.mp4", root, size)), Span(0, size - 1)))

    assert [len(piece) for piece in pieces] == [CHUNK, CHUNK, CHUNK, 5]
