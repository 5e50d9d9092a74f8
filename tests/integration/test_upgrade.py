"""What an earlier release has left in Airflow's database goes on in this one.

tests/fixtures/serialized_triggers holds the triggers of each release as Airflow stores them. A release adds a file;
none is ever changed.
"""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.triggers import grokvideo as triggers
from tests.support.video_tasks import video_task

RELEASES = sorted((Path(__file__).parents[1] / "fixtures" / "serialized_triggers").glob("*.json"))
STORED = [
    pytest.param(one, id=f"{file.stem}-{number}")
    for file in RELEASES
    for number, one in enumerate(json.loads(file.read_text()))
]


def restored(stored: dict[str, Any], **changes: Any) -> Any:
    """What a triggerer does with a row of its table."""
    module, _, name = stored["classpath"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**{**stored["kwargs"], **changes})


@pytest.mark.parametrize("stored", STORED)
async def test_stored_trigger_runs(stored: dict[str, Any], sandbox: Any) -> None:
    request_id = video_task(prompt="before the upgrade", wait_for_completion=False).run().result["request_id"]
    deadline = stored["kwargs"]["deadline"] and time.time() + 20
    trigger = restored(stored, request_id=request_id, poll_interval=0.05, deadline=deadline)

    (event,) = [event async for event in trigger.run()]

    if stored["kwargs"].get("end_from_trigger"):
        assert event.xcoms["return_value"]["request_id"] == request_id
    else:
        assert (event.payload["status"], event.payload["request_id"]) == ("done", request_id)


@pytest.mark.parametrize("stored", [one for one in STORED if one.values[0]["kwargs"]["deadline"]])
async def test_stored_trigger_past_its_deadline_times_out(stored: dict[str, Any], sandbox: Any) -> None:
    request_id = video_task(prompt="long before the upgrade", wait_for_completion=False).run().result["request_id"]

    (event,) = [event.payload async for event in restored(stored, request_id=request_id).run()]

    # It may be asked about once more: what is done need not be given up for having been down.
    assert (event["status"], event["request_id"]) in {("done", request_id), ("timeout", request_id)}


def test_this_release_writes_what_its_fixture_holds() -> None:
    for stored in json.loads((RELEASES[0].parent / f"{__version__}.json").read_text()):
        classpath, kwargs = restored(stored).serialize()

        assert {"classpath": classpath, "kwargs": kwargs} == stored


def test_every_trigger_is_in_the_fixture_of_this_release() -> None:
    written = {one["classpath"].rpartition(".")[2] for one in json.loads(RELEASES[-1].read_text())}

    assert written == {name for name in vars(triggers) if name.startswith("GrokVideo") and name.endswith("Trigger")}


@pytest.mark.parametrize("stored", STORED)
def test_argument_of_a_newer_release_is_named(stored: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"'priority'.*newer airflow-provider-grokvideo.*4b2cd27e.*triggerers"):
        restored(stored, priority=1)


def test_missing_argument_raises_type_error() -> None:
    with pytest.raises(TypeError, match="deadline"):
        triggers.GrokVideoTrigger("grokvideo_default", "id", 5.0)  # type: ignore[call-arg]
