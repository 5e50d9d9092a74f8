"""Every form of a connection gives the same settings; invalid fields are refused by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import certifi
import pytest
from airflow.providers.common.compat.sdk import Connection

from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.hooks.async_connection import aget_settings
from airflow_provider_grokvideo.hooks.connection import settings_of
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

KEY = "sk-Zq81x/Top+Secret=Key"
EXTRA = {
    "model": "grok-imagine-video-1.5",
    "request_timeout": 12.5,
    "max_requests_per_second": 3,
    "max_submissions_per_second": 0.5,
    "ledger_path": "s3://bucket/ledger/",
    "proxy": "http://proxy:3128",
    "verify": "false",
    "allow_private_hosts": "false",
}
EVERYTHING = Settings(
    base_url="https://api.x.ai/v1",
    api_key=KEY,
    model="grok-imagine-video-1.5",
    request_timeout=12.5,
    max_requests_per_second=3.0,
    proxy="http://proxy:3128",
    verify=False,
    max_submissions_per_second=0.5,
    allow_private_hosts=False,
)
HOST = "https://api.x.ai/v1"
NAME = "grokvideo_test"

AS_JSON = json.dumps({"conn_type": "grokvideo", "host": HOST, "password": KEY, "extra": EXTRA})
AS_JSON_WITH_TEXT_EXTRA = json.dumps(
    {"conn_type": "grokvideo", "host": HOST, "password": KEY, "extra": json.dumps(EXTRA)}
)
QUERY = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in EXTRA.items())
AS_URI = f"grokvideo://:{quote(KEY, safe='')}@{quote(HOST, safe='')}?{QUERY}"
AS_URI_WITH_JSON_EXTRA = (
    f"grokvideo://:{quote(KEY, safe='')}@{quote(HOST, safe='')}?__extra__={quote(json.dumps(EXTRA), safe='')}"
)


@pytest.mark.parametrize(
    "made",
    [AS_JSON, AS_JSON_WITH_TEXT_EXTRA, AS_URI, AS_URI_WITH_JSON_EXTRA],
    ids=["json", "json-extra-as-text", "uri", "uri-extra-as-json"],
)
def test_environment_variable_gives_the_same_settings(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{NAME.upper()}", made)
    hook = GrokVideoHook(NAME)
    assert hook.settings == EVERYTHING
    assert hook.settings.api_key == KEY
    assert hook.ledger_path == "s3://bucket/ledger/"
    assert asyncio.run(aget_settings(NAME)) == EVERYTHING


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(json.dumps(EXTRA), id="command-line"),
        pytest.param(
            json.dumps({**EXTRA, "request_timeout": "12.5", "max_submissions_per_second": "0.5"}), id="form-texts"
        ),
        pytest.param(json.dumps({**EXTRA, "verify": False, "allow_private_hosts": False}), id="booleans"),
        pytest.param(json.dumps({**EXTRA, "verify": " FALSE "}), id="verify-in-capitals"),
    ],
)
def test_connection_object_gives_the_same_settings(extra: str) -> None:
    connection = Connection(conn_id=NAME, conn_type="grokvideo", host=HOST, password=KEY, extra=extra)
    assert settings_of(connection) == EVERYTHING


def test_object_survives_its_own_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(conn_id=NAME, conn_type="grokvideo", host=HOST, password=KEY, extra=json.dumps(EXTRA))
    monkeypatch.setenv(f"AIRFLOW_CONN_{NAME.upper()}", connection.get_uri())
    assert GrokVideoHook(NAME).settings == EVERYTHING


def connection_with(extra: dict[str, Any] | None = None, **fields: Any) -> Connection:
    """Return a connection with these fields."""
    return Connection(
        conn_id=NAME, conn_type="grokvideo", extra=json.dumps(extra) if extra is not None else None, **fields
    )


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        pytest.param({}, "https://api.cometapi.com/grok/v1", id="nothing"),
        pytest.param({"host": ""}, "https://api.cometapi.com/grok/v1", id="empty"),
        pytest.param({"host": "api.cometapi.com"}, "https://api.cometapi.com/grok/v1", id="cometapi-bare"),
        pytest.param({"host": "https://api.cometapi.com/"}, "https://api.cometapi.com/grok/v1", id="cometapi-slash"),
        pytest.param({"host": "https://api.cometapi.com/grok/v1/"}, "https://api.cometapi.com/grok/v1", id="whole"),
        pytest.param({"host": "api.x.ai"}, "https://api.x.ai/v1", id="xai-bare"),
        pytest.param({"host": " https://api.x.ai/v1 "}, "https://api.x.ai/v1", id="spaces-around"),
        pytest.param({"host": "gateway.example.com/grok/v1"}, "https://gateway.example.com/grok/v1", id="path-bare"),
        pytest.param({"host": "http://127.0.0.1:8080/grok/v1"}, "http://127.0.0.1:8080/grok/v1", id="sandbox"),
        pytest.param({"host": "127.0.0.1", "port": 8080, "schema": "http"}, "http://127.0.0.1:8080/v1", id="port"),
        pytest.param({"host": "https://h:1/v1", "port": 2}, "https://h:1/v1", id="port-in-the-url-wins"),
        pytest.param({"host": "api.x.ai", "schema": "https"}, "https://api.x.ai/v1", id="schema-as-scheme"),
        pytest.param({"host": "api.x.ai", "schema": "v1"}, "https://api.x.ai/v1", id="schema-as-path-of-a-uri"),
        pytest.param({"host": "[::1]:8080"}, "https://[::1]:8080/v1", id="ipv6"),
    ],
)
def test_base_url(fields: dict[str, Any], base_url: str) -> None:
    assert settings_of(connection_with(password="k", **fields)).base_url == base_url


def test_connection_with_only_a_key_has_the_defaults() -> None:
    settings = settings_of(connection_with(password=f" {KEY}\n"))
    assert settings == Settings(api_key=KEY)
    assert (settings.request_timeout, settings.max_requests_per_second, settings.verify) == (30.0, 20.0, True)
    assert (settings.model, settings.proxy) == (None, None)
    assert (settings.max_submissions_per_second, settings.allow_private_hosts) == (None, True)


@pytest.mark.parametrize(
    ("host", "extra", "rate"),
    [
        ("", {}, None),
        ("api.cometapi.com", {}, None),
        ("http://127.0.0.1:8765/v1", {}, None),
        ("https://x.ai.example.com/v1", {}, None),
        ("https://fox.ai/v1", {}, None),
        ("api.x.ai", {}, 1.0),
        ("https://api.x.ai/v1", {"max_submissions_per_second": None}, 1.0),
        ("https://us-east-1.api.x.ai/v1", {"max_submissions_per_second": ""}, 1.0),
        ("https://api.x.ai/v1", {"max_submissions_per_second": "2"}, 2.0),
        ("api.cometapi.com", {"max_submissions_per_second": 0.2}, 0.2),
    ],
)
def test_xai_submissions_are_limited_to_one_a_second(host: str, extra: dict[str, Any], rate: float | None) -> None:
    settings = settings_of(connection_with(extra, host=host, password="k"))
    assert settings.max_submissions_per_second == rate


def test_equality_ignores_the_connection_name() -> None:
    settings = settings_of(connection_with(password="k"))
    assert settings.connection == f"connection '{NAME}'"
    assert settings == Settings(api_key="k")
    assert hash(settings) == hash(Settings(api_key="k"))


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_field_of_the_form_gives_its_default(empty: str | None) -> None:
    settings = settings_of(connection_with(dict.fromkeys(EXTRA, empty), password="k"))
    assert settings == Settings(api_key="k")


@pytest.mark.parametrize("verify", [True, "true", "True", None])
def test_certificates_are_verified_by_default(verify: object) -> None:
    assert settings_of(connection_with({"verify": verify}, password="k")).verify is True


def test_ca_file_is_used() -> None:
    assert settings_of(connection_with({"verify": f" {certifi.where()} "}, password="k")).verify == certifi.where()


@pytest.mark.parametrize("extra", ["[]", '"text"', "5", "{not json"], ids=["list", "text", "number", "no-json"])
def test_invalid_extra_gives_defaults_or_a_clear_error(extra: str) -> None:
    try:
        settings = settings_of(Connection(conn_id=NAME, conn_type="grokvideo", password="k", extra=extra))
    except (InvalidRequestError, ValueError) as error:
        assert "extra" in str(error).lower()
    else:
        assert settings == Settings(api_key="k")


def test_connection_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"AIRFLOW_CONN_{NAME.upper()}"
    monkeypatch.setenv(variable, AS_JSON)
    hook = GrokVideoHook(NAME)
    assert hook.settings == EVERYTHING
    monkeypatch.delenv(variable)
    assert hook.client.settings is hook.settings
    assert hook.get_conn() is hook.client


def test_repr_of_the_hook_holds_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{NAME.upper()}", AS_JSON)
    hook = GrokVideoHook(NAME)
    shown = repr(hook) + str(hook.settings) + repr(hook.settings) + repr(hook.client) + repr(hook.client.__dict__)
    assert KEY not in shown
    assert "proxy:3128" not in shown
