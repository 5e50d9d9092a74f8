"""The last poll of a wait: an event becomes a generation, with its current URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.events import generation_from_event
from airflow_provider_grokvideo.exceptions import GenerationTimeoutError, GrokVideoError, TransportError

ID = "a3d1008e"
DONE = Generation(ID, "done", video_url="https://v.example/x.mp4")
FAILED = Generation(ID, "failed", error_code="c")
PENDING = Generation(ID, "pending")
LOST = TransportError("connection reset", delivered=True)


@dataclass
class Hook:
    """A hook whose API says the same at every poll."""

    says: Generation | GrokVideoError
    grokvideo_conn_id: str = "x"
    polled: list[str] = field(default_factory=list)

    def get_generation(self, request_id: str) -> Generation:
        self.polled.append(request_id)
        if isinstance(self.says, GrokVideoError):
            raise self.says
        return self.says

    def get_finished(self, request_id: str) -> Generation:
        return self.get_generation(request_id)


def generation(hook: Hook, event: dict[str, Any]) -> Generation:
    """Return the generation of an event."""
    return generation_from_event(hook, event, 900)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of polls that were added to the metric."""
    numbers: list[int] = []
    monkeypatch.setattr("airflow_provider_grokvideo.events.metrics.polled", numbers.append)
    return numbers


def test_done_generation_gets_its_current_url(counted: list[int]) -> None:
    hook = Hook(DONE)
    assert generation(hook, {"status": "done", "request_id": ID, "polls": 7}) is DONE
    assert (hook.polled, counted) == ([ID], [7])


def test_event_without_polls_counts_none(counted: list[int]) -> None:
    generation(Hook(DONE), {"status": "done", "request_id": ID})
    assert counted == [0]


def test_failed_generation_is_not_polled_again() -> None:
    hook = Hook(DONE)
    found = generation(hook, {"status": "failed", "request_id": ID, "error_code": "c"})
    assert (found.state, found.error_code, hook.polled) == ("failed", "c", [])


@pytest.mark.parametrize("status", ["timeout", "error"])
@pytest.mark.parametrize("final", [DONE, FAILED], ids=["done", "failed"])
def test_final_state_after_a_timeout_wins(status: str, final: Generation, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    hook = Hook(final)
    assert generation(hook, {"status": status, "request_id": ID, "error_message": "oh"}) is final
    assert hook.polled == [ID]
    assert f"The wait ended with '{status}', and the API now reports the generation as {final.state}" in caplog.text


@pytest.mark.parametrize("says", [PENDING, LOST], ids=["pending", "lost"])
def test_timeout_stays_one_without_a_final_state(
    says: Generation | GrokVideoError, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with pytest.raises(GenerationTimeoutError, match="is not done after 900 s") as caught:
        generation(Hook(says), {"status": "timeout", "request_id": ID})
    assert caught.value.request_id == ID
    assert (f"Generation {ID} could not be polled once more: connection reset" in caplog.text) == (says is LOST)


def test_error_names_the_connection_of_the_hook() -> None:
    with pytest.raises(GrokVideoError, match=r"The API knows no generation a3d1008e .* connection 'x'"):
        generation(Hook(PENDING), {"status": "error", "request_id": ID, "error_type": "GenerationNotFoundError"})


@pytest.mark.parametrize("request_id", [None, 5, ["x"]], ids=str)
def test_event_without_an_id_is_not_polled(request_id: object) -> None:
    hook = Hook(DONE)
    with pytest.raises(GrokVideoError):
        generation(hook, {"status": "timeout", "request_id": request_id})
    assert hook.polled == []
