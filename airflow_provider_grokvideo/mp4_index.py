"""Parser of an MP4 file's index: where its media data is (ISO/IEC 14496-12). Pure functions on complete boxes.

All numbers come from a file that is not checked yet. Tables are read with ``array``, which is fast, and the bytes of
the box limit every loop.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Extent = tuple[int, int]
"""First byte and the byte after the last one, as offsets in the file."""

_SOUND_SLACK = 0.25
_SELF_CONTAINED = 1
"""Flag of a data reference that means: the media data is in this file."""


class DamagedIndexError(ValueError):
    """The index contradicts itself."""


@dataclass
class Track:
    """Facts on one track from the index.

    :param samples: number of samples seen so far, fragments included.
    :param duration: of those samples, in units of ``timescale``.
    :param is_video: whether it is the video track.
    :param table: the sample table, ``stbl``; ``None`` if the data is in another file.
    :param default_duration: of a fragment's sample, from ``trex``.
    :param default_size: of a fragment's sample in bytes, from ``trex``.
    """

    timescale: int = 0
    samples: int = 0
    duration: int = 0
    is_video: bool = False
    table: Mapping[bytes, memoryview] | None = None
    default_duration: int = 0
    default_size: int = 0

    @property
    def seconds(self) -> float:
        """Length of the samples seen so far."""
        return self.duration / self.timescale if self.timescale else 0.0

    @property
    def slack(self) -> float:
        """Seconds by which the track may be shorter than the video: audio often ends a little earlier."""
        return self.seconds / self.samples / 2 if self.is_video else _SOUND_SLACK


@dataclass
class Movie:
    """Facts from ``moov``.

    :param is_fragmented: whether fragments may follow, so that this is not the complete index.
    :param fragment_duration: seconds of all fragments together, ``None`` if unknown.
    """

    tracks: dict[int, Track] = field(default_factory=dict)
    is_fragmented: bool = False
    fragment_duration: float | None = None

    def extents(self) -> Iterator[Extent]:
        """Yield the extent of each chunk of each track.

        :raises DamagedIndexError: the tables contradict each other.
        """
        for track in self.tracks.values():
            if track.table is not None:
                yield from _chunk_extents(track.table)

    def reaches(self, seconds: float) -> bool:
        """Return whether every track with samples has this duration, with a tolerance of half a frame."""
        tracks = [track for track in self.tracks.values() if track.samples]
        return bool(tracks) and all(track.seconds + track.slack >= seconds for track in tracks)


def read_movie(moov: memoryview) -> Movie:
    """Parse the content of ``moov``; only :meth:`Movie.extents` parses the sample tables.

    :raises DamagedIndexError: it contradicts itself.
    """
    movie, timescale, extends = Movie(), 0, []
    for kind, content in children(moov):
        if kind == b"mvhd":
            timescale = _uint(content, 20 if content[0] == 1 else 12)
        elif kind == b"trak":
            number, track = _read_track(content)
            movie.tracks[number] = track
        elif kind == b"mvex":
            movie.is_fragmented = True
            extends = list(children(content))
    for kind, content in extends:
        if kind == b"trex" and (extended := movie.tracks.get(_uint(content, 4))) is not None:
            extended.default_duration, extended.default_size = _uint(content, 12), _uint(content, 16)
        elif kind == b"mehd" and timescale:
            movie.fragment_duration = _uint(content, 4, 8 if content[0] == 1 else 4) / timescale or None
    return movie


def read_fragment(moof: memoryview, at: int, movie: Movie) -> Iterator[Extent]:
    """Yield the extents of a fragment's runs, and add their samples to the tracks.

    :param moof: the content of the box.
    :param at: offset of the box in the file.
    :raises DamagedIndexError: it contradicts itself.
    """
    position = at
    for kind, traf in children(moof):
        if kind != b"traf":
            continue
        boxes = list(children(traf))
        header = next((content for kind, content in boxes if kind == b"tfhd"), None)
        if header is None or (track := movie.tracks.get(_uint(header, 4))) is None:
            raise DamagedIndexError("a fragment of no track")
        base, duration, size = _fragment_defaults(header, at, position, track)
        position = base
        for kind, run in boxes:
            if kind == b"trun":
                start, length = _read_run(run, base, position, duration, size, track)
                position = start + length
                yield start, position


def referenced_end(sidx: memoryview, end: int) -> tuple[int, int]:
    """Return the number of pieces in a segment index, and the end of the last one.

    :param sidx: the content of the box.
    :param end: end of the box in the file.
    """
    wide = sidx[0] != 0
    first_offset = _uint(sidx, 20, 8) if wide else _uint(sidx, 16)
    head = 28 if wide else 20
    count = _uint(sidx, head + 2, 2)
    references = _table(sidx, head + 4, 3 * count)
    return count, end + first_offset + sum(reference & 0x7FFFFFFF for reference in references[::3])


def children(box: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of the boxes in a box. Fewer bytes than a header at the end are padding.

    :raises DamagedIndexError: one is larger than its parent or smaller than its header.
    """
    at = 0
    while at + 8 <= len(box):
        size, head = _uint(box, at), 8
        if size == 1:
            size, head = _uint(box, at + 8, 8), 16
        elif size == 0:
            size = len(box) - at
        if size < head or at + size > len(box):
            raise DamagedIndexError("a box that does not fit into its parent")
        yield bytes(box[at + 4 : at + 8]), box[at + head : at + size]
        at += size


def _read_track(trak: memoryview) -> tuple[int, Track]:
    track, number = Track(), 0
    boxes = dict(children(trak))
    if header := boxes.get(b"tkhd"):
        number = _uint(header, 20 if header[0] == 1 else 12)
    media = dict(children(boxes.get(b"mdia", memoryview(b""))))
    if header := media.get(b"mdhd"):
        track.timescale = _uint(header, 20 if header[0] == 1 else 12)
    if header := media.get(b"hdlr"):
        track.is_video = bytes(header[8:12]) == b"vide"
    information = dict(children(media.get(b"minf", memoryview(b""))))
    table = dict(children(information.get(b"stbl", memoryview(b""))))
    if _is_in_this_file(dict(children(information.get(b"dinf", memoryview(b""))))):
        track.table = table
    if times := table.get(b"stts"):
        entries = _table(times, 8, 2 * _uint(times, 4))
        track.samples = sum(entries[::2])
        track.duration = sum(count * delta for count, delta in zip(entries[::2], entries[1::2], strict=True))
    return number, track


def _is_in_this_file(information: Mapping[bytes, memoryview]) -> bool:
    references = information.get(b"dref")
    if references is None:
        return True
    entries = [content for _, content in children(references[8:])]
    return not entries or any(len(entry) < 4 or entry[3] & _SELF_CONTAINED for entry in entries)


def _chunk_extents(table: Mapping[bytes, memoryview]) -> Iterator[Extent]:
    count, uniform, sizes = _sample_sizes(table)
    if count == 0:
        return
    offsets = _chunk_offsets(table)
    to_chunk = table.get(b"stsc", memoryview(b""))
    runs = _table(to_chunk, 8, 3 * _uint(to_chunk, 4))
    sample = 0
    for run in range(0, len(runs), 3):
        first, per_chunk = runs[run], runs[run + 1]
        last = runs[run + 3] - 1 if run + 3 < len(runs) else len(offsets)
        if not 1 <= first <= last + 1 or last > len(offsets):
            raise DamagedIndexError("chunks that do not exist")
        for offset in offsets[first - 1 : last]:
            taken = min(per_chunk, count - sample)
            length = taken * uniform if uniform else sum(sizes[sample : sample + taken])
            yield offset, offset + length
            sample += taken
    if sample < count:
        raise DamagedIndexError("samples without a chunk")


def _sample_sizes(table: Mapping[bytes, memoryview]) -> tuple[int, int, array[int]]:
    """Return the number of samples, the size of all where it is the same, and else the size of each."""
    if plain := table.get(b"stsz"):
        uniform, count = _uint(plain, 4), _uint(plain, 8)
        return count, uniform, array("I") if uniform else _table(plain, 12, count)
    if compact := table.get(b"stz2"):
        bits, count = compact[7], _uint(compact, 8)
        content = bytes(compact[12 : 12 + (count * bits + 7) // 8])
        if bits == 4:
            sizes = array("I", (nibble for byte in content for nibble in (byte >> 4, byte & 15)))[:count]
        elif bits in {8, 16}:
            step = bits // 8
            sizes = array("I", (int.from_bytes(content[at : at + step]) for at in range(0, len(content), step)))
        else:
            sizes = array("I")
        if len(sizes) != count:
            raise DamagedIndexError("a table that is too short")
        return count, 0, sizes
    raise DamagedIndexError("a track without sample sizes")


def _chunk_offsets(table: Mapping[bytes, memoryview]) -> array[int]:
    if narrow := table.get(b"stco"):
        return _table(narrow, 8, _uint(narrow, 4))
    if wide := table.get(b"co64"):
        return _table(wide, 8, _uint(wide, 4), "Q")
    raise DamagedIndexError("a track without chunks")


def _fragment_defaults(header: memoryview, at: int, position: int, track: Track) -> tuple[int, int, int]:
    """Return the base offset of a track fragment, and the default duration and size of its samples."""
    flags, field_at = _uint(header, 0) & 0xFFFFFF, 8
    base, duration, size = position, track.default_duration, track.default_size
    if flags & 0x1:
        base, field_at = _uint(header, field_at, 8), field_at + 8
    elif flags & 0x20000:
        base = at
    if flags & 0x2:
        field_at += 4
    if flags & 0x8:
        duration, field_at = _uint(header, field_at), field_at + 4
    if flags & 0x10:
        size = _uint(header, field_at)
    return base, duration, size


def _read_run(run: memoryview, base: int, position: int, duration: int, size: int, track: Track) -> tuple[int, int]:
    """Return start and length of a run of samples, and add it to the track."""
    flags, count, field_at = _uint(run, 0) & 0xFFFFFF, _uint(run, 4), 8
    if flags & 0x1:
        offset = _uint(run, field_at)
        position, field_at = base + (offset - (1 << 32) if offset >> 31 else offset), field_at + 4
    if flags & 0x4:
        field_at += 4
    columns = [flag for flag in (0x100, 0x200, 0x400, 0x800) if flags & flag]
    values = _table(run, field_at, count * len(columns))
    sums = {flag: sum(values[index :: len(columns)]) for index, flag in enumerate(columns)}
    track.samples += count
    track.duration += sums.get(0x100, count * duration)
    if position < 0:
        raise DamagedIndexError("data before the beginning of the file")
    return position, sums.get(0x200, count * size)


def _uint(box: memoryview, at: int, width: int = 4) -> int:
    if at + width > len(box):
        raise DamagedIndexError("a field behind the end of its box")
    return int.from_bytes(box[at : at + width])


def _table(box: memoryview, at: int, count: int, code: str = "I") -> array[int]:
    values = array(code)
    if at + count * values.itemsize > len(box):
        raise DamagedIndexError("a table that is too short")
    values.frombytes(box[at : at + count * values.itemsize])
    if sys.byteorder == "little":
        values.byteswap()
    return values
