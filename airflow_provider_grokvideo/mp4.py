"""Check that a stream of bytes is a complete MP4 file: the index, and all media data that the index describes."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain

from airflow_provider_grokvideo.exceptions import DownloadError
from airflow_provider_grokvideo.mp4_index import (
    DamagedIndexError,
    Extent,
    Movie,
    read_fragment,
    read_movie,
    referenced_end,
)

_HEADER = 8
_LARGE_HEADER = 16
_INDEX = frozenset({b"moov", b"moof", b"sidx"})
"""Boxes whose content is kept and parsed."""
MAX_INDEX_BYTES = 32 * 1024**2
"""Maximum bytes of one file's index. An hour of video at 60 frames per second needs about 4 MiB."""
MAX_PIECES = 200_000
"""Maximum number of boxes of one file, and of pieces of media data that do not adjoin."""


class Mp4Check:
    """Check of a file while it is downloaded, in limited memory: only the index is kept.

    :param duration: seconds that the video should last, ``None`` if unknown. Used only for a fragmented file without
        an end mark, which can be the beginning of a longer one.
    """

    def __init__(self, duration: float | None = None) -> None:
        self._expected_duration = duration
        self._position = 0
        self._walking = True
        self._header = bytearray()
        # The current box.
        self._kind = b""
        self._starts_at = self._content_at = 0
        self._ends_at: float = 0
        self._content: bytearray | None = None
        # What the file contains.
        self._boxes = self._index_bytes = 0
        self._movies: list[Movie] = []
        self._media, self._fragments = _Extents(), _Extents()
        self._referenced_end = 0
        self._is_indexed = self._has_fragment_index = False

    def feed(self, chunk: bytes) -> None:
        """Check the next bytes.

        :raises DownloadError: this is not an MP4 file.
        """
        at, end = 0, len(chunk)
        while at < end:
            in_box = self._position < self._ends_at
            if in_box:
                taken = int(min(self._ends_at - self._position, end - at))
                if self._content is not None:
                    self._content += chunk[at : at + taken]
            elif self._walking:
                taken = min(self._header_length() - len(self._header), end - at)
                self._header += chunk[at : at + taken]
            else:
                taken = end - at
            at += taken
            self._position += taken
            if not in_box and len(self._header) == self._header_length():
                self._begin_box()
            if self._kind and self._position >= self._ends_at:
                self._end_box()

    def finish(self) -> None:
        """Check the complete file after its last byte.

        :raises DownloadError: it is not complete.
        """
        if not self._boxes:
            raise DownloadError(f"the video's host sent no MP4 file but {self._position} bytes")
        if self._ends_at == math.inf:
            self._end_box()
        # Fewer bytes than a box header are padding.
        elif self._position < self._ends_at or any(self._header):
            raise DownloadError(f"the video is cut short: {self._position} bytes, of at least {self._ends_at}")
        try:
            missing = self._missing()
        except (DamagedIndexError, IndexError) as error:
            raise _damaged_index(b"moov") from error
        if missing:
            raise DownloadError(f"the video is cut short or damaged: {missing} ({self._position} bytes)")

    def _header_length(self) -> int:
        return _LARGE_HEADER if self._header[:4] == b"\x00\x00\x00\x01" else _HEADER

    def _begin_box(self) -> None:
        header = bytes(self._header)
        self._header.clear()
        kind, size = header[4:8], int.from_bytes(header[:4] if len(header) == _HEADER else header[8:])
        if not self._boxes and kind != b"ftyp":
            raise DownloadError("the video's host sent no MP4 file")
        self._boxes += 1
        if self._boxes > MAX_PIECES:
            raise DownloadError(f"the video has more than {MAX_PIECES:,} boxes")
        if not all(32 <= byte < 127 or byte == 0xA9 for byte in kind) or 0 < size < len(header):
            # Padding after the last box is allowed, as in players.
            self._walking = False
            return
        self._kind, self._content_at = kind, self._position
        self._starts_at = self._position - len(header)
        self._ends_at = self._starts_at + size if size else math.inf
        if kind in _INDEX:
            self._content = bytearray()
            self._index_bytes += size
            if self._index_bytes > MAX_INDEX_BYTES:
                raise DownloadError(f"the video's index is larger than {MAX_INDEX_BYTES // 1024**2} MiB")

    def _end_box(self) -> None:
        kind, self._kind = self._kind, b""
        content, self._content = self._content, None
        if kind == b"mdat":
            self._media.add((self._content_at, self._position))
        elif kind == b"mfra":
            # Lists all fragments, after the last one.
            self._is_indexed = True
        elif content is not None:
            try:
                self._read(kind, memoryview(content))
            except (DamagedIndexError, IndexError) as error:
                raise _damaged_index(kind) from error

    def _read(self, kind: bytes, content: memoryview) -> None:
        if kind == b"moov":
            self._movies.append(read_movie(content))
        elif kind == b"sidx":
            pieces, end = referenced_end(content, self._position)
            self._referenced_end = max(self._referenced_end, end)
            # An index of a single piece may precede each fragment.
            self._has_fragment_index |= pieces > 1 and not self._fragments
        elif not self._movies:
            raise DamagedIndexError("a fragment before the index of its tracks")
        else:
            for extent in read_fragment(content, self._starts_at, self._movies[0]):
                self._fragments.add(extent)

    def _missing(self) -> str | None:
        """Return what is missing from the file, ``None`` for nothing.

        :raises DamagedIndexError: the index contradicts itself.
        """
        if not self._movies:
            return "it has no index"
        described = False
        for start, end in chain(self._fragments, *(movie.extents() for movie in self._movies)):
            described |= start < end
            if not self._media.hold(start, end):
                return "it lacks media data that its index describes"
        if not described:
            return "its index describes no media data"
        if self._referenced_end > self._position:
            return "it lacks fragments that its index describes"
        if not self._is_ended():
            return "it is fragmented, and nothing in it shows that the last fragment is there"
        return None

    def _is_ended(self) -> bool:
        """Return whether no more fragments are expected."""
        movie = self._movies[0]
        if not movie.is_fragmented or self._is_indexed:
            return True
        if self._has_fragment_index and self._referenced_end >= self._media.end:
            return True
        expected = movie.fragment_duration or self._expected_duration
        return expected is not None and expected > 0 and movie.reaches(expected)


class _Extents:
    """Extents in the order in which they were added, those that adjoin as one."""

    def __init__(self) -> None:
        self._starts, self._ends = array("Q"), array("Q")

    def add(self, extent: Extent) -> None:
        """Add one extent.

        :raises DamagedIndexError: there are too many, or its offset is too large for a file.
        """
        start, end = extent
        if start >= end:
            return
        if self._ends and self._ends[-1] == start:
            start = self._starts.pop()
            self._ends.pop()
        if len(self._starts) >= MAX_PIECES or end >= 2**63:
            raise DamagedIndexError("too many pieces")
        self._starts.append(start)
        self._ends.append(end)

    def hold(self, start: int, end: int) -> bool:
        """Return whether one of these ascending extents contains the given one."""
        at = bisect_right(self._starts, start) - 1
        return start >= end or (at >= 0 and end <= self._ends[at])

    @property
    def end(self) -> int:
        """End of the last extent."""
        return self._ends[-1] if self._ends else 0

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Extent]:
        return zip(self._starts, self._ends, strict=True)


def _damaged_index(kind: bytes) -> DownloadError:
    return DownloadError(f"the video's index is damaged ({kind.decode('latin-1')})")
