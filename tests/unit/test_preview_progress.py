"""The progress cache polls rarely, with few polls at a time, and hides the errors of the API."""

from __future__ import annotations

import threading

import pytest

from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.exceptions import ServerError, TransportError
from airflow_provider_grokvideo.plugins.preview import progress as progress_module
from airflow_provider_grokvideo.plugins.preview.progress import MAX_CONCURRENT_POLLS, UNKNOWN, ProgressCache


class Api:
    """Returns or raises the results in turn, the last one again and again, and records the polls."""

    def __init__(self, *results: Generation | Exception) -> None:
        self.results = list(results)
        self.polls: list[tuple[str, str]] = []
        self.now = 100.0

    def __call__(self, conn_id: str, request_id: str) -> Generation:
        self.polls.append((conn_id, request_id))
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return result

    def clock(self) -> float:
        return self.now


def pending(progress: int) -> Generation:
    return Generation("r", "pending", progress=progress)


def test_pending_progress_is_cached_for_seconds() -> None:
    api = Api(pending(10), pending(20))
    cache = ProgressCache(api, api.clock)

    first, second = cache.get("c", "r"), cache.get("c", "r")
    api.now += 5
    third = cache.get("c", "r")

    assert [first["progress"], second["progress"], third["progress"]] == [10, 10, 20]
    assert api.polls == [("c", "r")] * 2


def test_final_state_is_cached_for_minutes() -> None:
    api = Api(Generation("r", "moderated", error_message="no"))
    cache = ProgressCache(api, api.clock)

    cache.get("c", "r")
    api.now += 200

    assert cache.get("c", "r") == {"state": "moderated", "progress": None, "reason": "no", "url": None}
    assert len(api.polls) == 1


def test_connections_do_not_share_a_cache_entry() -> None:
    api = Api(pending(10))
    cache = ProgressCache(api, api.clock)

    cache.get("one", "r"), cache.get("two", "r")

    assert api.polls == [("one", "r"), ("two", "r")]


def test_transport_error_is_unknown_and_stops_the_connection() -> None:
    api = Api(TransportError("cannot reach https://internal.example", delivered=False), pending(10))
    cache = ProgressCache(api, api.clock)

    assert cache.get("c", "r") == UNKNOWN
    assert cache.get("c", "another") == UNKNOWN
    assert api.polls == [("c", "r")]
    assert cache.get("other", "r")["progress"] == 10
    api.now += 16
    assert cache.get("c", "another")["progress"] == 10


def test_api_error_is_unknown_for_one_generation() -> None:
    api = Api(ServerError("broken"), pending(10))
    cache = ProgressCache(api, api.clock)

    assert cache.get("c", "r") == UNKNOWN
    assert cache.get("c", "r") == UNKNOWN
    assert cache.get("c", "another")["progress"] == 10


def test_slow_polls_occupy_a_fixed_number_of_threads() -> None:
    started, released = threading.Semaphore(0), threading.Event()

    def poll(conn_id: str, request_id: str) -> Generation:
        started.release()
        released.wait(10)
        return pending(1)

    cache = ProgressCache(poll)
    threads = [threading.Thread(target=cache.get, args=("c", str(number))) for number in range(MAX_CONCURRENT_POLLS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert started.acquire(timeout=10)

    assert cache.get("c", "one more") == UNKNOWN
    released.set()
    for thread in threads:
        thread.join()
    assert cache.get("c", "one more")["progress"] == 1


def test_cache_size_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "CACHE_SIZE", 3)
    cache = ProgressCache(Api(pending(1)))

    for number in range(10):
        cache.get("c", str(number))

    assert len(cache._progress) == 3
