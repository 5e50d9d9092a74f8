"""The embedded API as a process of its own, the way a user starts it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from dev.processes import Child, tail, wait_until

READY = "sandbox ready: "


class SandboxProcess:
    """Runs ``python -m airflow_provider_grokvideo.sandbox`` for the length of a ``with`` block."""

    def __init__(
        self,
        log: Path,
        *,
        api_key: str = "sandbox-key",
        render_seconds: float = 3,
        args: tuple[str, ...] = (),
    ):
        self.log = log
        self.api_key = api_key
        self.command = [
            sys.executable, "-u", "-m", "airflow_provider_grokvideo.sandbox",
            "--port", "0", "--render-seconds", f"{render_seconds:g}", "--api-key", api_key, *args,
        ]  # fmt: skip
        self.base_url = ""
        self._http = requests.Session()
        self._http.trust_env = False

    def __enter__(self) -> SandboxProcess:
        self.log.unlink(missing_ok=True)
        self._child = Child("sandbox", self.command, os.environ, self.log, Path.cwd())
        try:
            self.base_url = wait_until(self._ready, timeout=30, what="the sandbox to listen", interval=0.05)
        except BaseException:
            self._child.kill()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.stop(timeout=5)

    def _ready(self) -> str | None:
        for line in tail(self.log).splitlines():
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
        self._child.check()
        return None

    def check(self) -> None:
        """Raise, with the end of its log, when the sandbox has ended by itself."""
        self._child.check()

    @property
    def origin(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def connection(self) -> str:
        """The connection to this sandbox, as Airflow reads it from AIRFLOW_CONN_… variables."""
        return json.dumps({"conn_type": "grokvideo", "host": self.base_url, "password": self.api_key})

    def requests(self) -> Any:
        """Return every submission that the sandbox accepted."""
        return self._json("GET", "/sandbox/requests")

    def entries(self, log: str) -> Any:
        """Return one of the sandbox's other logs: polls, downloads, uploads or refusals."""
        return self._json("GET", f"/sandbox/{log}")

    def fault(self, script: dict[str, Any]) -> Any:
        """Script a fault."""
        return self._json("POST", "/sandbox/faults", json=script)

    def faults(self) -> Any:
        """Return the faults that are still to play."""
        return self._json("GET", "/sandbox/faults")

    def finish(self, request_id: str, state: str = "done") -> Any:
        """End a generation now."""
        return self._json("POST", "/sandbox/finish", json={"request_id": request_id, "state": state})

    def set_progress(self, request_id: str, progress: float) -> Any:
        """Let a generation show this progress until it ends."""
        return self._json("POST", "/sandbox/progress", json={"request_id": request_id, "progress": progress})

    def _json(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self._http.request(method, f"{self.origin}{path}", timeout=120, **kwargs)
        answer.raise_for_status()
        return answer.json() if answer.content else None
