"""Answers of the API as its clients get them, for tests of what they mean."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_grokvideo.api.exchange import HTTPResponse
from airflow_provider_grokvideo.api.settings import Settings

KEY = "sk-Zq81xTopSecretKey0042"
ID = "a3d1008e-4544-40d4-d075-11527e794e4a"
COMET = Settings(api_key=KEY)
XAI = Settings(base_url="https://api.x.ai/v1", api_key=KEY)
HTML = b"<!DOCTYPE html><html><body>CometAPI</body></html>"

TEAM_RATE = "Too many requests for team t. Your team's rate limit is - Requests per Second (actual/limit): 2/2."


def answer(status: int, body: Any = b"", **headers: str) -> HTTPResponse:
    """Return an answer whose body is JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HTTPResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def comet(message: str, code: str = "") -> dict[str, Any]:
    """Return CometAPI's error body."""
    text = f"{message} (request id: 20261124)"
    return {"error": {"message": text, "type": "comet_api_error", "param": "", "code": code}}


def xai(message: str, code: str | None = None) -> dict[str, Any]:
    """Return xAI's error body."""
    return {"error": message} if code is None else {"code": code, "error": message}
