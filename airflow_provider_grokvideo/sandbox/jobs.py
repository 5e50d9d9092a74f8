"""The submissions the sandbox accepted, and what has become of each by now."""

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
"""Of one submission's body or one log entry, about."""
_NODE_BYTES = 64
_MAX_DEPTH = 50
# How a job can end. The moderated ones are the three shapes the API has been seen to use.
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
"""Bytes of all pictures together that wait to be drawn; the oldest ones go first."""


def resolve_outcome(name: str) -> str:
    """The outcome that a name stands for; ``moderated`` is short for the commonest shape."""
    outcome = _OUTCOME_ALIASES.get(name, name)
    if outcome not in OUTCOMES:
        raise ValueError(f"unknown outcome {name!r}; known: {', '.join((*OUTCOMES, *_OUTCOME_ALIASES))}")
    return outcome


@dataclass
class Job:
    """One accepted submission."""

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
    # The error code and message of a job that fails for a reason of its own.
    failure: tuple[str, str] | None = None
    accepted_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)
    finished_early_at: float | None = None
    fixed_progress: float | None = None
    # A job whose video goes to an upload_url is done only when the video has arrived there.
    uploading: bool = False
    polls: int = 0
    url_serial: int = 0
    oldest_valid_serial: int = 1

    @property
    def remaining_seconds(self) -> float:
        """Seconds until the clock alone would end this job."""
        if self.finished_early_at is not None:
            return 0.0
        return max(0.0, self.started + self.render_seconds - time.monotonic())

    @property
    def pending(self) -> bool:
        """Whether the API would still say that it is at work."""
        return self.remaining_seconds > 0 or self.uploading

    @property
    def state(self) -> str:
        """``pending``, or how it ended: ``done``, ``failed``, ``expired`` or ``moderated``."""
        if self.pending:
            return "pending"
        if self.outcome.startswith("moderated"):
            return "moderated"
        return "done" if self.outcome == "done_without_url" else self.outcome

    @property
    def progress(self) -> float:
        """Percent; 100 only for what is done."""
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
        """Wall-clock time at which it ended or will end."""
        return self.finished_early_at or self.accepted_at + self.render_seconds

    @property
    def upload_url(self) -> str | None:
        """Where the submitter wants the video to be PUT."""
        output = self.body.get("output")
        return output.get("upload_url") if isinstance(output, dict) else None

    @property
    def storage_options(self) -> dict[str, Any] | None:
        """How the submitter wants the video to be stored as a file, or None."""
        options = self.body.get("storage_options")
        return options if isinstance(options, dict) else None

    @property
    def is_public(self) -> bool:
        """Whether the stored file can be had without a key."""
        public = (self.storage_options or {}).get("public_url")
        return public is True or isinstance(public, dict)

    def record(self) -> dict[str, Any]:
        """The submission as tests and ``/sandbox/requests`` see it."""
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
    """Every job of one sandbox. Safe to use from the server's thread and the test's at once."""

    def __init__(self, seed: int | None) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._image_urls: OrderedDict[str, str] = OrderedDict()
        self._ids = random.Random(seed) if seed is not None else random.SystemRandom()  # noqa: S311
        self._listeners: list[Callable[[Job], None]] = []

    def new_id(self) -> str:
        """An id that looks like the API's; with a seed the same ones come in the same order."""
        with self._lock:
            return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def add(self, job: Job) -> None:
        """Remember an accepted submission, and of megabytes in it only the picture, for some time."""
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
        """Return the URL of the image to animate, where there is one and it is still kept."""
        return self._image_urls.get(job.request_id)

    def get(self, request_id: str) -> Job | None:
        """The job of that id, if it was ever accepted."""
        return self._jobs.get(request_id)

    def all(self) -> list[Job]:
        """Every job, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def on_finish(self, listener: Callable[[Job], None]) -> None:
        """Call ``listener`` when a job is ended by hand rather than by the clock."""
        self._listeners.append(listener)

    def finish(self, request_id: str, state: str) -> Job:
        """End a job now, or change how it ended."""
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
        """Show this progress for as long as the job is pending."""
        job = self._require(request_id)
        job.fixed_progress = progress
        return job

    def _require(self, request_id: str) -> Job:
        job = self.get(request_id)
        if job is None:
            raise KeyError(f"no submission with request_id {request_id!r}")
        return job


def truncate(value: Any, limit: int = MAX_ENTRY_BYTES) -> Any:
    """Return a JSON value, itself where it is small; else with its long texts and lists cut.

    :param limit: bytes that it may take, about.
    """
    return _Budget(limit).spend(value, 0)


class _Budget:
    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self, value: Any, depth: int) -> Any:
        self._left -= _NODE_BYTES
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int) and value.bit_length() > 8 * _NODE_BYTES:
            return "…"
        if not isinstance(value, dict | list):
            return value
        if depth > _MAX_DEPTH:
            return "…"
        if isinstance(value, list):
            return [self.spend(item, depth + 1) for item in value if self._left > 0]
        return {self._text(key): self.spend(item, depth + 1) for key, item in value.items() if self._left > 0}

    def _text(self, text: str) -> str:
        # Python takes up to four bytes for a character.
        size = len(text) if text.isascii() else 4 * len(text)
        if size <= max(self._left, 0):
            self._left -= size
            return text
        shown = text[:100]
        self._left -= 4 * len(shown)
        return f"{shown}… ({len(text)} characters)"
