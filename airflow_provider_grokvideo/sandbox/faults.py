"""Faults on demand: what fails, on which request, and how often."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_grokvideo.sandbox.jobs import OUTCOMES, resolve_outcome

_FAILED_OUTCOMES = tuple(name for name in OUTCOMES if name != "done")

FAULTS: dict[str, tuple[str, ...]] = {
    "submit": (
        "rate_limited",
        "out_of_credit_429",
        "bad_key",
        "no_quota",
        "payment_required",
        "invalid_request",
        "server_error",
        "bad_gateway",
        "gateway_timeout",
        "model_not_found",
        "close_before_accept",
        "close_after_accept",
        "half_answer",
        "slow_before_accept",
        "slow_after_accept",
        "no_id",
        "html",
        "redirect",
    ),
    "poll": (
        "rate_limited",
        "server_error",
        "bad_gateway",
        "close",
        "slow",
        "half_answer",
        "bare_id",
        "empty_202",
        "data_null",
        "wrapped",
        "raw",
        "xai",
        "unknown_status",
        "html",
        "not_found",
        "task_not_exist",
        "bad_key",
        "no_status",
        "string_progress",
        "failed_wrapped",
        *_FAILED_OUTCOMES,
    ),
    "video": (
        "expired_url",
        "not_found",
        "server_error",
        "cut_short",
        "cut_clean",
        "html",
        "slow",
        "trickle",
        "close",
    ),
    "models": ("bad_key", "html", "server_error", "slow"),
    "upload": ("skip", "cut_short"),
    # These change the outcome of the next accepted job, not one response.
    "outcome": _FAILED_OUTCOMES,
}

_HASHTAG_SEARCH_LENGTH = 20_000
"""Number of characters of a prompt in which hashtags are searched."""
_HASHTAG = re.compile(r"#(?:(moderated|failed|expired)\b|fault:(?:(\w+):)?(\w+))")


@dataclass
class Fault:
    """One fault. ``times`` is how often it still applies; None means until it is cleared."""

    on: str
    name: str
    times: int | None = 1
    request_id: str | None = None
    prompt_contains: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the fault."""
        if self.on not in FAULTS:
            raise ValueError(f"Unknown on={self.on!r}; known: {', '.join(FAULTS)}.")
        if self.name == "moderated" and self.on in {"poll", "outcome"}:
            self.name = resolve_outcome(self.name)
        if self.name not in FAULTS[self.on]:
            known = ", ".join(FAULTS[self.on])
            raise ValueError(f"Unknown fault {self.name!r} for on={self.on!r}; known: {known}.")
        if self.times is not None and (isinstance(self.times, bool) or not isinstance(self.times, int)):
            raise ValueError(f"times is {self.times!r}; it must be an integer, or null for no limit.")

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """Create a fault from the JSON of ``/sandbox/faults``: ``{"on", "fault", "times", …options}``."""
        if not isinstance(value, dict):
            raise TypeError(f"A fault must be a JSON object, not {value!r}.")
        rest = dict(value)
        try:
            on, name = rest.pop("on"), rest.pop("fault")
        except KeyError as error:
            raise ValueError(f"A fault needs the field {error}.") from None
        times = rest.pop("times", 1)
        request_id, prompt_contains = rest.pop("request_id", None), rest.pop("prompt_contains", None)
        return cls(on, name, times, request_id, prompt_contains, rest)

    def to_json(self) -> dict[str, Any]:
        """Return the fault in the form that ``from_json`` reads."""
        value: dict[str, Any] = {"on": self.on, "fault": self.name, "times": self.times}
        if self.request_id is not None:
            value["request_id"] = self.request_id
        if self.prompt_contains is not None:
            value["prompt_contains"] = self.prompt_contains
        return {**value, **self.options}

    def number(self, option: str, default: float) -> float:
        """Return a numeric option of this fault."""
        return float(self.options.get(option, default))

    def _matches(self, on: str, request_id: str | None, prompt: str) -> bool:
        return (
            self.on == on
            and self.request_id in {None, request_id}
            and (self.prompt_contains is None or self.prompt_contains in prompt)
        )


class FaultQueue:
    """The faults that are still set, in the order in which they were added; thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Add a fault at the end of the queue."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def pending(self) -> list[Fault]:
        """Return all faults that are still set."""
        with self._lock:
            return list(self._faults)

    def take(self, on: str, request_id: str | None = None, prompt: str = "") -> Fault | None:
        """Return the first fault that matches this request, or None, and count it as applied."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.times == 0 or not fault._matches(on, request_id, prompt):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        del self._faults[index]
                return fault
        return None


def hashtags(prompt: str) -> list[tuple[str, str]]:
    """Return the ``(on, fault)`` pairs of the hashtags in a prompt.

    ``#moderated``, ``#failed`` and ``#expired`` set the outcome. ``#fault:NAME`` sets any fault, and
    ``#fault:ON:NAME`` one whose name exists for several kinds of request. Unknown names are ignored.
    """
    found = []
    for outcome, on, name in _HASHTAG.findall(prompt[:_HASHTAG_SEARCH_LENGTH]):
        if outcome or (name == "moderated" and on in {"", "outcome"}):
            found.append(("outcome", resolve_outcome(outcome or name)))
            continue
        candidates = (on,) if on else ("outcome", "poll", "video", "submit", "upload")
        match = next((one for one in candidates if name in FAULTS.get(one, ())), None)
        if match:
            found.append((match, name))
    return found
