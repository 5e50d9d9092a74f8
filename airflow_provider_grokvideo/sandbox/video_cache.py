"""Cache of rendered videos: each video is rendered at its first request."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import aiohttp

from airflow_provider_grokvideo.sandbox.jobs import Job, Jobs
from airflow_provider_grokvideo.sandbox.models import FRAME_SIZES
from airflow_provider_grokvideo.sandbox.rendering import VideoSpec, render_video
from airflow_provider_grokvideo.sandbox.validation import decode_data_uri

_MAX_CACHE_BYTES = 128 * 1024 * 1024
_MAX_IMAGE_BYTES = 16 * 1024 * 1024
_IMAGE_TIMEOUT = aiohttp.ClientTimeout(total=5)
_LABELS = {"generation": "SANDBOX", "edit": "SANDBOX · EDIT", "extension": "SANDBOX · EXTENSION"}


class VideoCache:
    """The rendered videos of one sandbox, limited to 128 MiB.

    :param jobs: the jobs, which also keep the URLs of their input images.
    :param seed: makes videos the same in every run.
    """

    def __init__(self, jobs: Jobs, seed: int | None) -> None:
        self._jobs = jobs
        self._seed = seed
        self._videos: OrderedDict[str, bytes] = OrderedDict()
        self._rendering: dict[str, asyncio.Task[bytes]] = {}
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sandbox-render")

    async def get(self, job: Job) -> bytes:
        """Return the MP4 file of a job; render it if the cache does not hold it.

        Concurrent calls for one job share one rendering.
        """
        key = job.request_id
        if key in self._videos:
            self._videos.move_to_end(key)
            return self._videos[key]
        if key not in self._rendering:
            task = asyncio.create_task(self._render(job))
            self._rendering[key] = task
            task.add_done_callback(lambda _: self._rendering.pop(key, None))
        # Shielded: a client that disconnects must not cancel a rendering that other clients wait for.
        return await asyncio.shield(self._rendering[key])

    async def close(self) -> None:
        """Cancel renderings that are not finished."""
        self._stopping.set()
        tasks = list(self._rendering.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Rendering checks _stopping before every frame, so this is short.
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _render(self, job: Job) -> bytes:
        # The image is fetched here because a slow host would block a rendering thread, which cannot be cancelled.
        image = await _fetch_image(self._jobs.image_url(job))
        content = await asyncio.get_running_loop().run_in_executor(
            self._threads, _render_job, job, image, self._seed, lambda: not self._stopping.is_set()
        )
        self._videos[job.request_id] = content
        while sum(map(len, self._videos.values())) > _MAX_CACHE_BYTES and len(self._videos) > 1:
            self._videos.popitem(last=False)
        return content


def _render_job(job: Job, image: bytes | None, seed: int | None, keep_going: Callable[[], bool]) -> bytes:
    width, height = FRAME_SIZES[job.resolution][job.aspect_ratio]
    # A lone surrogate is valid JSON but cannot be drawn.
    prompt = job.prompt.encode(errors="replace").decode()
    spec = VideoSpec(job.request_id, prompt, _LABELS[job.kind], width, height, job.duration, seed, image)
    return render_video(spec, keep_going)


async def _fetch_image(url: str | None) -> bytes | None:
    """Return the image to animate, or None if it is too large, invalid, or on another machine."""
    if url is None:
        return None
    if url.startswith("data:"):
        content = decode_data_uri(url)
        return content if content is not None and len(content) <= _MAX_IMAGE_BYTES else None
    try:
        if urlsplit(url).hostname not in {"localhost", "127.0.0.1", "::1"}:
            return None
        async with (
            aiohttp.ClientSession(timeout=_IMAGE_TIMEOUT, auto_decompress=False) as session,
            # A redirect could lead to another machine.
            session.get(url, allow_redirects=False) as response,
        ):
            return await _read_capped(response.content) if response.ok else None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None


async def _read_capped(stream: aiohttp.StreamReader) -> bytes | None:
    """Return the whole body, or None if it is too large."""
    content = bytearray()
    async for chunk in stream.iter_any():
        content += chunk
        if len(content) > _MAX_IMAGE_BYTES:
            return None
    return bytes(content)
