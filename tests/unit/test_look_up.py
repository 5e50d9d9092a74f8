"""The look-up of a connection where Airflow finds it in one way and not in the other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, Connection

from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.hooks import look_up


async def missing(conn_id: str) -> Any:
    raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")


async def test_what_is_found_synchronously_only_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The triggers that dag.test() of Airflow 3.3 runs have no other way to the database."""
    connection = Connection(conn_id="stored", conn_type="grokvideo", password="a-key", host="api.x.ai")
    monkeypatch.setattr(look_up, "get_async_connection", missing)
    monkeypatch.setattr(look_up, "BaseHook", SimpleNamespace(get_connection=lambda conn_id: connection))

    settings = await look_up.aget_settings("stored")

    assert (settings.base_url, settings.api_key) == ("https://api.x.ai/v1", "a-key")


async def test_what_is_not_found_at_all_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_up, "get_async_connection", missing)

    with pytest.raises(InvalidRequestError, match="the connection nowhere is not defined"):
        await look_up.aget_settings("nowhere")
