"""Events of triggers: written and read."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.polling import Stop
from airflow_provider_grokvideo.events import STATUSES, from_event, is_stale_event, stop_error, timeout_error, to_event
from airflow_provider_grokvideo.exceptions import (
    AuthenticationError,
    GenerationNotFoundError,
    GrokVideoError,
    RequestRejectedError,
    ServerError,
    TransportError,
)
from tests.support.generations import DONE, ID

PENDING = Generation(ID, "pending", progress=40, raw_status="processing")


def ended(state: Any, **more: Any) -> Generation:
    """Return a generation that ended badly."""
    return Generation(ID, state, raw_status=state, **more)


@pytest.mark.parametrize(
    ("stop", "generation", "status"),
    [
        pytest.param(Stop("final"), DONE, "done", id="done"),
        pytest.param(Stop("final"), ended("failed", error_code="internal_error"), "failed", id="failed"),
        pytest.param(Stop("final"), ended("expired"), "expired", id="expired"),
        pytest.param(Stop("final"), ended("moderated", cost_usd=Decimal("0.25")), "moderated", id="moderated"),
        pytest.param(Stop("timeout"), PENDING, "timeout", id="timeout"),
        pytest.param(Stop("timeout"), None, "timeout", id="timeout-without-an-answer"),
        pytest.param(Stop("error", ServerError("oh", status=500)), None, "error", id="error"),
    ],
)
def test_event_is_small_json_with_known_status(stop: Stop, generation: Generation | None, status: str) -> None:
    event = to_event(stop, ID, generation, polls=3)
    assert json.loads(json.dumps(event)) == event
    assert (event["status"], event["request_id"], event["polls"]) == (status, ID, 3)
    assert status in STATUSES
    assert len(json.dumps(event)) < 1000


@pytest.mark.parametrize(
    "generation",
    [
        DONE,
        ended("failed", error_code="c", error_message="m"),
        ended("expired"),
        ended("moderated", cost_usd=Decimal("1E-10")),
    ],
    ids=lambda generation: generation.state,
)
def test_event_keeps_generation_except_url(generation: Generation) -> None:
    event = json.loads(json.dumps(to_event(Stop("final"), ID, generation, polls=1)))
    read = from_event(event, timeout=900, conn_id="c")
    assert read.video_url is None
    for name in ("request_id", "state", "duration", "model", "cost_usd", "error_code", "error_message"):
        assert getattr(read, name) == getattr(generation, name)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AuthenticationError("refused", status=401), AuthenticationError),
        (GenerationNotFoundError("gone", status=404), GenerationNotFoundError),
        (RequestRejectedError("no", status=400), RequestRejectedError),
        (ServerError("oh", status=500), GrokVideoError),
        (TransportError("lost", delivered=True), GrokVideoError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_error_event_raises_its_class_with_id(error: GrokVideoError, kind: type[GrokVideoError]) -> None:
    with pytest.raises(GrokVideoError) as caught:
        from_event(to_event(Stop("error", error), ID, None, polls=4), timeout=900, conn_id="c")
    assert type(caught.value) is kind
    assert ID in str(caught.value)
    if kind is GenerationNotFoundError:
        assert "Check the id, and that connection 'c' is the one that submitted it." in str(caught.value)
    else:
        assert str(error) in str(caught.value)


@pytest.mark.parametrize(
    "stop",
    [Stop("timeout"), Stop("error", ServerError("oh", status=500)), Stop("error", GenerationNotFoundError("gone"))],
    ids=["timeout", "error", "not-found"],
)
def test_stop_and_its_event_give_same_error(stop: Stop) -> None:
    direct = stop_error(stop, ID, PENDING, timeout=900, conn_id="c")
    with pytest.raises(GrokVideoError) as caught:
        from_event(to_event(stop, ID, PENDING, polls=4), timeout=900, conn_id="c")
    assert (type(caught.value), str(caught.value)) == (type(direct), str(direct))


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"status": "done"},
        {"status": "stored", "request_id": ID},
        {"status": ["done"], "request_id": ID},
        {"status": "done", "request_id": 5},
    ],
    ids=["empty", "no-id", "unknown-status", "status-a-list", "id-a-number"],
)
def test_invalid_event_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(GrokVideoError, match="does not know"):
        from_event(event, timeout=900, conn_id="c")


@pytest.mark.parametrize(("cost", "text"), [("1E-10", "0.0000000001"), ("1E+2", "100")])
def test_event_has_cost_without_exponent(cost: str, text: str) -> None:
    assert to_event(Stop("final"), ID, ended("failed", cost_usd=Decimal(cost)), polls=1)["cost_usd"] == text


def test_timeout_error_names_its_generation() -> None:
    assert timeout_error(ID, 900, None, None).request_id == ID


@pytest.mark.parametrize(("try_number", "expected"), [(None, False), (2, False), (1, True), (3, True)])
def test_event_of_another_attempt_is_stale(try_number: int | None, expected: bool) -> None:
    context: Any = {"ti": SimpleNamespace(try_number=2)}
    assert is_stale_event(context, try_number) is expected
