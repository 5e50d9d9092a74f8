"""The operators, sensor and decorator against the sandbox, attempt by attempt."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_grokvideo.exceptions import GenerationTimeoutError
from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
    GrokVideoGenerateOperator,
)
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from tests.integration.conftest import KEY
from tests.support.task_run import MemoryStore, TaskRun

RESULT_KEYS = {
    "request_id",
    "status",
    "model",
    "video_url",
    "duration",
    "cost_usd",
    "path",
    "size_bytes",
    "sha256",
    "content_type",
    "elapsed_seconds",
}


def generate(**kwargs: Any) -> GrokVideoGenerateOperator:
    return GrokVideoGenerateOperator(
        **{"task_id": "generate", "prompt": "A lake", "duration": 1, "poll_interval": 0.05, "timeout": 20, **kwargs}
    )


def run(kind: type = GrokVideoGenerateOperator, *, retries: int = 0, store: Any = None, **kwargs: Any) -> TaskRun:
    defaults = {"task_id": "task", "prompt": "A lake", "poll_interval": 0.05, "timeout": 20}
    return TaskRun(lambda: kind(**{**defaults, **kwargs}), retries=retries, store=store or MemoryStore()).run()


def submissions_of(sandbox, prompt: str) -> list[dict[str, Any]]:
    return [one for one in sandbox.submissions if one["body"].get("prompt") == prompt]


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_video_is_landed(deferrable: bool, sandbox, tmp_path: Path):
    task = run(prompt=f"A lake {deferrable}", duration=2, deferrable=deferrable, output_path=f"file://{tmp_path}/out/")

    assert task.state == "success", task.error
    assert set(task.result) == RESULT_KEYS
    request_id = task.result["request_id"]
    assert task.xcoms["request_id"] == request_id
    assert (task.result["status"], task.result["duration"], task.result["cost_usd"]) == ("done", 2, "0.1")
    landed = ObjectStoragePath(task.result["path"])
    assert landed.name == f"{request_id}.mp4"
    assert landed.stat().st_size == task.result["size_bytes"]
    assert len(task.deferrals) == (1 if deferrable else 0)
    assert len(submissions_of(sandbox, f"A lake {deferrable}")) == 1
    assert not any(download["authorization"] for download in sandbox.downloads)


def test_the_deferral_has_an_absolute_deadline_no_framework_timeout_and_no_secret(sandbox):
    task = run(prompt="deferral")

    deferred = task.deferrals[0]
    path, arguments = deferred.trigger.serialize()
    assert path == "airflow_provider_grokvideo.triggers.grokvideo.GrokVideoTrigger"
    assert set(arguments) == {"grokvideo_conn_id", "request_id", "poll_interval", "deadline"}
    assert arguments["deadline"] > 1_700_000_000
    assert deferred.timeout is None
    assert KEY not in json.dumps([arguments, deferred.kwargs, task.events, task.result, task.xcoms])
    assert json.loads(json.dumps(task.events)) == task.events


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"prompt": ""}, "prompt=''"),
        ({"prompt": 7}, "prompt=7"),
        ({"prompt": None}, "prompt=None"),
        ({"duration": 0}, "duration=0"),
        ({"duration": 16}, "duration=16"),
        ({"duration": "eight"}, "duration='eight'"),
        ({"duration": True}, "duration=True"),
        ({"duration": 8.5}, "duration=8.5"),
        ({"aspect_ratio": "5:4"}, "aspect_ratio='5:4'"),
        ({"aspect_ratio": "21:9"}, "aspect_ratio='21:9'"),
        ({"resolution": "4k"}, "resolution='4k'"),
        ({"resolution": "1080p"}, "resolution='1080p'"),
        ({"image": "/nowhere/lake.png"}, "Cannot read image '/nowhere/lake.png': no such file on this worker."),
        ({"image": "data:image/png;base64,@@@"}, "image=data:image/png;base64"),
        ({"image": "ftp://host/lake.png"}, "image='ftp://host/lake.png'"),
        ({"upload_url": "s3://bucket/key"}, "upload_url='s3://bucket/key'"),
        ({"extra": {"duration": 3}}, "extra['duration']"),
        ({"extra": "seed=1"}, "extra='seed=1'"),
        ({"user": ""}, "user=''"),
        ({"reference_images": ["https://example.com/a.png"] * 8}, "reference_images"),
        ({"output_path": "file:///proc/nowhere/video.mp4"}, "output_path='file:///proc/nowhere/video.mp4'"),
        ({"output_path": "nosuch://bucket/video.mp4"}, "output_path='nosuch://bucket/video.mp4'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_caught_before_anything_is_sent(wrong: dict[str, Any], named: str, sandbox):
    before = (len(sandbox.submissions), len(sandbox.refusals))

    task = run(retries=2, **wrong)

    assert task.state == "failed"
    assert task.attempts == 1
    assert named in str(task.error)
    assert " is not valid. " in str(task.error) or "Cannot " in str(task.error)
    assert (len(sandbox.submissions), len(sandbox.refusals)) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [("text.png", b"just text"), ("large.png", b"\x89PNG\r\n\x1a\n" + b"0" * 50_000_000), ("empty.png", b"")],
)
def test_a_file_that_is_no_usable_image_is_refused(name: str, content: bytes, sandbox, tmp_path: Path):
    before = (len(sandbox.submissions), len(sandbox.refusals))
    (tmp_path / name).write_bytes(content)

    task = run(image=str(tmp_path / name))

    assert task.state == "failed"
    assert f"{tmp_path}/{name}" in str(task.error)
    assert (len(sandbox.submissions), len(sandbox.refusals)) == before


def test_an_image_file_is_sent_as_a_data_uri_of_its_own_type(sandbox, tmp_path: Path):
    pixel = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    (tmp_path / "pixel.jpg").write_bytes(pixel)

    task = run(prompt="pixel", image=f"file://{tmp_path}/pixel.jpg")

    assert task.state == "success", task.error
    sent = submissions_of(sandbox, "pixel")[0]["body"]["image"]["url"]
    assert sent == "data:image/png;base64," + base64.b64encode(pixel).decode()


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("bad_key", "key"),
        ("no_quota", "quota"),
        ("payment_required", ""),
        ("out_of_credit_429", "credit"),
        ("invalid_request", ""),
        ("model_not_found", "model"),
        ("redirect", "host"),
    ],
)
def test_a_refusal_is_final_and_costs_nothing(fault: str, word: str, sandbox):
    sandbox.fault("submit", fault)

    task = run(retries=3, prompt=f"refused {fault}")

    assert (task.state, task.attempts) == ("failed", 1)
    assert word in str(task.error).lower()
    assert submissions_of(sandbox, f"refused {fault}") == []


@pytest.mark.parametrize("fault", ["close_after_accept", "half_answer", "server_error", "bad_gateway", "no_id", "html"])
def test_an_unknown_submission_stops_and_says_what_a_person_can_do(fault: str, sandbox):
    sandbox.fault("submit", fault)
    task = run(retries=3, prompt=f"unknown {fault}")

    assert (task.state, task.attempts) == ("failed", 1)
    for words in (
        "is unknown, and it may be billed",
        "GrokVideoSensor",
        "clear this task",
        'on_unknown_submission="resubmit"',
    ):
        assert words in str(task.error)

    # A worker that dies cannot forbid the retry: the ledger does.
    submitted = len(submissions_of(sandbox, f"unknown {fault}"))
    task.run()
    assert task.state == "failed"
    assert "ended while it submitted" in str(task.error)
    assert len(submissions_of(sandbox, f"unknown {fault}")) == submitted

    task.clear().run()
    assert task.state == "success"
    assert len(submissions_of(sandbox, f"unknown {fault}")) == submitted + 1


def test_an_unknown_submission_is_resubmitted_where_the_user_says_so(sandbox):
    sandbox.fault("submit", "close_after_accept")

    task = run(retries=1, prompt="resubmit", on_unknown_submission="resubmit")

    assert (task.state, task.attempts) == ("success", 2)
    assert len(submissions_of(sandbox, "resubmit")) == 2


def test_a_short_rate_limit_is_slept_on_the_worker(sandbox):
    sandbox.fault("submit", "rate_limited", retry_after=0.1)

    task = run(prompt="short limit")

    assert task.state == "success", task.error
    assert [deferred.method_name for deferred in task.deferrals] == ["execute_complete"]


def test_a_long_rate_limit_gives_the_worker_slot_back(sandbox, monkeypatch):
    monkeypatch.setattr("airflow_provider_grokvideo.execution.MAX_WORKER_SLEEP", 0.5)
    monkeypatch.setattr("airflow_provider_grokvideo.execution.min_deferral", lambda: 3.0)
    sandbox.fault("submit", "rate_limited", retry_after=1)
    began = datetime.now(UTC)

    task = run(prompt="long limit")

    assert task.state == "success", task.error
    assert [deferred.method_name for deferred in task.deferrals] == ["execute_resubmit", "execute_complete"]
    assert task.deferrals[0].trigger.moment - began >= timedelta(seconds=3)
    assert len(submissions_of(sandbox, "long limit")) == 1


def test_a_rate_limit_beyond_the_submission_timeout_fails_retryably_and_leaves_no_intent(sandbox):
    store = MemoryStore()
    sandbox.fault("submit", "rate_limited", retry_after=3600)

    task = run(prompt="endless limit", store=store, retries=1)

    assert (task.state, task.attempts) == ("success", 2)
    assert store.values["grokvideo"]["state"] == "finished"


@pytest.mark.parametrize(
    ("outcome", "words", "attempts", "submitted"),
    [
        ("moderated_failed", "moderat", 1, 1),
        ("moderated_done", "moderat", 1, 1),
        ("moderated_400", "moderat", 1, 1),
        ("failed", "failed", 2, 2),
        ("expired", "expired", 2, 2),
    ],
)
def test_how_a_generation_ends_decides_about_the_retry(outcome, words, attempts, submitted, sandbox):
    sandbox.fault("outcome", outcome)

    task = run(prompt=f"ends {outcome}", retries=1)

    assert task.attempts == attempts
    assert len(submissions_of(sandbox, f"ends {outcome}")) == submitted
    first = submissions_of(sandbox, f"ends {outcome}")[0]["request_id"]
    if submitted == 1:
        assert task.state == "failed"
        assert words in str(task.error)
        assert first in str(task.error)
    else:
        assert task.state == "success"
        assert task.xcoms["request_id"] != first


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_timeout_says_that_the_generation_goes_on_and_a_retry_resumes_it(deferrable: bool, sandbox):
    prompt = f"timeout {deferrable}"
    sandbox.fault("poll", "bare_id", times=None, prompt_contains=prompt)
    task = run(prompt=prompt, timeout=0.3, deferrable=deferrable)

    assert isinstance(task.error, GenerationTimeoutError)
    request_id = submissions_of(sandbox, prompt)[0]["request_id"]
    assert request_id in str(task.error)
    assert "continues and is billed" in str(task.error)

    sandbox.clear_faults()
    task.run()
    assert task.state == "success", task.error
    assert task.result["request_id"] == request_id
    assert len(submissions_of(sandbox, prompt)) == 1


def test_without_waiting_the_id_is_the_result_and_a_sensor_lands_it(sandbox, tmp_path: Path):
    submitted = run(prompt="later", wait_for_completion=False)
    assert submitted.state == "success"
    assert submitted.deferrals == []
    assert submitted.result["status"] == "pending"

    sensed = TaskRun(
        lambda: GrokVideoSensor(
            task_id="sense",
            request_id=submitted.result["request_id"],
            output_path=f"file://{tmp_path}/v.mp4",
            poll_interval=0.05,
        )
    ).run()
    assert sensed.state == "success", sensed.error
    assert set(sensed.result) == RESULT_KEYS
    assert (tmp_path / "v.mp4").exists()
    assert len(submissions_of(sandbox, "later")) == 1


def test_a_poking_sensor_returns_the_same_result(sandbox):
    request_id = run(prompt="poked", wait_for_completion=False).result["request_id"]

    sensor = GrokVideoSensor(task_id="sense", request_id=request_id, deferrable=False, poke_interval=0.05, timeout=20)
    sensed = TaskRun(lambda: sensor).run()

    assert sensed.state == "success", sensed.error
    assert sensed.result["status"] == "done"


@pytest.mark.parametrize("request_id", ["", None, "no-such-id"])
def test_a_sensor_with_a_wrong_id_fails_clearly(request_id, sandbox, monkeypatch):
    monkeypatch.setattr("airflow_provider_grokvideo.api.polling.REFUSAL_TOLERANCE", 0.2)
    sensed = TaskRun(lambda: GrokVideoSensor(task_id="sense", request_id=request_id, poll_interval=0.05)).run()

    assert sensed.state == "failed"
    assert str(request_id) in str(sensed.error)


def test_a_soft_failing_sensor_skips(sandbox):
    request_id = run(prompt="soft #moderated", wait_for_completion=False).result["request_id"]

    sensed = TaskRun(
        lambda: GrokVideoSensor(task_id="sense", request_id=request_id, poll_interval=0.05, soft_fail=True)
    ).run()

    assert sensed.state == "skipped"


def test_edit_and_extend(sandbox, tmp_path: Path):
    source = run(prompt="source", duration=3).result["video_url"]

    edited = run(GrokVideoEditOperator, prompt="Add snow", video=source, output_path=f"file://{tmp_path}/e.mp4")
    extended = run(GrokVideoExtendOperator, prompt="Rise", video=source, duration="2")

    assert (edited.state, extended.state) == ("success", "success")
    kinds = {one["body"]["prompt"]: one["kind"] for one in sandbox.submissions[-2:]}
    assert kinds == {"Add snow": "edit", "Rise": "extension"}
    assert "duration" not in submissions_of(sandbox, "Add snow")[0]["body"]
    assert submissions_of(sandbox, "Rise")[0]["body"]["duration"] == 2


def test_a_finished_task_that_is_run_again_returns_its_result_and_a_clear_makes_a_new_video(sandbox, tmp_path: Path):
    task = run(prompt="again", output_path=f"file://{tmp_path}/v.mp4")
    first = task.result["request_id"]

    task.run()
    assert task.result["request_id"] == first
    assert len(submissions_of(sandbox, "again")) == 1

    task.clear().run()
    assert task.result["request_id"] != first
    assert len(submissions_of(sandbox, "again")) == 2


def test_what_is_paid_for_is_resumed_without_its_image(sandbox, tmp_path: Path):
    image = tmp_path / "lake.png"
    image.write_bytes(Path("example_dags/images/lake.png").read_bytes())
    store = MemoryStore()
    submitted = run(prompt="image gone", image=str(image), store=store, wait_for_completion=False)
    image.unlink()

    task = run(prompt="image gone", image=str(image), store=store)

    assert task.state == "success", task.error
    assert task.result["request_id"] == submitted.result["request_id"]
    assert len(submissions_of(sandbox, "image gone")) == 1


def test_an_unreadable_ledger_stops_the_task_before_it_pays(sandbox, tmp_path: Path):
    def make() -> GrokVideoGenerateOperator:
        return generate(prompt="unreadable", ledger_path=f"file://{tmp_path}")

    task = TaskRun(make, store=None).run()
    assert task.state == "success"
    ledger = next(tmp_path.glob("grokvideo-*.json"))
    ledger.write_text('{"state": "intent"')

    task.run()
    assert task.state == "failed"
    assert str(ledger) in str(task.error)
    assert len(submissions_of(sandbox, "unreadable")) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"poll_interval": 0},
        {"poll_interval": "5"},
        {"timeout": -1},
        {"timeout": True},
        {"on_unknown_submission": "maybe"},
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_when_the_dag_is_read(wrong: dict[str, Any]):
    name, value = next(iter(wrong.items()))

    with pytest.raises(ValueError, match=f"{name}={value!r} is not valid. Use "):
        generate(**wrong)


def test_a_trigger_without_its_connection_says_so_in_its_event(sandbox, monkeypatch):
    sandbox.fault("poll", "bare_id", times=None, prompt_contains="connection gone")
    monkeypatch.setattr("airflow_provider_grokvideo.hooks.async_connection._lookups", {})
    operator = generate(prompt="connection gone", grokvideo_conn_id="grokvideo_default")
    run = TaskRun(lambda: operator)
    monkeypatch.setattr(
        "airflow_provider_grokvideo.triggers.grokvideo.GrokVideoTrigger.serialize",
        lambda trigger: (
            "airflow_provider_grokvideo.triggers.grokvideo.GrokVideoTrigger",
            {
                "grokvideo_conn_id": "nowhere",
                "request_id": trigger.request_id,
                "poll_interval": trigger.poll_interval,
                "deadline": trigger.deadline,
            },
        ),
    )

    run.attempt()

    assert run.events[0]["status"] == "error"
    assert "nowhere" in run.events[0]["error_message"]
    assert run.state == "up_for_retry"
