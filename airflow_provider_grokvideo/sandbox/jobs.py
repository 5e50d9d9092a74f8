"""Accepted submissions and their progress, within limits of memory."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_grokvideo.sandbox.validation import Kind

MAX_ENTRY_BYTES = 256 * 1024
"""Approximate limit of a submission's body or a log entry: a sandbox may run for weeks."""
_NODE_BYTES = 64
_MAX_DEPTH = 50

# How a job can end. The API reports a moderated video in three ways.
OUTCOMES = (
    "done",
    "failed",
    "expired",
    "moderated_failed",
    "moderated_done",
    "moderated_400",
    "done_without_url",
)
_OUTCOME_ALIASES = {"moderated": "moderated_failed"}
_MAX_PENDING_PROGRESS = 99
_MAX_PROMPT_LENGTH = 20_000
_MAX_PENDING_IMAGE_BYTES = 64 * 1024 * 1024
"""Limit of all image URLs together that wait for their rendering; the oldest are dropped first."""


def resolve_outcome(name: str) -> str:
    """Return the outcome of that name; ``moderated`` stands for ``moderated_failed``."""
    outcome = _OUTCOME_ALIASES.get(name, name)
    if outcome not in OUTCOMES:
        raise ValueError(f"Unknown outcome {name!r}; known: {', '.join((*OUTCOMES, *_OUTCOME_ALIASES))}.")
    return outcome


@dataclass
class Job:
    """One accepted submission and the state of its generation."""

    request_id: str
    kind: Kind
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    model: str
    prompt: str
    duration: float
    aspect_ratio: str
    resolution: str
    cost_ticks: int
    render_seconds: float
    outcome: str = "done"
    # Error code and message; None for the default ones.
    failure: tuple[str, str] | None = None
    accepted_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)
    finished_early_at: float | None = None
    fixed_progress: float | None = None
    # A job with an upload_url stays pending until its video is uploaded.
    uploading: bool = False
    polls: int = 0
    url_serial: int = 0
    oldest_valid_serial: int = 1

    @property
    def remaining_seconds(self) -> float:
        """Seconds until the job ends by time."""
        if self.finished_early_at is not None:
            return 0.0
        return max(0.0, self.started + self.render_seconds - time.monotonic())

    @property
    def pending(self) -> bool:
        """Whether the job has not ended yet."""
        return self.remaining_seconds > 0 or self.uploading

    @property
    def state(self) -> str:
        """``pending``, ``done``, ``failed``, ``expired`` or ``moderated``."""
        if self.pending:
            return "pending"
        if self.outcome.startswith("moderated"):
            return "moderated"
        return "done" if self.outcome == "done_without_url" else self.outcome

    @property
    def progress(self) -> float:
        """Progress in percent; 100 only for a finished video."""
        if not self.pending:
            return 100 if self.state == "done" else 0
        if self.fixed_progress is not None:
            return self.fixed_progress
        if self.render_seconds <= 0:
            return _MAX_PENDING_PROGRESS
        elapsed = time.monotonic() - self.started
        return min(_MAX_PENDING_PROGRESS, int(100 * elapsed / self.render_seconds))

    @property
    def finished_at(self) -> float:
        """Time at which the job ended or will end, in seconds since the epoch."""
        return self.finished_early_at or self.accepted_at + self.render_seconds

    @property
    def upload_url(self) -> str | None:
        """The request's ``output.upload_url``, or None."""
        output = self.body.get("output")
        return output.get("upload_url") if isinstance(output, dict) else None

    @property
    def storage_options(self) -> dict[str, Any] | None:
        """The request's ``storage_options``, or None."""
        options = self.body.get("storage_options")
        return options if isinstance(options, dict) else None

    @property
    def is_public(self) -> bool:
        """Whether the request asks for a public URL of the stored file."""
        public = (self.storage_options or {}).get("public_url")
        return public is True or isinstance(public, dict)

    def record(self) -> dict[str, Any]:
        """Return the submission in the form of ``Sandbox.submissions`` and ``/sandbox/requests``."""
        return {
            "request_id": self.request_id,
            "kind": self.kind,
            "path": self.path,
            "body": self.body,
            "headers": self.headers,
            "accepted_at": self.accepted_at,
            "state": self.state,
            "outcome": self.outcome,
            "cost_in_usd_ticks": self.cost_ticks,
        }


def _first_image_url(body: dict[str, Any]) -> str | None:
    candidates = [body.get("image"), *(body.get("reference_images") or [])]
    return next((c["url"] for c in candidates if isinstance(c, dict) and isinstance(c.get("url"), str)), None)


class Jobs:
    """All jobs of one sandbox; thread-safe.

    :param seed: makes ids the same in every run; None for random ids.
    """

    def __init__(self, seed: int | None) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._image_urls: OrderedDict[str, str] = OrderedDict()
        self._ids = random.Random(seed) if seed is not None else random.SystemRandom()  # noqa: S311
        self._listeners: list[Callable[[Job], None]] = []

    def new_id(self) -> str:
        """Return a new id in the form of the API's."""
        with self._lock:
            return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def add(self, job: Job) -> None:
        """Add an accepted submission, truncated; keep the URL of its first image until the limit is reached."""
        url = _first_image_url(job.body)
        job.body = truncate(job.body)
        job.prompt = job.prompt[:_MAX_PROMPT_LENGTH]
        with self._lock:
            self._jobs[job.request_id] = job
            if url is not None:
                self._image_urls[job.request_id] = url
            while sum(map(len, self._image_urls.values())) > _MAX_PENDING_IMAGE_BYTES:
                self._image_urls.popitem(last=False)

    def image_url(self, job: Job) -> str | None:
        """Return the URL of the image to animate, or None if there is none or it has been dropped."""
        return self._image_urls.get(job.request_id)

    def get(self, request_id: str) -> Job | None:
        """Return the job with that id, or None."""
        return self._jobs.get(request_id)

    def all(self) -> list[Job]:
        """Return all jobs, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def on_finish(self, listener: Callable[[Job], None]) -> None:
        """Register a function to call when ``finish`` ends a job."""
        self._listeners.append(listener)

    def finish(self, request_id: str, state: str) -> Job:
        """End a job now, or change its outcome if it has ended."""
        outcome = resolve_outcome(state)
        job = self._require(request_id)
        with self._lock:
            job.outcome = outcome
            if job.finished_early_at is None:
                job.finished_early_at = time.time()
            if outcome != "done":
                job.uploading = False
        for listener in self._listeners:
            listener(job)
        return job

    def set_progress(self, request_id: str, progress: float) -> Job:
        """Report this progress while the job is pending."""
        job = self._require(request_id)
        job.fixed_progress = progress
        return job

    def _require(self, request_id: str) -> Job:
        job = self.get(request_id)
        if job is None:
            raise KeyError(f"No submission has the request_id {request_id!r}.")
        return job


def truncate(value: Any, limit: int = MAX_ENTRY_BYTES) -> Any:
    """Return a JSON value with long texts and lists cut; a small value is returned unchanged.

    :param limit: approximate size in bytes.
    """
    return _Truncation(limit).apply(value, 0)


class _Truncation:
    def __init__(self, limit: int) -> None:
        self._remaining = limit

    def apply(self, value: Any, depth: int) -> Any:
        self._remaining -= _NODE_BYTES
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int) and value.bit_length() > 8 * _NODE_BYTES:
            return "…"
        if not isinstance(value, dict | list):
            return value
        if depth > _MAX_DEPTH:
            return "…"
        if isinstance(value, list):
            return [self.apply(item, depth + 1) for item in value if self._remaining > 0]
        return {self._text(key): self.apply(item, depth + 1) for key, item in value.items() if self._remaining > 0}

    def _text(self, text: str) -> str:
        # Python uses up to four bytes per character.
        size = len(text) if text.isascii() else 4 * len(text)
        if size <= max(self._remaining, 0):
            self._remaining -= size
            return text
        shown = text[:100]
        self._remaining -= 4 * len(shown)
        return f"{shown}… ({len(text)} characters)"
