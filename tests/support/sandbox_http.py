"""The sandbox as any HTTP client uses it: independent of the package's own clients."""

from __future__ import annotations

from typing import Any

import requests

from airflow_provider_grokvideo.sandbox import Sandbox

KEY = {"Authorization": "Bearer sandbox-key"}


def post(
    base: str, prompt: str = "A misty lake", what: str = "generations", timeout: float = 10, **body: Any
) -> requests.Response:
    """Send a submission."""
    url = f"{base}/videos/{what}"
    return requests.post(url, json={"prompt": prompt, **body}, headers=KEY, timeout=timeout, allow_redirects=False)


def submit(base: str, prompt: str = "A misty lake", what: str = "generations", **body: Any) -> str:
    """Send a submission that is accepted, and return its id."""
    answer = post(base, prompt, what, **body)
    assert answer.status_code == 200, answer.text
    request_id: str = answer.json()["request_id"]
    return request_id


def poll(base: str, request_id: str, timeout: float = 10) -> requests.Response:
    """Poll once."""
    return requests.get(f"{base}/videos/{request_id}", headers=KEY, timeout=timeout)


def done_video(sandbox: Sandbox, prompt: str = "A misty lake") -> tuple[str, str]:
    """Finish a generation, and return its id and the URL of its video."""
    request_id = submit(sandbox.xai_base_url, prompt, duration=1)
    sandbox.finish(request_id)
    return request_id, poll(sandbox.xai_base_url, request_id).json()["video"]["url"]
