"""Every end of a task: state, tries, log message and cost."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.e2e.video_runs import VideoRuns


@dataclass(frozen=True)
class Ending:
    state: str
    tries: int
    submissions: int
    words: tuple[str, ...]


ENDINGS = {
    "done": Ending("success", 1, 1, ("Saved file:",)),
    "done-on-worker": Ending("success", 1, 1, ("Saved file:",)),
    "moderated": Ending("failed", 1, 1, ("was rejected by content moderation", "change the prompt")),
    "failed": Ending("failed", 2, 2, ("Generation ", " failed", "internal error", "it submits and pays for a new one")),
    "expired": Ending("failed", 2, 2, (" expired", "it submits and pays for a new one")),
    "timed-out": Ending("failed", 2, 1, ("is not done after 4 s", "continues and is billed", "does not pay again")),
    "bad-key": Ending("failed", 1, 0, ("HTTP 401",)),
    "no-quota": Ending("failed", 1, 0, ("user quota is not enough", "HTTP 403")),
    "bad-field": Ending("failed", 1, 0, ("duration='16'", "Use whole seconds from 1 to 15.")),
    "unknown-model": Ending("failed", 1, 0, ("model_not_found",)),
    "unknown-submission": Ending("failed", 1, 1, ("may be billed", "Look it up", "GrokVideoSensor", "clear")),
    "unreachable": Ending("failed", 2, 0, ("Could not reach", "Nothing was billed.")),
    "rate-limited": Ending("success", 1, 1, ("Nothing was billed.", "worker slot is released")),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_failed_task_shows_its_message(name: str, endings: VideoRuns) -> None:
    run, expected = endings[name], ENDINGS[name]
    log = run.log(run.task()["try_number"])

    assert endings.first_end(name) == (expected.state, expected.tries, expected.submissions), log
    for words in expected.words:
        assert words in log
    if run.ids() and name != "unknown-submission":
        assert run.ids()[-1] in log


def test_failed_generation_names_what_it_cost(endings: VideoRuns) -> None:
    assert "it cost 0." in endings["moderated"].log()


def test_success_stores_id_and_result(endings: VideoRuns) -> None:
    for name in ("done", "done-on-worker", "rate-limited"):
        run = endings[name]
        result = run.xcom()
        assert [run.xcom("request_id")] == [result["request_id"]] == run.ids()
        assert result["status"] == "done"
        assert result["path"].endswith(f"/{result['request_id']}.mp4")
