"""Whole, cut and invalid MP4 files, in any chunks."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.exceptions import DownloadError
from airflow_provider_grokvideo.mp4 import Mp4Check

pytest.importorskip("av", reason="rendering a video needs the sandbox extra")
pytest.importorskip("PIL", reason="rendering a video needs the sandbox extra")

from airflow_provider_grokvideo.sandbox.rendering import VideoSpec, render_video
from tests.support.mp4_files import FTYP, box, boxes, encode, head, moov, remux

VIDEO = render_video(VideoSpec("4b2cd27e", "A red fox in the snow", "SANDBOX", 848, 480, 1, 7))


MEDIA = bytes(range(200)) * 2
MDAT = box(b"mdat", MEDIA)
MOOV = moov(len(FTYP) + len(moov(0, 0)) + 8, len(MEDIA))
LAYOUTS = {
    "index-last": "",
    "index-first": "+faststart",
    "fragmented": "frag_keyframe+empty_moov",
}
OTHER_LAYOUTS = (
    "frag_keyframe",
    "frag_keyframe+empty_moov+default_base_moof",
    "frag_keyframe+empty_moov+omit_tfhd_offset",
    "frag_every_frame+empty_moov",
    "frag_keyframe+empty_moov+separate_moof",
    "frag_keyframe+delay_moov",
    "frag_keyframe+empty_moov+negative_cts_offsets",
    "isml+frag_keyframe+empty_moov",
    "dash",
    "dash+global_sidx",
    "cmaf",
    "rtphint",
)


def check(content: bytes, chunk: int = 1000, duration: float | None = None) -> None:
    """Feed the content in chunks, and end."""
    mp4 = Mp4Check(duration)
    for start in range(0, len(content), chunk):
        mp4.feed(content[start : start + chunk])
    mp4.finish()


def is_whole(content: bytes, chunk: int = 1000, duration: float | None = None) -> bool:
    """Return whether the content passes."""
    try:
        check(content, chunk, duration)
    except DownloadError as error:
        assert str(error)
        return False
    return True


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 8, 9, 16, 1000, 10**7])
def test_whole_video_passes_in_any_chunks(chunk: int) -> None:
    assert is_whole(VIDEO, chunk)


@given(st.data())
def test_whole_video_passes_in_random_chunks(data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(VIDEO)), max_size=20)))
    mp4 = Mp4Check()
    for start, end in zip([0, *cuts], [*cuts, len(VIDEO)], strict=True):
        mp4.feed(VIDEO[start:end])
    mp4.finish()
    assert mp4._position == len(VIDEO)


@given(st.integers(0, len(VIDEO) - 1), st.sampled_from([1, 7, 1000, 65536]))
def test_video_cut_anywhere_is_refused(end: int, chunk: int) -> None:
    assert not is_whole(VIDEO[:end], chunk if end < 5000 else max(chunk, 1000))


def test_video_cut_near_a_box_boundary_is_refused() -> None:
    ends = {end + off for _, _, box_end in boxes(VIDEO) for end in [box_end] for off in range(-20, 21)}
    cut = sorted(end for end in ends if 0 <= end < len(VIDEO))
    assert len(cut) > 60
    assert [end for end in cut if is_whole(VIDEO[:end])] == []


def test_error_names_the_length_of_a_cut_video() -> None:
    with pytest.raises(DownloadError, match=rf"cut short: {len(VIDEO) - 1} bytes, of at least {len(VIDEO)}"):
        check(VIDEO[:-1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "no MP4 file but 0 bytes", id="empty"),
        pytest.param(b"\0\0\0", "no MP4 file but 3 bytes", id="shorter-than-a-header"),
        pytest.param(b"<!DOCTYPE html><html>", "no MP4 file", id="html"),
        pytest.param(b'{"error": "expired"}', "no MP4 file", id="json"),
        pytest.param(b"<?xml version='1.0'?><Error/>", "no MP4 file", id="xml"),
        pytest.param(b"\x1aE\xdf\xa3webm" * 10, "no MP4 file", id="webm"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(50), "no MP4 file", id="png"),
        pytest.param(bytes(100), "no MP4 file", id="zeros"),
        pytest.param(MDAT + FTYP + MOOV, "no MP4 file", id="not-in-order"),
        pytest.param(FTYP, "no index", id="only-a-header"),
        pytest.param(FTYP + MDAT, "no index", id="video-without-index"),
        pytest.param(FTYP + box(b"mdat"), "no index", id="empty-video-without-index"),
        pytest.param(FTYP + MOOV, "lacks media data", id="index-without-video"),
        pytest.param(FTYP + MOOV + box(b"mdat"), "lacks media data", id="empty-video"),
        pytest.param(FTYP + MOOV + box(b"mdat", MEDIA[:-1]), "lacks media data", id="video-too-short"),
        pytest.param(FTYP + MOOV + box(b"mdat", MEDIA[:-1], size=0), "lacks media data", id="cut-video-to-the-end"),
        pytest.param(FTYP + MOOV + box(b"free", MEDIA), "lacks media data", id="video-in-another-box"),
        pytest.param(FTYP + MOOV + box(b"free") + MDAT, "lacks media data", id="video-in-another-place"),
        pytest.param(FTYP + box(b"moov") + MDAT, "describes no media data", id="index-of-nothing"),
        pytest.param(FTYP + moov(0, 0) + MDAT, "damaged", id="index-without-sizes"),
        pytest.param(FTYP + box(b"moov", b"\0\0\0\x09trak") + MDAT, "damaged", id="index-with-an-impossible-box"),
        pytest.param(FTYP + box(b"moof", MEDIA) + MOOV + MDAT, "damaged", id="fragment-before-the-index"),
        pytest.param(FTYP + MOOV + box(b"mdat", bytes(5), size=50), "cut short", id="box-longer-than-the-file"),
        pytest.param(FTYP + box(b"moov", bytes(5), size=3) + MDAT, "no index", id="box-shorter-than-its-header"),
        pytest.param(FTYP + b"<html>not a box</html>" + MOOV + MDAT, "cut short", id="text-between-boxes"),
        pytest.param(FTYP + MOOV + box(b"mdat", MEDIA, large=True, size=2**62), "cut short", id="box-of-4-exabytes"),
        pytest.param(FTYP + box(b"moov", MEDIA, size=2**31), "index is larger", id="index-of-2-gigabytes"),
        pytest.param(box(b"ftyp", bytes(100), size=0), "no index", id="header-to-the-end"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 5, 10**6])
def test_incomplete_video_is_refused(content: bytes, words: str, chunk: int) -> None:
    with pytest.raises(DownloadError) as caught:
        check(content, chunk)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(FTYP + MOOV + MDAT, id="index-first"),
        pytest.param(FTYP + MDAT + moov(len(FTYP) + 8, len(MEDIA)), id="index-last"),
        pytest.param(FTYP + MOOV + MDAT + box(b"free") + box(b"udta", b"x"), id="more-boxes"),
        pytest.param(FTYP + MOOV + box(b"mdat", MEDIA, size=0), id="video-to-the-end"),
        pytest.param(head(len(MEDIA)) + MEDIA, id="video-of-large-size"),
        pytest.param(FTYP + MOOV + MDAT + box(b"mdat", large=True), id="empty-video-of-large-size"),
        pytest.param(FTYP + MOOV + MDAT + box(b"\xa9nam", b"x"), id="apples-copyright-sign"),
    ],
)
@pytest.mark.parametrize("padding", [b"", bytes(1), bytes(7), bytes(8), bytes(1000)], ids=lambda value: f"{len(value)}")
@pytest.mark.parametrize("chunk", [1, 6, 10**6])
def test_every_box_order_and_size_passes(content: bytes, padding: bytes, chunk: int) -> None:
    assert is_whole(content + padding, chunk)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_pass_or_are_refused(content: bytes, chunk: int) -> None:
    for start in (b"", FTYP, FTYP + MOOV):
        assert is_whole(start + content, chunk) == is_whole(start + content, 10**6)


def test_memory_does_not_grow_with_the_video() -> None:
    chunk = random.Random(1).randbytes(65536)
    mp4 = Mp4Check()
    tracemalloc.start()
    try:
        mp4.feed(head(1000 * len(chunk)))
        for _ in range(1000):
            mp4.feed(chunk)
        mp4.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.parametrize("movflags", [*LAYOUTS.values(), *OTHER_LAYOUTS])
@pytest.mark.parametrize("chunk", [1, 1000, 10**7])
def test_every_muxer_layout_passes(movflags: str, chunk: int) -> None:
    assert is_whole(encode(movflags), chunk)
    assert is_whole(remux(VIDEO, movflags), chunk)


@pytest.mark.parametrize("movflags", LAYOUTS.values(), ids=LAYOUTS)
def test_cut_at_200_offsets_and_around_every_box_is_refused(movflags: str) -> None:
    video = encode(movflags)
    offsets = {len(video) * step // 200 for step in range(200)}
    offsets |= {end + off for _, _, end in boxes(video) for off in range(-20, 21)}
    cuts = sorted(offset for offset in offsets if 0 <= offset < len(video))
    assert len(cuts) > 300
    assert [cut for cut in cuts if is_whole(video[:cut], 65536)] == []


@pytest.mark.parametrize("movflags", ["", "+faststart"])
def test_cut_of_an_open_ended_video_is_refused(movflags: str) -> None:
    video = encode(movflags)
    at = next(start for kind, start, _ in boxes(video) if kind == b"mdat")
    endless = video[:at] + bytes(4) + video[at + 4 :]
    # What comes behind the video is then part of it.
    assert is_whole(endless) == (movflags == "+faststart")
    cuts = [len(video) * step // 57 for step in range(57)] + [len(video) - 1]
    assert [cut for cut in cuts if is_whole(endless[:cut], 65536)] == []


@pytest.mark.parametrize("movflags", LAYOUTS.values(), ids=LAYOUTS)
def test_flipped_bits_of_the_index_are_refused_or_harmless(movflags: str) -> None:
    video, chance = encode(movflags), random.Random(2)
    places = [at for kind, start, end in boxes(video) for at in range(start, end if kind != b"mdat" else start + 8)]
    judged = set()
    for at in chance.sample(places, 800):
        flipped = bytearray(video)
        flipped[at] ^= 1 << chance.randrange(8)
        judged.add(is_whole(bytes(flipped), 65536))
    assert judged == {True, False}


@pytest.mark.parametrize("place", ["moov", "moof"])
@given(data=st.data())
def test_any_index_passes_or_is_refused(place: str, data: st.DataObject) -> None:
    video = encode("frag_keyframe+empty_moov")
    start, end = next((start, end) for kind, start, end in boxes(video) if kind == place.encode())
    changed = bytearray(video)
    for at in data.draw(st.lists(st.integers(start + 8, end - 1), min_size=1, max_size=8)):
        changed[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    assert is_whole(bytes(changed), 65536) in {True, False}


def test_unmarked_fragments_need_the_duration() -> None:
    video = encode("frag_keyframe+empty_moov+skip_trailer")
    assert not is_whole(video)
    assert is_whole(video, duration=1.0)
    starts = [start for kind, start, _ in boxes(video) if kind == b"moof"]
    assert len(starts) == 4
    assert [cut for cut in starts if is_whole(video[:cut], duration=1.0)] == []


def test_segment_index_reveals_missing_fragments() -> None:
    video = encode("dash+global_sidx+skip_trailer")
    assert is_whole(video)
    starts = [start for kind, start, _ in boxes(video) if kind == b"moof"]
    assert [cut for cut in starts if is_whole(video[:cut], duration=0.1)] == []


def test_wrong_index_size_is_refused_fast() -> None:
    # 4 billion samples of 4 GiB each, in one chunk, and tables that are not there.
    for count, uniform in ((2**32 - 1, 2**32 - 1), (2**32 - 1, 0), (0, 0)):
        index = bytearray(MOOV)
        at = index.index(b"stsz") + 8
        index[at : at + 8] = uniform.to_bytes(4) + count.to_bytes(4)
        began = time.process_time()
        assert not is_whole(FTYP + bytes(index) + MDAT)
        assert time.process_time() - began < 1


def test_endless_boxes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_grokvideo.mp4.MAX_PIECES", 100)
    assert is_whole(FTYP + MOOV + MDAT + box(b"free") * 97)
    with pytest.raises(DownloadError, match="more than 100 boxes"):
        check(FTYP + MOOV + MDAT + box(b"free") * 98)
