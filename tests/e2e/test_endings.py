"""Every end of a task: state, tries, log message and cost."""

from __future__ import annotations

import re
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
    assert "It cost 0." in endings["moderated"].log()


NEW_STATE = re.compile(r"Generation [0-9a-f-]{36}: ")
"""Start of a line about a new state, which a quick run may not see."""
OWN_LINES = ("Requesting ", "Submitted ", "Waiting ", "Generation ", "Saved ", "This wait ")


@pytest.mark.parametrize("name", ["done", "done-on-worker"])
def test_log_of_a_success_shows_each_step_once(name: str, endings: VideoRuns) -> None:
    texts = [line.split(" ", 2)[-1] for line in endings[name].log().splitlines()]
    own = [text for text in texts if text.startswith(OWN_LINES) and not NEW_STATE.match(text)]

    assert [text.split(" ", 1)[0] for text in own] == ["Requesting", "Submitted", "Waiting", "Generation", "Saved"], own
    assert "This request costs up to 0.05 USD" in own[0]
    assert " is done after " in own[3]
    assert " cost 0.05 USD" in own[3]


@pytest.mark.parametrize("name", ["moderated", "bad-key", "unreachable"])
def test_log_of_a_failure_has_one_error_line_and_one_traceback(name: str, endings: VideoRuns) -> None:
    run = endings[name]
    log = run.log(run.task()["try_number"])
    errors = [line.split(" ", 2)[-1] for line in log.splitlines() if line.split(" ", 2)[1:2] == ["error"]]

    assert errors[1:] == ["Task failed with exception"], errors
    assert ENDINGS[name].words[0] in errors[0]
    assert log.count("Traceback (most recent call last)") <= 1


def test_success_stores_id_and_result(endings: VideoRuns) -> None:
    for name in ("done", "done-on-worker", "rate-limited"):
        run = endings[name]
        result = run.xcom()
        assert [run.xcom("request_id")] == [result["request_id"]] == run.ids()
        assert result["status"] == "done"
        assert result["path"].endswith(f"/{result['request_id']}.mp4")
