"""What Airflow may show of a task's fields: no image bytes, no signature of a URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_grokvideo.api.media import shown


class Unshown:
    """Holds a rendered field that works with its value and is shown without what is private in it.

    :param value: what the task works with.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        return shown(self.value)

    __repr__ = __str__


def unshown(value: Any) -> Any:
    """The value, wrapped where showing it would tell too much or show megabytes."""
    return Unshown(value) if _is_private(value) else value


def unwrapped(value: Any) -> Any:
    """What :func:`unshown` was given."""
    return value.value if isinstance(value, Unshown) else value


def _is_private(value: Any) -> bool:
    if isinstance(value, str):
        scheme = value[:8].lower()
        return scheme.startswith("data:") or (scheme.startswith(("http://", "https://")) and "?" in value)
    if isinstance(value, Mapping):
        return any(map(_is_private, value.values()))
    return isinstance(value, list | tuple) and any(map(_is_private, value))
