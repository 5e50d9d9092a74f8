"""Messages about an Airflow connection: its fields, its proxy, and its look-up."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, Connection

from airflow_provider_grokvideo.api import network
from airflow_provider_grokvideo.api.network import parse_proxy
from airflow_provider_grokvideo.exceptions import GrokVideoError, InvalidRequestError, TransportError
from airflow_provider_grokvideo.hooks import async_connection
from airflow_provider_grokvideo.hooks.connection import ledger_path_of, prices_of, settings_of

HOST = "Use an http(s) URL or a host name, without a user."
VERIFY = "Use true, false or a CA file that exists."
PROXY = (
    "is not valid. Nothing was sent. Use a URL such as http://host:port with one of the schemes http, https, socks5, "
    "socks5h, socks4, socks4a. Percent-encode special characters of a password."
)

FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"host": "ftp://api.x.ai"}, f"host='ftp://api.x.ai' is not valid. {HOST}"),
    ({"host": "https://"}, f"host='https://' is not valid. {HOST}"),
    ({"host": "https://h:port/v1"}, f"host='https://h:port/v1' is not valid. {HOST}"),
    ({"host": "https://[::1/v1"}, f"host='https://[::1/v1' is not valid. {HOST}"),
    ({"host": "api x.ai"}, f"host='api x.ai' is not valid. {HOST}"),
    ({"host": "https://user:s3cret@h/v1"}, f"host='h/v1' is not valid. {HOST}"),
    ({"extra": {"model": 5}}, "model=5 is not valid. Use a text."),
    ({"extra": {"proxy": ["http://u:s3cret@p"]}}, "proxy=list is not valid. Use a text."),
    ({"extra": {"proxy": {"http": "http://u:s3cret@p"}}}, "proxy=dict is not valid. Use a text."),
    *(
        ({"extra": {name: wrong}}, f"{name}={wrong!r} is not valid. Use a number above 0.")
        for name in ("request_timeout", "max_requests_per_second", "max_submissions_per_second")
        for wrong in (0, -1, "soon", True, [1], "inf", "nan")
        if (name, wrong) != ("max_submissions_per_second", "inf")
    ),
    *(
        ({"extra": {"allow_private_hosts": wrong}}, f"allow_private_hosts={wrong!r} is not valid. Use true or false.")
        for wrong in (0, "no", [], " ")
    ),
    *(
        ({"extra": {"verify": wrong}}, f"verify={wrong!r} is not valid. {VERIFY}")
        for wrong in (1, "no", "/no/such.pem", " ")
    ),
]


def connection(**fields: Any) -> Connection:
    """Return a connection with these fields."""
    extra = json.dumps(fields.pop("extra", {}))
    return Connection(conn_id="x", conn_type="grokvideo", password="sk-Zq81xTopSecretKey0042", extra=extra, **fields)


@pytest.mark.parametrize(("fields", "message"), FIELDS, ids=[message[:40] for _, message in FIELDS])
def test_wrong_field_of_a_connection_gets_its_message(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        settings_of(connection(**fields))
    assert str(caught.value) == f"Connection 'x': {message}"


def test_wrong_ledger_path_gets_its_message() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ledger_path_of(connection(extra={"ledger_path": 5}))
    assert str(caught.value) == "Connection 'x': ledger_path=5 is not valid. Use a text."


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        (
            "{480p",
            "prices are not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). "
            "Use a JSON object.",
        ),
        ({"m": {"480p": -1}}, "prices['m']['480p']=-1 is not valid. Use a number of US dollars, 0 or more."),
    ],
    ids=["no-json", "negative"],
)
def test_wrong_prices_name_the_place_that_holds_them(
    prices: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        prices_of(connection(extra={"prices": prices}))
    assert str(caught.value) == f"Connection 'x': {message}"
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__PRICES", prices if isinstance(prices, str) else json.dumps(prices))
    with pytest.raises(InvalidRequestError) as caught:
        prices_of(connection())
    assert str(caught.value) == f"[grokvideo] prices: {message}"


@pytest.mark.parametrize(
    "text",
    ["ftp://u:s3cret@p:1", "http://", "http://u:s3cret@", "p:99999", "p:s3cret", "http://[::s3cret", "p:0", "a b:1"],
)
def test_wrong_proxy_gets_its_message_without_being_shown(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_proxy(text, "HTTPS_PROXY")
    assert str(caught.value) == f"The proxy in HTTPS_PROXY {PROXY}"


def test_socks_login_that_is_not_ascii_gets_its_message() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        network.check_socks_support(parse_proxy("socks5://u:p%C3%A4ss@p", "x"))
    assert str(caught.value) == (
        "The user or password of the proxy socks5://p:1080 is not ASCII. Nothing was sent. "
        "Use ASCII only: workers and triggerers encode other characters differently."
    )


@pytest.mark.parametrize("missing", ["socks", "aiohttp_socks"])
def test_socks_without_its_packages_gets_its_message(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_SOCKS_MODULES", (f"no_such_{missing}",))
    with pytest.raises(InvalidRequestError) as caught:
        network.check_socks_support(parse_proxy("socks5://u:s3cret@p", "x"))
    assert str(caught.value) == (
        "The proxy socks5://p:1080 speaks SOCKS, which needs more packages. Nothing was sent. "
        "Install airflow-provider-grokvideo[socks] on workers and triggerers."
    )
    network.check_socks_support(parse_proxy("http://p", "x"))
    network.check_socks_support(None)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            AirflowNotFoundException("db-pa55"),
            InvalidRequestError,
            "Connection 'x' is not defined. Create it, or give all processes the same secrets backend.",
        ),
        (
            ValueError("db-pa55"),
            InvalidRequestError,
            "Connection 'x' cannot be parsed (ValueError). Correct its URI or JSON.",
        ),
        *(
            (error, TransportError, f"Connection 'x' cannot be looked up now ({type(error).__name__}).")
            for error in (OSError("db-pa55"), RuntimeError("db-pa55"), TimeoutError("db-pa55"))
        ),
    ],
    ids=["not-defined", "malformed", "OSError", "RuntimeError", "TimeoutError"],
)
async def test_failed_look_up_gets_its_message(
    error: Exception, kind: type[GrokVideoError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(conn_id: str) -> Any:
        raise error

    def find(conn_id: str) -> Any:
        raise error

    monkeypatch.setattr(async_connection, "NOT_FOUND_PAUSES", ())
    monkeypatch.setattr(async_connection, "_lookups", {})
    monkeypatch.setattr(async_connection, "get_async_connection", look)
    monkeypatch.setattr(async_connection, "BaseHook", SimpleNamespace(get_connection=find))
    with pytest.raises(GrokVideoError) as caught:
        await async_connection.aget_settings("x")
    assert (type(caught.value), str(caught.value)) == (kind, message)
