"""One call with each of the package's HTTP clients."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_provider_grokvideo.api.aio import shared_client
from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings

PROMPT = VideoRequest(prompt="A red fox in the snow", duration=1)


def submit(settings: Settings) -> str:
    """Submit with the synchronous client."""
    with GrokVideoClient(settings) as client:
        return client.submit(PROMPT)


def poll(settings: Settings, request_id: str = "x") -> Any:
    """Poll with the synchronous client."""
    with GrokVideoClient(settings) as client:
        return client.get_generation(request_id)


def apoll(settings: Settings, request_id: str = "x") -> Any:
    """Poll with the asynchronous client."""

    async def ask() -> Any:
        async with shared_client(settings) as client:
            return await client.get_generation(request_id)

    return asyncio.run(ask())
