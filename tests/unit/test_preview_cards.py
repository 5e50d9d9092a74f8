"""What the card of a task instance shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_grokvideo.plugins.preview.access import Location
from airflow_provider_grokvideo.plugins.preview.cards import build_card, build_cards, display_state, polled_state
from airflow_provider_grokvideo.plugins.preview.records import TaskRecord
from tests.support.hostile import NASTY, documents

OPERATOR = "airflow_provider_grokvideo.operators.grokvideo"
DECORATOR = "airflow_provider_grokvideo.decorators.grokvideo"
SENSOR = "airflow_provider_grokvideo.sensors.grokvideo"


def sensor(state: str, **fields: Any) -> TaskRecord:
    """Return the record of a sensor that waits for generation ``r-9``."""
    return TaskRecord("wait", -1, state, SENSOR, fields={"request_id": "r-9", **fields})


@pytest.mark.parametrize(
    ("airflow_state", "result", "pushed", "state"),
    [
        (None, None, None, "waiting"),
        ("queued", None, None, "waiting"),
        ("running", None, None, "submitting"),
        ("deferred", None, None, "submitting"),
        ("deferred", None, '"r-1"', "rendering"),
        ("running", None, '"r-1"', "rendering"),
        # Cleared: the id belongs to an earlier attempt.
        (None, None, '"r-1"', "waiting"),
        ("scheduled", None, '"r-1"', "waiting"),
        ("queued", {"request_id": "r-1", "status": "done"}, '"r-1"', "waiting"),
        ("restarting", None, '"r-1"', "waiting"),
        ("success", {"request_id": "r-1", "status": "done"}, '"r-1"', "done"),
        ("success", {"request_id": "r-1", "status": "pending"}, '"r-1"', "submitted"),
        ("failed", None, '"r-1"', "failed"),
        ("up_for_retry", None, '"r-1"', "retrying"),
        ("upstream_failed", None, None, "skipped"),
        ("skipped", None, None, "skipped"),
        ("removed", None, None, "skipped"),
    ],
)
def test_state_of_the_video(airflow_state: str | None, result: Any, pushed: Any, state: str) -> None:
    found = TaskRecord(
        "make", -1, airflow_state, OPERATOR, return_value_xcom=result and json.dumps(result), request_id_xcom=pushed
    )

    assert display_state(found) == state
    assert build_card(found, [])["state"] == state


def test_task_between_trigger_and_worker_still_renders() -> None:
    resuming = TaskRecord("make", -1, "queued", OPERATOR, request_id_xcom='"r-1"', is_resuming=True)
    rescheduled = sensor("queued", reschedule=True)

    assert [display_state(resuming), display_state(rescheduled)] == ["rendering", "rendering"]


@pytest.mark.parametrize("state", [None, "scheduled", "queued", "restarting", "upstream_failed", "skipped", "removed"])
def test_cleared_task_shows_nothing_of_its_earlier_attempt(state: str | None) -> None:
    result = {"request_id": "r-1", "status": "done", "path": "/v/r-1.mp4", "size_bytes": 3, "cost_usd": "1"}
    outcome = {"request_id": "r-1", "status": "failed", "error_message": "No.", "cost_usd": "1"}
    xcoms = {"return_value_xcom": result, "request_id_xcom": "r-1", "outcome_xcom": outcome}
    cleared = TaskRecord("make", -1, state, OPERATOR, fields={"output_path": "/v/"}, **xcoms)

    card = build_card(cleared, [Location.parse("/v/")])

    assert card["state"] in {"waiting", "skipped"}
    assert {card[key] for key in ("request_id", "path", "video", "note", "cost_usd", "size_bytes")} == {None}
    assert polled_state(cleared, "done") == (card["state"], None)


def test_sensor_has_its_request_id_from_its_argument() -> None:
    assert sensor("deferred").request_id == "r-9"
    assert sensor("queued").request_id is None


@pytest.mark.parametrize(
    ("airflow_state", "api_state", "shown", "advice"),
    [
        ("deferred", "pending", "rendering", ""),
        ("deferred", "unknown", "rendering", ""),
        ("deferred", "done", "saving", ""),
        ("running", "done", "saving", ""),
        ("deferred", "moderated", "moderated", ""),
        ("failed", "unknown", "failed", ""),
        ("failed", "pending", "failed", "continues"),
        ("failed", "done", "late", "finished"),
        ("failed", "expired", "expired", ""),
        ("up_for_retry", "done", "retrying", "next attempt"),
        ("up_for_retry", "pending", "retrying", "next attempt"),
        ("up_for_retry", "failed", "retrying", ""),
    ],
)
def test_state_of_the_video_with_the_state_at_the_api(
    airflow_state: str, api_state: str, shown: str, advice: str
) -> None:
    record = TaskRecord("make", -1, airflow_state, OPERATOR, request_id_xcom="r-1")

    state, text = polled_state(record, api_state)

    assert state == shown
    assert advice in (text or "")
    assert bool(text) == bool(advice)


def test_advice_says_what_is_free() -> None:
    submitter = TaskRecord("make", -1, "failed", OPERATOR, request_id_xcom="r-1")

    _, of_operator = polled_state(submitter, "done")
    _, of_sensor = polled_state(sensor("failed"), "done")

    assert "without paying again, clear this task" in str(of_operator)
    assert "GrokVideoSensor" in str(of_operator)
    assert "clear this task. A sensor costs nothing." in str(of_sensor)


def test_failure_that_the_task_has_recorded_gets_no_advice() -> None:
    recorded = TaskRecord("make", -1, "failed", OPERATOR, request_id_xcom="r", outcome_xcom={"status": "failed"})

    assert polled_state(recorded, "done") == ("failed", None)


@pytest.mark.parametrize(
    ("submitted", "waited", "state", "shown_task"),
    [
        ("pending", "deferred", "rendering", "wait"),
        ("pending", "success", "done", "wait"),
        ("pending", "failed", "failed", "wait"),
        ("pending", "up_for_retry", "retrying", "wait"),
        ("pending", "skipped", "submitted", "make"),
        ("done", "deferred", "done", "make"),
        ("done", "success", "done", "wait"),
    ],
)
def test_sensor_and_submitting_task_share_one_card(submitted: str, waited: str, state: str, shown_task: str) -> None:
    result = {"request_id": "r-9", "status": submitted}
    fields = {"prompt": "A lake", "model": "m-1", "duration": 5}
    submitter = TaskRecord("make", -1, "success", OPERATOR, fields=fields, return_value_xcom=result)

    for records in ([submitter, sensor(waited)], [sensor(waited), submitter]):
        [card] = build_cards(records, [])
        assert (card["state"], card["task_id"]) == (state, shown_task)
        assert [task["task_id"] for task in card["tasks"]] == ["make", "wait"]
        assert (card["prompt"], card["model"], card["duration"]) == ("A lake", "m-1", 5)


def test_shared_card_plays_the_saved_video() -> None:
    result = {"request_id": "r-9", "status": "done", "path": "/v/a.mp4", "size_bytes": 3}
    submitter = TaskRecord("make", -1, "success", OPERATOR, fields={"output_path": "/v/"}, return_value_xcom=result)

    [card] = build_cards([submitter, sensor("success")], [])

    assert (card["task_id"], card["video"]) == ("make", {"kind": "saved"})


def test_tasks_without_a_common_generation_have_their_own_cards() -> None:
    def made(task_id: str, request_id: str | None) -> TaskRecord:
        return TaskRecord(task_id, -1, "running", OPERATOR, request_id_xcom=request_id)

    # The last one's XCom was edited.
    records = [made("a", "r-9"), made("b", "r-2"), made("c", None), made("d", None), made("e", "r-9"), sensor("queued")]

    assert [card["task_id"] for card in build_cards(records, [])] == ["a", "b", "c", "d", "e", "wait"]


@pytest.mark.parametrize("returned", ["no json", "[1]", '{"request_id": 5}', None, 3, '"text"', "{}"])
def test_xcom_without_a_result_object_is_ignored(returned: Any) -> None:
    found = TaskRecord("make", -1, "success", OPERATOR, return_value_xcom=returned)

    assert found.result is None
    assert build_card(found, [])["video"] is None


def test_remote_video_is_shown_only_if_none_was_saved() -> None:
    result = {"request_id": "r", "status": "done", "video_url": "https://cdn.example/v.mp4", "path": None}
    remote = TaskRecord("make", -1, "success", OPERATOR, return_value_xcom=result)
    result = {**result, "path": "/etc/passwd", "size_bytes": 3}
    denied = TaskRecord("make", -1, "success", OPERATOR, return_value_xcom=result)

    assert build_card(remote, [])["video"] == {"kind": "remote", "url": "https://cdn.example/v.mp4"}
    assert build_card(denied, [])["video"] is None
    assert "preview_roots" in build_card(denied, [])["note"]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:video/mp4;base64,AA", "file:///etc/passwd", "", None, 7, "//x"]
)
def test_browser_gets_only_http_urls(url: Any) -> None:
    result = {"request_id": "r", "status": "done", "video_url": url}

    assert build_card(TaskRecord("make", -1, "success", OPERATOR, return_value_xcom=result), [])["video"] is None


def test_card_contains_only_plain_values() -> None:
    odd = {"request_id": "r", "status": "done", "model": {"a": 1}, "duration": "x", "cost_usd": 3, "size_bytes": [1]}
    shown = build_card(TaskRecord("make", 3, "success", OPERATOR, fields={"prompt": ["p"]}, return_value_xcom=odd), [])

    assert [shown[key] for key in ("model", "duration", "cost_usd", "size_bytes", "prompt")] == [None] * 5
    json.dumps(shown)


def test_prompt_of_a_decorated_task_is_known_once_it_has_run() -> None:
    # While it waits, the task stores the prompt in the rendered fields.
    prompts = ("DYNAMIC (set during execution)", "A lake at dawn")
    tasks = [TaskRecord("make", -1, "running", DECORATOR, fields={"prompt": prompt}) for prompt in prompts]

    assert [build_card(task, [])["prompt"] for task in tasks] == [None, "A lake at dawn"]


@pytest.mark.parametrize(
    ("status", "airflow_state", "state", "note"),
    [
        ("moderated", "failed", "moderated", "No."),
        ("expired", "failed", "expired", "No."),
        ("failed", "failed", "failed", "No."),
        ("failed", "up_for_retry", "retrying", "No."),
        # From a failed attempt before the successful one.
        ("failed", "success", "done", None),
    ],
)
def test_failure_of_the_generation_is_shown(status: str, airflow_state: str, state: str, note: str | None) -> None:
    outcome = {"request_id": "r", "status": status, "error_message": "No.", "cost_usd": "0.4"}

    shown = build_card(TaskRecord("make", -1, airflow_state, OPERATOR, outcome_xcom=json.dumps(outcome)), [])

    assert (shown["state"], shown["note"]) == (state, note)
    assert shown["cost_usd"] == (None if note is None else "0.4")


def test_cost_is_a_plain_decimal_number() -> None:
    def shown(cost: Any) -> Any:
        result = {"request_id": "r", "cost_usd": cost}
        return build_card(TaskRecord("m", -1, "success", OPERATOR, return_value_xcom=result), [])["cost_usd"]

    assert [shown(cost) for cost in ("0.05", "0.0000000001", "12", "0", "1E-3")] == [
        *("0.05", "0.0000000001", "12", "0", "0.001"),
    ]
    assert shown("0." + "3" * 120) == "0." + "3" * 12
    assert [shown(cost) for cost in ("x", "", None, 3, "-1", "Infinity", "1e500")] == [None] * 7


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(documents, documents, st.dictionaries(st.sampled_from(["prompt", "output_path", "duration"]), documents))
def test_any_record_makes_a_card(returned: Any, outcome: Any, fields: dict[str, Any]) -> None:
    if isinstance(returned, dict):
        returned = {"request_id": "r", **returned}
    for state in ("success", "failed", "deferred", None):
        xcoms = {"return_value_xcom": returned, "request_id_xcom": returned, "outcome_xcom": outcome}
        record = TaskRecord("make", -1, state, OPERATOR, fields=fields, **xcoms)
        card = build_card(record, [Location.parse("/v/")])
        assert json.dumps(card, allow_nan=False, ensure_ascii=False).encode()
        assert card["task_id"] == "make"


@pytest.mark.parametrize("text", NASTY)
def test_any_xcom_text_makes_a_card(text: str) -> None:
    for returned in (text, json.dumps(text), "[" * 100_000, '{"request_id": "r", "duration": ' + "9" * 5000 + "}"):
        xcoms = dict.fromkeys(("return_value_xcom", "request_id_xcom", "outcome_xcom"), returned)
        record = TaskRecord("make", -1, "success", OPERATOR, **xcoms)
        card = build_card(record, [])
        assert json.dumps(card, allow_nan=False, ensure_ascii=False).encode()
        assert card["task_id"] == "make"
