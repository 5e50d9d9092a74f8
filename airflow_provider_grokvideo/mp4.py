"""Whether a stream of bytes is a whole MP4 file, told from its boxes alone (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

from airflow_provider_grokvideo.exceptions import DownloadError

_HEADER = 8
_LARGE_HEADER = 16
_NEEDED = frozenset({b"ftyp", b"mdat"})
"""What was paid for. A lost index (``moov``) can be made anew from it, so a file without one is kept."""


class Mp4Check:
    """Walks the top-level boxes of a file while it streams by, in constant memory.

    A file that is cut short ends inside a box, also where the host claims that it is complete.
    """

    def __init__(self) -> None:
        self._position = 0
        self._box_at = 0
        self._walking = True
        self._header = bytearray()
        self._first = True
        self._missing = set(_NEEDED)

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes.

        :raises DownloadError: this is no MP4 file.
        """
        end = self._position + len(chunk)
        while self._walking and self._box_at + len(self._header) < end:
            start = self._box_at + len(self._header) - self._position
            self._header += chunk[start : start + self._header_length() - len(self._header)]
            if len(self._header) == self._header_length():
                self._next_box()
        self._position = end

    def finish(self) -> None:
        """The stream has ended.

        :raises DownloadError: too early.
        """
        if self._first:
            raise DownloadError(f"the video's host sent no MP4 file but {self._position} bytes")
        # Less padding than a box's header takes is padding all the same.
        at_an_end = self._box_at + len(self._header) == self._position and not any(self._header)
        if self._missing or (self._walking and not at_an_end):
            raise DownloadError(f"the video is cut short: {self._position} bytes, of at least {self._box_at}")

    def _header_length(self) -> int:
        return _LARGE_HEADER if self._header[:4] == b"\x00\x00\x00\x01" else _HEADER

    def _next_box(self) -> None:
        kind = bytes(self._header[4:8])
        if self._first and kind != b"ftyp":
            raise DownloadError(f"the video's host sent no MP4 file; it begins with {bytes(self._header)!r}")
        self._first = False
        self._missing.discard(kind)
        size = int.from_bytes(self._header[:4] if len(self._header) == _HEADER else self._header[8:])
        runs_to_the_end = size == 0
        # Padding behind the last box is tolerated, as players do.
        is_box = size >= len(self._header) and all(32 <= byte < 127 or byte == 0xA9 for byte in kind)
        self._walking = is_box and not runs_to_the_end
        self._box_at += size
        self._header.clear()
