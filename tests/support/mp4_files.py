"""MP4 files for tests: real ones in every layout that a muxer makes, and boxes put together by hand."""

from __future__ import annotations

import random
import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path

FRAMES_PER_SECOND = 24
_SAMPLES_PER_FRAME = 2000


@cache
def encode(movflags: str = "", *, seconds: int = 1, keyframe_every: int = 6) -> bytes:
    """Return a real video of noise, with sound, as FFmpeg's muxer lays it out for these ``movflags``."""
    import av
    from PIL import Image

    noise = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with av.open(str(path), "w", format="mp4", options={"movflags": movflags} if movflags else {}) as container:
            encoding = {"preset": "ultrafast", "threads": "1", "g": str(keyframe_every)}
            video = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=encoding)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            audio = container.add_stream("aac", rate=_SAMPLES_PER_FRAME * FRAMES_PER_SECOND)
            for number in range(seconds * FRAMES_PER_SECOND):
                image = Image.frombytes("RGB", (64, 48), noise.randbytes(64 * 48 * 3))
                picture = av.VideoFrame.from_image(image)
                picture.pts, picture.time_base = number, Fraction(1, FRAMES_PER_SECOND)
                container.mux(video.encode(picture))
                sound = av.AudioFrame(format="s16", layout="stereo", samples=_SAMPLES_PER_FRAME)
                sound.planes[0].update(noise.randbytes(sound.planes[0].buffer_size))
                sound.sample_rate = _SAMPLES_PER_FRAME * FRAMES_PER_SECOND
                sound.pts, sound.time_base = number * _SAMPLES_PER_FRAME, Fraction(1, sound.sample_rate)
                container.mux(audio.encode(sound))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))
        return path.read_bytes()


def remux(video: bytes, movflags: str) -> bytes:
    """Return the same pictures in another layout."""
    import io

    import av

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        options = {"movflags": movflags} if movflags else {}
        with av.open(io.BytesIO(video)) as source, av.open(str(path), "w", format="mp4", options=options) as container:
            stream = container.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    container.mux(packet)
        return path.read_bytes()


def box(kind: bytes, content: bytes = b"", *, large: bool = False, size: int | None = None) -> bytes:
    """Return one box; ``size`` lies about it."""
    if large:
        return (1).to_bytes(4) + kind + (len(content) + 16 if size is None else size).to_bytes(8) + content
    return (len(content) + 8 if size is None else size).to_bytes(4) + kind + content


def boxes(video: bytes) -> list[tuple[bytes, int, int]]:
    """Return kind, start and end of the video's boxes."""
    found, at = [], 0
    while at < len(video):
        size = int.from_bytes(video[at : at + 4]) or len(video) - at
        found.append((video[at + 4 : at + 8], at, at + size))
        at += size
    return found


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2")


def moov(offset: int, size: int) -> bytes:
    """Return the index of one track with one sample, which is that piece of the file."""
    number = (1).to_bytes(4)
    table = (
        box(b"stts", bytes(4) + number + number + (1000).to_bytes(4)),
        box(b"stsc", bytes(4) + number + number + number + number),
        box(b"stsz", bytes(4) + size.to_bytes(4) + number),
        box(b"co64", bytes(4) + number + offset.to_bytes(8)),
    )
    media = (
        box(b"mdhd", bytes(12) + (1000).to_bytes(4) + bytes(8)),
        box(b"hdlr", bytes(8) + b"vide" + bytes(13)),
        box(b"minf", box(b"stbl", b"".join(table))),
    )
    track = box(b"trak", box(b"tkhd", bytes(12) + number + bytes(68)) + box(b"mdia", b"".join(media)))
    return box(b"moov", box(b"mvhd", bytes(12) + (1000).to_bytes(4) + bytes(84)) + track)


def head(size: int) -> bytes:
    """Return the beginning of a whole video of one sample: what is missing are ``size`` bytes, any."""
    start = len(FTYP) + len(moov(0, 0)) + 16
    return FTYP + moov(start, size) + box(b"mdat", large=True, size=16 + size)
