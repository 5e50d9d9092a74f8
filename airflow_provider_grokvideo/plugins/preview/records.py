"""What Airflow has recorded about one task instance, as the pages use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PACKAGE_PREFIX = "airflow_provider_grokvideo."
"""The pages show only what operators of this package have recorded."""


@dataclass(frozen=True)
class TaskRecord:
    """One task instance with the XComs and rendered fields that the pages need.

    Every value except the ids may come from a user, so its type is not certain.

    :param operator_module: the module of the task's operator class.
    :param label: the rendered map index.
    :param is_resuming: whether the task continues after a deferral, so that a queued one has already started.
    :param fields: the operator's arguments, rendered for this task instance.
    :param return_value_xcom: the XCom ``return_value`` as stored.
    :param request_id_xcom: the XCom ``request_id`` as stored.
    :param outcome_xcom: the XCom ``outcome`` as stored. It exists for a generation that ended without a video.
    """

    task_id: str
    map_index: int
    state: str | None
    operator_module: str
    label: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    return_value_xcom: Any = None
    request_id_xcom: Any = None
    outcome_xcom: Any = None
    try_number: int = 0
    is_resuming: bool = False

    @property
    def is_own(self) -> bool:
        """Whether the operator belongs to this package."""
        return self.operator_module.startswith(PACKAGE_PREFIX)

    @property
    def is_sensor(self) -> bool:
        """Whether the task waits for a generation that another task has submitted."""
        return self.operator_module.startswith(f"{PACKAGE_PREFIX}sensors.")

    @property
    def is_under_way(self) -> bool:
        """Whether the current attempt has started and has not ended."""
        # A sensor in mode reschedule is queued for each poll.
        is_requeued = self.is_resuming or (self.is_sensor and self._reschedules)
        return self.state in {"running", "deferred", "up_for_reschedule"} or (
            self.state in {"scheduled", "queued"} and is_requeued
        )

    @property
    def result(self) -> Mapping[str, Any] | None:
        """The result object of a successful task, or ``None`` if the XCom holds none."""
        # A cleared task keeps its XComs until the next attempt starts.
        value = decode_xcom(self.return_value_xcom) if self.state == "success" else None
        return value if isinstance(value, dict) and isinstance(value.get("request_id"), str) else None

    @property
    def outcome(self) -> Mapping[str, Any]:
        """The API's description of a generation without a video; empty unless the task was unsuccessful."""
        # The XCom may come from a failed attempt before the successful one.
        value = decode_xcom(self.outcome_xcom)
        return value if self._is_unsuccessful and isinstance(value, dict) else {}

    @property
    def request_id(self) -> str | None:
        """The current attempt's generation, if known. A sensor has its id as an argument."""
        if not (self.state == "success" or self._is_unsuccessful or self.is_under_way):
            return None
        pushed = self.result["request_id"] if self.result else decode_xcom(self.request_id_xcom)
        return text_or_none(pushed) or text_or_none(self.fields.get("request_id"))

    @property
    def _is_unsuccessful(self) -> bool:
        """Whether the last attempt has ended without success. Only a sensor skips itself, after it has started."""
        return self.state in {"failed", "up_for_retry"} or (self.state == "skipped" and self.is_sensor)

    @property
    def _reschedules(self) -> bool:
        return self.fields.get("reschedule") is True or self.fields.get("mode") == "reschedule"


def text_or_none(value: Any) -> str | None:
    """Return the value if it is a text that is not empty."""
    return value if isinstance(value, str) and value else None


def decode_xcom(value: Any) -> Any:
    """Return the value of an XCom. Airflow stores it as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
