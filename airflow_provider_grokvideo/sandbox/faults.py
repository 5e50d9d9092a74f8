"""Scripted faults: what goes wrong, where, how often and for whom."""

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
    # How the next accepted submission ends, for good: not one answer but the job's fate.
    "outcome": _FAILED_OUTCOMES,
}

_MAX_HASHTAG_OFFSET = 20_000
"""Characters of a prompt in which hashtags count."""
_HASHTAG = re.compile(r"#(?:(moderated|failed|expired)\b|fault:(?:(\w+):)?(\w+))")


@dataclass
class Fault:
    """One armed fault. ``times`` is how often it still plays; None is until it is cleared."""

    on: str
    name: str
    times: int | None = 1
    request_id: str | None = None
    prompt_contains: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a fault that could never play."""
        if self.on not in FAULTS:
            raise ValueError(f"unknown 'on' {self.on!r}; known: {', '.join(FAULTS)}")
        if self.name == "moderated" and self.on in {"poll", "outcome"}:
            self.name = resolve_outcome(self.name)
        if self.name not in FAULTS[self.on]:
            known = ", ".join(FAULTS[self.on])
            raise ValueError(f"unknown fault {self.name!r} on {self.on!r}; known: {known}")
        if self.times is not None and (isinstance(self.times, bool) or not isinstance(self.times, int)):
            raise ValueError(f"times is {self.times!r}; it must be an integer, or null for until cleared")

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """Read the control endpoint's form: ``{"on", "fault", "times", …options}``."""
        if not isinstance(value, dict):
            raise TypeError(f"a fault must be a JSON object, got {value!r}")
        rest = dict(value)
        try:
            on, name = rest.pop("on"), rest.pop("fault")
        except KeyError as missing:
            raise ValueError(f"a fault needs {missing}") from None
        times = rest.pop("times", 1)
        request_id, prompt_contains = rest.pop("request_id", None), rest.pop("prompt_contains", None)
        return cls(on, name, times, request_id, prompt_contains, rest)

    def to_json(self) -> dict[str, Any]:
        """The same form back."""
        shown: dict[str, Any] = {"on": self.on, "fault": self.name, "times": self.times}
        if self.request_id is not None:
            shown["request_id"] = self.request_id
        if self.prompt_contains is not None:
            shown["prompt_contains"] = self.prompt_contains
        return {**shown, **self.options}

    def number(self, option: str, default: float) -> float:
        """A numeric option of this fault."""
        return float(self.options.get(option, default))

    def _matches(self, on: str, request_id: str | None, prompt: str) -> bool:
        return (
            self.on == on
            and self.request_id in {None, request_id}
            and (self.prompt_contains is None or self.prompt_contains in prompt)
        )


class FaultQueue:
    """The faults still to play, in the order they were armed. Safe to use from any thread."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []
        self._lock = threading.Lock()

    def arm(self, fault: Fault) -> None:
        """Add a fault behind those already armed."""
        with self._lock:
            self._armed.append(fault)

    def clear(self) -> None:
        """Disarm everything."""
        with self._lock:
            self._armed.clear()

    def armed(self) -> list[Fault]:
        """What is still to play."""
        with self._lock:
            return list(self._armed)

    def take(self, on: str, request_id: str | None = None, prompt: str = "") -> Fault | None:
        """The first fault for this call, used up by one."""
        with self._lock:
            for index, fault in enumerate(self._armed):
                if fault.times == 0 or not fault._matches(on, request_id, prompt):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        del self._armed[index]
                return fault
        return None


def hashtags(prompt: str) -> list[tuple[str, str]]:
    """The ``(on, fault)`` pairs that a prompt asks for.

    ``#moderated``, ``#failed`` and ``#expired`` say how the job ends; ``#fault:NAME`` any fault by name,
    ``#fault:video:slow`` one whose name exists in several places. A name nobody knows is just a hashtag.
    """
    found = []
    for spoken, on, name in _HASHTAG.findall(prompt[:_MAX_HASHTAG_OFFSET]):
        if spoken or (name == "moderated" and on in {"", "outcome"}):
            found.append(("outcome", resolve_outcome(spoken or name)))
            continue
        places = (on,) if on else ("outcome", "poll", "video", "submit", "upload")
        place = next((place for place in places if name in FAULTS.get(place, ())), None)
        if place:
            found.append((place, name))
    return found
