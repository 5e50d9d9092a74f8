"""Hooks of connections that a test makes: what their files share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

KEY = "sk-Zq81xTopSecretKey0042"
NAME = "grokvideo_test"
PROMPT = VideoRequest(prompt="A red fox in the snow", duration=1)

Connect = Callable[..., GrokVideoHook]
"""Makes the connection to a host, and returns its hook."""


def run(coroutine: Any) -> Any:
    """Run a coroutine on a loop of its own."""
    return asyncio.run(coroutine)


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
