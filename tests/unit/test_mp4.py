"""A real MP4 file, whole and cut, in any chunks, and what only pretends to be one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.exceptions import DownloadError
from airflow_provider_grokvideo.mp4 import Mp4Check

pytest.importorskip("av", reason="rendering a video needs the sandbox extra")
pytest.importorskip("PIL", reason="rendering a video needs the sandbox extra")

from airflow_provider_grokvideo.sandbox.artwork import Film
from airflow_provider_grokvideo.sandbox.render import render

FILM = render(Film("4b2cd27e", "A red fox in the snow", "SANDBOX", 848, 480, 1, 7))


def box(kind: bytes, content: bytes = b"", *, large: bool = False, size: int | None = None) -> bytes:
    """Return one box; ``size`` lies about it."""
    if large:
        return (1).to_bytes(4) + kind + (size or len(content) + 16).to_bytes(8) + content
    return (len(content) + 8 if size is None else size).to_bytes(4) + kind + content


FTYP, MOOV, MDAT = box(b"ftyp", b"isom\0\0\2\0isomiso2"), box(b"moov", bytes(50)), box(b"mdat", bytes(500))


def boxes(film: bytes) -> list[tuple[bytes, int, int]]:
    """Return kind, start and end of the film's boxes."""
    found, at = [], 0
    while at < len(film):
        size = int.from_bytes(film[at : at + 4])
        found.append((film[at + 4 : at + 8], at, at + size))
        at += size
    return found


def check(content: bytes, chunk: int = 1000) -> None:
    """Feed the content in chunks, and end."""
    mp4 = Mp4Check()
    for start in range(0, len(content), chunk):
        mp4.feed(content[start : start + chunk])
    mp4.finish()


def is_whole(content: bytes, chunk: int = 1000) -> bool:
    """Return whether the content passes."""
    try:
        check(content, chunk)
    except DownloadError as error:
        assert str(error)
        return False
    return True


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 8, 9, 16, 1000, 10**7])
def test_whole_film_passes_in_any_chunks(chunk: int) -> None:
    assert is_whole(FILM, chunk)


@given(st.data())
def test_whole_film_passes_however_it_is_cut_into_chunks(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(FILM)), max_size=20)))
    mp4 = Mp4Check()
    for start, end in zip([0, *cuts], [*cuts, len(FILM)], strict=True):
        mp4.feed(FILM[start:end])
    mp4.finish()
    assert mp4._position == len(FILM)


@given(st.integers(0, len(FILM) - 1), st.sampled_from([1, 7, 1000, 65536]))
def test_film_cut_anywhere_is_refused(end: int, chunk: int) -> None:
    assert not is_whole(FILM[:end], chunk if end < 5000 else max(chunk, 1000))


def test_film_cut_near_a_boundary_of_its_boxes_is_refused() -> None:
    ends = {end + off for _, _, box_end in boxes(FILM) for end in [box_end] for off in range(-20, 21)}
    cut = sorted(end for end in ends if 0 <= end < len(FILM))
    assert len(cut) > 60
    assert [end for end in cut if is_whole(FILM[:end])] == []


def test_cut_film_is_told_with_its_length() -> None:
    with pytest.raises(DownloadError, match=rf"cut short: {len(FILM) - 1} bytes, of at least {len(FILM)}"):
        check(FILM[:-1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "no MP4 file but 0 bytes", id="empty"),
        pytest.param(b"\0\0\0", "no MP4 file but 3 bytes", id="shorter-than-a-header"),
        pytest.param(b"<!DOCTYPE html><html>", "no MP4 file; it begins with b'<!DOCTYP'", id="html"),
        pytest.param(b'{"error": "expired"}', "no MP4 file", id="json"),
        pytest.param(b"<?xml version='1.0'?><Error/>", "no MP4 file", id="xml"),
        pytest.param(b"\x1aE\xdf\xa3webm" * 10, "no MP4 file", id="webm"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(50), "no MP4 file", id="png"),
        pytest.param(bytes(100), "no MP4 file", id="zeros"),
        pytest.param(MDAT + FTYP + MOOV, "no MP4 file", id="not-in-order"),
        pytest.param(FTYP, "cut short", id="only-a-header"),
        pytest.param(FTYP + MOOV, "cut short", id="index-without-film"),
        pytest.param(FTYP + MOOV + box(b"mdat", bytes(5), size=50), "cut short", id="box-longer-than-the-file"),
        pytest.param(FTYP + box(b"moov", bytes(5), size=3) + MDAT, "cut short", id="box-shorter-than-its-header"),
        pytest.param(FTYP + b"<html>not a box</html>" + MOOV + MDAT, "cut short", id="text-between-boxes"),
        pytest.param(
            FTYP + MOOV + box(b"mdat", bytes(100), large=True, size=2**62), "cut short", id="box-of-4-exabytes"
        ),
        pytest.param(box(b"ftyp", bytes(100), size=0), "cut short", id="header-to-the-end"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 5, 10**6])
def test_what_is_no_whole_film_is_refused(content: bytes, words: str, chunk: int) -> None:
    with pytest.raises(DownloadError) as caught:
        check(content, chunk)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(FTYP + MOOV + MDAT, id="index-first"),
        pytest.param(FTYP + MDAT + MOOV, id="index-last"),
        pytest.param(FTYP + MOOV + box(b"free") + MDAT + box(b"udta", b"x"), id="more-boxes"),
        pytest.param(FTYP + MOOV + box(b"moof", b"x") + MDAT + box(b"moof", b"x") + MDAT, id="fragmented"),
        pytest.param(FTYP + MOOV + box(b"mdat", bytes(300), size=0), id="film-to-the-end"),
        pytest.param(FTYP + MOOV + box(b"mdat", bytes(300), large=True), id="film-of-large-size"),
        pytest.param(FTYP + MOOV + box(b"mdat", large=True), id="film-of-large-size-and-empty"),
        pytest.param(FTYP + MOOV + MDAT + box(b"\xa9nam", b"x"), id="apples-copyright-sign"),
    ],
)
@pytest.mark.parametrize("padding", [b"", bytes(1), bytes(7), bytes(8), bytes(1000)], ids=lambda value: f"{len(value)}")
@pytest.mark.parametrize("chunk", [1, 6, 10**6])
def test_every_order_and_size_of_boxes_passes_with_padding(content: bytes, padding: bytes, chunk: int) -> None:
    assert is_whole(content + padding, chunk)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_no_bytes_whatsoever_break_the_check(content: bytes, chunk: int) -> None:
    for start in (b"", FTYP, FTYP + MOOV):
        assert is_whole(start + content, chunk) == is_whole(start + content, 10**6)


def test_memory_does_not_grow_with_the_film() -> None:
    mp4 = Mp4Check()
    mp4.feed(FTYP + MOOV + box(b"mdat", large=True, size=16 + 1000 * 65536))
    chunk = random.Random(1).randbytes(65536)
    for _ in range(1000):
        mp4.feed(chunk)
    mp4.finish()
    assert len(mp4._header) == 0
    assert mp4._position > 60_000_000


def test_film_without_its_index_is_kept() -> None:
    assert is_whole(FTYP + MDAT)
