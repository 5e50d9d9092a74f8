"""How much of what callers send is kept: a sandbox that runs for weeks must not fill the memory."""

from __future__ import annotations

from typing import Any

KEPT_BYTES = 256 * 1024
"""Of one submission's body or one log entry, about."""
_NODE_BYTES = 64
_DEEPEST = 50


def abridged(value: Any, limit: int = KEPT_BYTES) -> Any:
    """Return a JSON value, itself where it is small; else with its long texts and lists cut.

    :param limit: bytes that it may take, about.
    """
    return _Budget(limit).spend(value, 0)


class Log(list[dict[str, Any]]):
    """A list of entries that keeps of each what is short."""

    def append(self, entry: dict[str, Any]) -> None:
        """Add an entry, abridged."""
        super().append(abridged(entry))


class _Budget:
    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self, value: Any, depth: int) -> Any:
        self._left -= _NODE_BYTES
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int) and value.bit_length() > 8 * _NODE_BYTES:
            return "…"
        if not isinstance(value, dict | list):
            return value
        if depth > _DEEPEST:
            return "…"
        if isinstance(value, list):
            return [self.spend(item, depth + 1) for item in value if self._left > 0]
        return {self._text(key): self.spend(item, depth + 1) for key, item in value.items() if self._left > 0}

    def _text(self, text: str) -> str:
        # Python takes up to four bytes for a character.
        size = len(text) if text.isascii() else 4 * len(text)
        if size <= max(self._left, 0):
            self._left -= size
            return text
        shown = text[:100]
        self._left -= 4 * len(shown)
        return f"{shown}… ({len(text)} characters)"
