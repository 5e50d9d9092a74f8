"""What one sandbox knows: its jobs, its faults, and the log of what it was asked."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from airflow_provider_grokvideo.sandbox.faults import FaultQueue
from airflow_provider_grokvideo.sandbox.jobs import Job, Jobs, truncate
from airflow_provider_grokvideo.sandbox.options import Options

_VIDEO_PATH = re.compile(r"^/(?:videos|files)/([0-9a-f-]{36})\.mp4$")

_DIGITS = re.compile(r"[0-9]{1,18}\Z")


class Log(list[dict[str, Any]]):
    """A list of entries that keeps of each what is short."""

    def append(self, entry: dict[str, Any]) -> None:
        """Add an entry, truncated."""
        super().append(truncate(entry))


class TokenBucket:
    """At most ``rate`` calls a second, with a burst of as many."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._capacity = max(1.0, rate)
        self._tokens = self._capacity
        self._at = time.monotonic()

    def take(self) -> float:
        """Take a token and return 0, or take none and say when the next one comes."""
        now = time.monotonic()
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.rate

    def retry_after(self, wait: float) -> int:
        """The wait as the header says it: whole seconds."""
        return max(1, math.ceil(wait))


@dataclass
class State:
    """State shared by every route of one sandbox."""

    options: Options
    faults: FaultQueue = field(default_factory=FaultQueue)
    polls: list[dict[str, Any]] = field(default_factory=Log)
    downloads: list[dict[str, Any]] = field(default_factory=Log)
    uploads: list[dict[str, Any]] = field(default_factory=Log)
    refusals: list[dict[str, Any]] = field(default_factory=Log)

    def __post_init__(self) -> None:
        """Derive what follows from the options."""
        self.jobs = Jobs(self.options.seed)
        self.bucket = TokenBucket(self.options.rate_limit) if self.options.rate_limit else None
        self._signing_key = secrets.token_bytes(16)

    def signed_path(self, job: Job) -> str:
        """A fresh address for the job's video; every poll gives a new one, as the API does."""
        job.url_serial += 1
        expires = int(time.time() + self.options.url_lifetime)
        signature = self._sign(job.request_id, job.url_serial, expires)
        query = urlencode({"expires": expires, "serial": job.url_serial, "signature": signature})
        return f"/videos/{job.request_id}.mp4?{query}"

    def is_valid_url(self, job: Job, expires: str, serial: str, signature: str) -> bool:
        """Whether that address was given out and has not expired."""
        if not (_DIGITS.match(expires) and _DIGITS.match(serial)):
            return False
        expected = self._sign(job.request_id, int(serial), int(expires))
        genuine = hmac.compare_digest(expected.encode(), signature.encode())
        return genuine and int(serial) >= job.oldest_valid_serial and int(expires) > time.time()

    def expire_urls(self, job: Job) -> None:
        """Make every address given out so far invalid; the next poll gives one that works."""
        job.oldest_valid_serial = job.url_serial + 1

    def find_source_job(self, body: dict[str, Any]) -> Job | None:
        """The job whose video is to be edited or extended, where this sandbox made it."""
        video = body.get("video")
        file_id = video.get("file_id") if isinstance(video, dict) else None
        if isinstance(file_id, str):
            return self.jobs.get(file_id.removeprefix("file_"))
        url = video.get("url") if isinstance(video, dict) else None
        if not isinstance(url, str):
            return None
        try:
            match = _VIDEO_PATH.match(urlsplit(url).path)
        except ValueError:
            return None
        return self.jobs.get(match.group(1)) if match else None

    def _sign(self, request_id: str, serial: int, expires: int) -> str:
        message = f"{request_id}:{serial}:{expires}".encode()
        return hmac.new(self._signing_key, message, hashlib.sha256).hexdigest()
