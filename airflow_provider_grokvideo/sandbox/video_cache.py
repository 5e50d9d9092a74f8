"""Videos on demand: rendered when first asked for, once, and kept within a bound."""

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
from airflow_provider_grokvideo.sandbox.rendering import Film, render
from airflow_provider_grokvideo.sandbox.validation import data_uri_content

_KEPT_BYTES = 128 * 1024 * 1024
_LARGEST_PICTURE = 16 * 1024 * 1024
_PICTURE_TIMEOUT = aiohttp.ClientTimeout(total=5)
_LABELS = {"generation": "SANDBOX", "edit": "SANDBOX · EDIT", "extension": "SANDBOX · EXTENSION"}


class Films:
    """The rendered videos of one sandbox."""

    def __init__(self, jobs: Jobs, seed: int | None) -> None:
        self._jobs = jobs
        self._seed = seed
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._rendering: dict[str, asyncio.Task[bytes]] = {}
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sandbox-render")

    async def get(self, job: Job) -> bytes:
        """The MP4 of that job; whoever asks while it is being rendered waits for the same file."""
        key = job.request_id
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._rendering:
            task = asyncio.create_task(self._render(job))
            self._rendering[key] = task
            task.add_done_callback(lambda _: self._rendering.pop(key, None))
        # Shielded: one client that hangs up must not cancel the others' film.
        return await asyncio.shield(self._rendering[key])

    async def close(self) -> None:
        """Give up what is still being rendered."""
        self._stopping.set()
        tasks = list(self._rendering.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Rendering looks at _stopping before every frame, so this does not take long.
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _render(self, job: Job) -> bytes:
        # Here, not in a thread that renders: a host that drips would hold it, and nothing could stop it.
        picture = await _picture(self._jobs.picture_url(job))
        content = await asyncio.get_running_loop().run_in_executor(
            self._threads, _film_bytes, job, picture, self._seed, lambda: not self._stopping.is_set()
        )
        self._kept[job.request_id] = content
        while sum(map(len, self._kept.values())) > _KEPT_BYTES and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return content


def _film_bytes(job: Job, picture: bytes | None, seed: int | None, keep_going: Callable[[], bool]) -> bytes:
    width, height = FRAME_SIZES[job.resolution][job.aspect_ratio]
    # Half a surrogate pair is valid JSON but cannot be drawn.
    prompt = job.prompt.encode(errors="replace").decode()
    film = Film(job.request_id, prompt, _LABELS[job.kind], width, height, job.duration, seed, picture)
    return render(film, keep_going)


async def _picture(url: str | None) -> bytes | None:
    """Return the image to animate, where the sandbox can have it without leaving the machine."""
    if url is None:
        return None
    if url.startswith("data:"):
        content = data_uri_content(url)
        return content if content is not None and len(content) <= _LARGEST_PICTURE else None
    try:
        if urlsplit(url).hostname not in {"localhost", "127.0.0.1", "::1"}:
            return None
        async with (
            aiohttp.ClientSession(timeout=_PICTURE_TIMEOUT, auto_decompress=False) as session,
            # A redirect could lead off the machine.
            session.get(url, allow_redirects=False) as answer,
        ):
            return await _read(answer.content) if answer.ok else None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None


async def _read(stream: aiohttp.StreamReader) -> bytes | None:
    """Return the whole body, or nothing of one that is too large."""
    content = bytearray()
    async for chunk in stream.iter_any():
        content += chunk
        if len(content) > _LARGEST_PICTURE:
            return None
    return bytes(content)
