"""The API is asked rarely, a few questions at a time, and its trouble stays its own."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.exceptions import TransportError
from airflow_provider_grokvideo.plugins.preview import progress as progress_module
from airflow_provider_grokvideo.plugins.preview.progress import AT_A_TIME, UNKNOWN, Progress


class Api:
    def __init__(self, *answers: Generation | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.now = 100.0

    def __call__(self, conn_id: str, request_id: str) -> Generation:
        self.asked.append((conn_id, request_id))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def pending(progress: int) -> Generation:
    return Generation("r", "pending", progress=progress)


def test_an_answer_is_kept_for_some_seconds() -> None:
    api = Api(pending(10), pending(20))
    progress = Progress(api, lambda: api.now)

    first, again = progress.of("c", "r"), progress.of("c", "r")
    api.now += 5
    later = progress.of("c", "r")

    assert [first["progress"], again["progress"], later["progress"]] == [10, 10, 20]
    assert api.asked == [("c", "r")] * 2


def test_a_final_answer_is_kept_for_minutes() -> None:
    api = Api(Generation("r", "moderated", error_message="no"))
    progress = Progress(api, lambda: api.now)

    progress.of("c", "r")
    api.now += 200

    assert progress.of("c", "r") == {"state": "moderated", "progress": None, "reason": "no", "url": None}
    assert len(api.asked) == 1


def test_connections_do_not_share_answers() -> None:
    api = Api(pending(10))
    progress = Progress(api, lambda: api.now)

    progress.of("one", "r"), progress.of("two", "r")

    assert api.asked == [("one", "r"), ("two", "r")]


def test_what_cannot_be_asked_is_unknown_and_says_nothing_about_the_connection() -> None:
    api = Api(TransportError("cannot reach https://internal.example", delivered=False))
    progress = Progress(api, lambda: api.now)

    assert progress.of("c", "r") == UNKNOWN
    assert progress.of("c", "r") == UNKNOWN
    assert len(api.asked) == 1


def test_a_slow_api_occupies_few_threads() -> None:
    busy, done = threading.Semaphore(0), threading.Event()

    def ask(conn_id: str, request_id: str) -> Generation:
        busy.release()
        done.wait(10)
        return pending(1)

    progress = Progress(ask)
    threads = [threading.Thread(target=progress.of, args=("c", str(number))) for number in range(AT_A_TIME)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert busy.acquire(timeout=10)

    assert progress.of("c", "one more") == UNKNOWN
    done.set()
    for thread in threads:
        thread.join()


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "REMEMBERED", 3)
    progress = Progress(Api(pending(1)))

    for number in range(10):
        progress.of("c", str(number))

    assert len(progress._said) == 3
