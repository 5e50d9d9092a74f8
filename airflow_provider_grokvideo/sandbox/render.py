"""From a film to the bytes of an MP4 file: H.264, yuv420p, index in front."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from airflow_provider_grokvideo.sandbox.artwork import Artwork, Film

FRAMES_PER_SECOND = 24


class RendererMissingError(RuntimeError):
    """PyAV or Pillow is not installed."""


class RenderingStoppedError(RuntimeError):
    """The sandbox stopped before the video was ready."""


def render(film: Film, keep_going: Callable[[], bool] = lambda: True) -> bytes:
    """Encode the film. Slow enough to belong in a thread; equal films give equal bytes."""
    try:
        import av
        import PIL  # noqa: F401
    except ImportError as missing:
        raise RendererMissingError(
            f"rendering a video needs {missing.name}: pip install 'airflow-provider-grokvideo[sandbox]'"
        ) from missing

    artwork = Artwork(film)
    with tempfile.TemporaryDirectory(prefix="grokvideo-sandbox-") as folder:
        # The muxer reads its file again to move the index to the front, so memory will not do.
        path = Path(folder) / "video.mp4"
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        with av.open(str(path), "w", format="mp4", options=options) as container:
            # The number of threads is fixed because x264's output depends on it.
            encoding = {"preset": "ultrafast", "crf": "23", "threads": "2"}
            stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=encoding)
            stream.width, stream.height = film.width, film.height
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, FRAMES_PER_SECOND)
            for number in range(round(film.seconds * FRAMES_PER_SECOND)):
                if not keep_going():
                    raise RenderingStoppedError(film.request_id)
                frame = av.VideoFrame.from_image(artwork.frame(number / FRAMES_PER_SECOND))
                frame.pts = number
                frame.time_base = Fraction(1, FRAMES_PER_SECOND)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()
