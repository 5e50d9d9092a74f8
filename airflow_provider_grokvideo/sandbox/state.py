"""State of one sandbox: jobs, faults, request logs, rate limit and signed URLs."""

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
    """A list of log entries whose long texts are truncated."""

    def append(self, entry: dict[str, Any]) -> None:
        """Add an entry, truncated."""
        super().append(truncate(entry))


class TokenBucket:
    """Rate limit of ``rate`` calls per second, with bursts of the same size."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._capacity = max(1.0, rate)
        self._tokens = self._capacity
        self._updated_at = time.monotonic()

    def take(self) -> float:
        """Take a token and return 0, or return the seconds until the next token."""
        now = time.monotonic()
        self._tokens = min(self._capacity, self._tokens + (now - self._updated_at) * self.rate)
        self._updated_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.rate

    def retry_after(self, wait: float) -> int:
        """Return the value of ``Retry-After`` for a wait: whole seconds, rounded up."""
        return max(1, math.ceil(wait))


@dataclass
class State:
    """State that all routes of one sandbox share."""

    options: Options
    faults: FaultQueue = field(default_factory=FaultQueue)
    polls: list[dict[str, Any]] = field(default_factory=Log)
    downloads: list[dict[str, Any]] = field(default_factory=Log)
    uploads: list[dict[str, Any]] = field(default_factory=Log)
    refusals: list[dict[str, Any]] = field(default_factory=Log)

    def __post_init__(self) -> None:
        """Create what depends on the options."""
        self.jobs = Jobs(self.options.seed)
        self.bucket = TokenBucket(self.options.rate_limit) if self.options.rate_limit else None
        self._signing_key = secrets.token_bytes(16)

    def signed_path(self, job: Job) -> str:
        """Return a new path and query for the video of a job; every poll returns another one, as the API does."""
        job.url_serial += 1
        expires = int(time.time() + self.options.url_lifetime)
        signature = self._sign(job.request_id, job.url_serial, expires)
        query = urlencode({"expires": expires, "serial": job.url_serial, "signature": signature})
        return f"/videos/{job.request_id}.mp4?{query}"

    def is_valid_url(self, job: Job, expires: str, serial: str, signature: str) -> bool:
        """Return whether the sandbox issued a URL with these values and it has not expired."""
        if not (_DIGITS.match(expires) and _DIGITS.match(serial)):
            return False
        expected = self._sign(job.request_id, int(serial), int(expires))
        is_authentic = hmac.compare_digest(expected.encode(), signature.encode())
        return is_authentic and int(serial) >= job.oldest_valid_serial and int(expires) > time.time()

    def expire_urls(self, job: Job) -> None:
        """Expire every URL issued so far for the job; the next poll returns a valid one."""
        job.oldest_valid_serial = job.url_serial + 1

    def find_source_job(self, body: dict[str, Any]) -> Job | None:
        """Return the job whose video is edited or extended, or None if this sandbox did not create the video."""
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
