"""Airflow connections to the API."""

from __future__ import annotations

import json
from typing import Any


def connection(host: str, key: str | None, **extra: Any) -> str:
    """Return a connection as JSON, for an environment variable ``AIRFLOW_CONN_...``."""
    return json.dumps({"conn_type": "grokvideo", "host": host, "password": key, "extra": extra})
