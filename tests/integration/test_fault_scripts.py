"""Two hundred random sequences of faults: no double charge, no lost video."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from airflow_provider_grokvideo import submission
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.connections import connection
from tests.support.task_run import MemoryStore, TaskRun

SUBMIT_FAULTS = (
    "rate_limited",
    "close_before_accept",
    "close_after_accept",
    "half_answer",
    "server_error",
    "bad_gateway",
    "gateway_timeout",
    "no_id",
    "html",
    "slow_after_accept",
    "slow_before_accept",
)

POLL_FAULTS = (
    "rate_limited",
    "server_error",
    "bad_gateway",
    "close",
    "half_answer",
    "bare_id",
    "empty_202",
    "data_null",
    "wrapped",
    "xai",
    "unknown_status",
    "html",
    "not_found",
    "task_not_exist",
    "bad_key",
    "no_status",
    "string_progress",
)
LIES = ("failed", "expired", "done_without_url")
"""False reports about a working generation. The operator polls once more before it submits again."""
VIDEO_FAULTS = ("expired_url", "not_found", "server_error", "cut_short", "cut_clean", "html", "close")
ENDED_BY_THE_API = {"failed", "expired"}


def script(seed: int) -> list[tuple[str, str]]:
    """Return up to eight faults in random order."""
    dice = random.Random(seed)
    choices = [
        ("submit", SUBMIT_FAULTS),
        ("poll", POLL_FAULTS),
        ("video", VIDEO_FAULTS),
        ("outcome", tuple(ENDED_BY_THE_API)),
    ]
    faults = []
    for _ in range(dice.randint(1, 8)):
        on, names = dice.choices(choices, weights=(2, 4, 3, 1))[0]
        faults.append((on, dice.choice(names)))
    if dice.random() < 0.3:
        faults.insert(dice.randint(0, len(faults)), ("poll", dice.choice(LIES)))
    return faults


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(render_seconds=0.05) as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch, sandbox):
    """Shorten pauses and poll every few milliseconds, without a change of decisions."""
    limits = {"request_timeout": 0.5, "max_requests_per_second": 1000}
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", connection(sandbox.base_url, sandbox.api_key, **limits))
    monkeypatch.setattr(submission.time, "sleep", lambda seconds: None)
    monkeypatch.setattr("airflow_provider_grokvideo.utils.retries.PAUSE", 0.001)


@pytest.mark.parametrize("on_unknown", ["fail", "resubmit"])
@pytest.mark.parametrize("home", ["state_store", "file"])
@pytest.mark.parametrize("seed", range(50))
def test_random_faults(seed: int, home: str, on_unknown: str, sandbox, tmp_path: Path):
    faults = script(seed)
    sandbox.clear_faults()
    for on, name in faults:
        sandbox.fault(on, name, **({"delay": 1.0} if name.startswith("slow") else {}))
    prompt = f"seed {seed}, {home}, {on_unknown}"

    def make() -> GrokVideoGenerateOperator:
        return GrokVideoGenerateOperator(
            task_id="generate",
            prompt=prompt,
            duration=1,
            output_path=f"file://{tmp_path}/video.mp4",
            poll_interval=0.01,
            timeout=20,
            on_unknown_submission=on_unknown,
        )

    run = TaskRun(make, retries=3, store=MemoryStore() if home == "state_store" else None).run()
    sandbox.clear_faults()
    if run.state == "failed" and "clear this task" not in str(run.error):
        run.run()

    submitted = [one for one in sandbox.submissions if one["body"]["prompt"] == prompt]
    ended = [one for one in submitted if one["state"] in ENDED_BY_THE_API]
    unknown = sum(on == "submit" for on, _ in faults) if on_unknown == "resubmit" else 0
    assert len(submitted) <= len(ended) + 1 + unknown, faults
    if run.state == "success":
        assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"
        assert run.xcoms["request_id"] == run.result["request_id"]
    else:
        assert "clear this task" in str(run.error), (faults, run.error)
    assert not list(tmp_path.glob(".*.part"))
