"""``output.upload_url``: the finished video is PUT there before the job counts as done."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp

from airflow_provider_grokvideo.sandbox.films import Films
from airflow_provider_grokvideo.sandbox.jobs import Job
from airflow_provider_grokvideo.sandbox.render import RendererMissingError
from airflow_provider_grokvideo.sandbox.studio import Studio

_PATIENCE = aiohttp.ClientTimeout(total=60)


class Deliveries:
    """Background uploads of one sandbox."""

    def __init__(self, studio: Studio, films: Films) -> None:
        self._studio = studio
        self._films = films
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, asyncio.Event] = {}
        studio.jobs.on_finish(self._wake)

    def expect(self, job: Job) -> None:
        """Upload this job's video when the job ends, if it asks for that."""
        if not job.uploading:
            return
        self._ended[job.request_id] = asyncio.Event()
        task = asyncio.create_task(self._deliver(job))
        self._tasks[job.request_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.request_id, None))

    async def close(self) -> None:
        """Give up what has not been uploaded."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self, job: Job) -> None:
        ended = self._ended.get(job.request_id)
        if ended is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(ended.set)

    async def _deliver(self, job: Job) -> None:
        try:
            async with asyncio.timeout(job.remaining):
                await self._ended[job.request_id].wait()
        except TimeoutError:
            pass
        try:
            if job.outcome == "done":
                await self._put(job)
        finally:
            self._ended.pop(job.request_id, None)
            job.uploading = False

    async def _put(self, job: Job) -> None:
        url = job.upload_url or ""
        record: dict[str, Any] = {"request_id": job.request_id, "at": time.time(), "url": url}
        fault = self._studio.faults.take("upload", request_id=job.request_id, prompt=job.prompt)
        try:
            content = await self._films.get(job)
            if fault is not None and fault.name == "skip":
                record.update(status=None, size_bytes=0, error="skipped")
                return
            if fault is not None and fault.name == "cut_short":
                content = content[: len(content) // 2]
            async with (
                aiohttp.ClientSession(timeout=_PATIENCE) as session,
                session.put(url, data=content, headers={"Content-Type": "video/mp4"}) as answer,
            ):
                record.update(status=answer.status, size_bytes=len(content), error=None)
        except (aiohttp.ClientError, TimeoutError, OSError, RendererMissingError) as problem:
            record.update(status=None, size_bytes=0, error=f"{type(problem).__name__}: {problem}")
        finally:
            self._studio.uploads.append(record)
