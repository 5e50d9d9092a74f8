"""The connection lookup on the event loop: both of Airflow's ways, faults and caching."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, Connection

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import InvalidRequestError, TransportError
from airflow_provider_grokvideo.hooks import async_connection
from airflow_provider_grokvideo.hooks.connection import settings_of
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger


async def missing(conn_id: str) -> Any:
    raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")


def never(conn_id: str) -> Any:
    raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")


async def test_sync_only_backend_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The triggers that dag.test() of Airflow 3.3 runs have no other way to the database."""
    connection = Connection(conn_id="stored", conn_type="grokvideo", password="a-key", host="api.x.ai")
    monkeypatch.setattr(async_connection, "get_async_connection", missing)
    monkeypatch.setattr(async_connection, "BaseHook", SimpleNamespace(get_connection=lambda conn_id: connection))

    settings = await async_connection.aget_settings("stored")

    assert (settings.base_url, settings.api_key) == ("https://api.x.ai/v1", "a-key")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_connection, "NOT_FOUND_PAUSES", (0.01, 0.01))
    monkeypatch.setattr(async_connection, "_lookups", {})


async def test_missing_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_connection, "get_async_connection", missing)
    monkeypatch.setattr(async_connection, "BaseHook", SimpleNamespace(get_connection=never))

    with pytest.raises(InvalidRequestError, match="Connection 'nowhere' is not defined"):
        await async_connection.aget_settings("nowhere")


def failing_then_found(errors: list[Exception]) -> Any:
    """Return a look-up that raises these errors, one after another, and then finds the connection."""

    async def look(conn_id: str) -> Any:
        if errors:
            raise errors.pop(0)
        return Connection(conn_id=conn_id, conn_type="grokvideo", password="a-key")

    return look


async def test_backend_fault_is_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_connection, "BaseHook", SimpleNamespace(get_connection=never))
    errors: list[Exception] = [AirflowNotFoundException("x"), AirflowNotFoundException("x")]
    monkeypatch.setattr(async_connection, "get_async_connection", failing_then_found(errors))
    assert (await async_connection.aget_settings("c")).api_key == "a-key"


@pytest.mark.parametrize("error", [OSError("db-pa55"), RuntimeError("db-pa55"), TimeoutError("db-pa55")], ids=repr)
async def test_temporary_fault_hides_its_text(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_connection, "get_async_connection", failing_then_found([error]))
    with pytest.raises(TransportError, match="cannot be looked up now") as caught:
        await async_connection.aget_settings("c")
    assert "pa55" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


async def test_waits_share_a_failed_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [OSError(str(number)) for number in range(10)]
    monkeypatch.setattr(async_connection, "get_async_connection", failing_then_found(errors))
    for _ in range(100):
        with pytest.raises(TransportError):
            await async_connection.aget_settings("c")
    assert len(errors) == 9


async def test_wait_survives_failed_lookups(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Connection(conn_id="c", conn_type="grokvideo", host=sandbox.base_url, password=sandbox.api_key)
    request_id = GrokVideoClient(settings_of(found)).submit(VideoRequest(prompt="p", duration=1))
    errors: list[Exception] = [OSError(), RuntimeError(), TimeoutError()]

    async def look(conn_id: str) -> Any:
        if errors:
            raise errors.pop()
        return found

    monkeypatch.setattr(async_connection, "FAILED_LOOKUP_TTL", 0.0)
    monkeypatch.setattr(async_connection, "get_async_connection", look)
    (event,) = [event async for event in GrokVideoTrigger("c", request_id, 0.05, time.time() + 60).run()]
    assert event.payload["status"] == "done"


async def test_invalid_field_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(conn_id: str) -> Any:
        return Connection(conn_id=conn_id, conn_type="grokvideo", password="k", extra='{"request_timeout": "soon"}')

    monkeypatch.setattr(async_connection, "get_async_connection", look)
    (event,) = [event async for event in GrokVideoTrigger("c", "id", 0.05, time.time() + 60).run()]
    assert (event.payload["status"], event.payload["error_type"]) == ("error", "InvalidRequestError")
    assert event.payload["polls"] == 0


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Return an API of one's own."""
    with Sandbox(render_seconds=0) as running:
        yield running
