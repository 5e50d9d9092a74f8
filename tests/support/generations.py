"""A finished generation as the API client returns it."""

from __future__ import annotations

from decimal import Decimal

from airflow_provider_grokvideo.api.generation import Generation

ID = "a3d1008e-4544-40d4-d075-11527e794e4a"
DONE = Generation(
    ID,
    "done",
    progress=100,
    video_url="https://v.example.com/x.mp4?sig=1",
    duration=8,
    model="grok-imagine-video",
    cost_usd=Decimal("0.40"),
    raw_status="done",
)
