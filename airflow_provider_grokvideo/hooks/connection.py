"""Airflow connection -> settings, prices and ledger path.

DAG files import this module, so its functions import what only a running task needs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import conf

from airflow_provider_grokvideo.api.redaction import invalid_field
from airflow_provider_grokvideo.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_grokvideo.api.models import Prices
    from airflow_provider_grokvideo.api.settings import Settings


def settings_of(connection: Connection) -> Settings:
    """Return the settings that a connection holds, whether it was made by form, CLI, URI or JSON.

    :raises InvalidRequestError: names the field, the value and what to use instead.
    """
    from airflow_provider_grokvideo.api.settings import Settings

    extra = connection.extra_dejson
    with _naming(f"Connection {connection.conn_id!r}"):
        if not isinstance(extra, Mapping):
            raise InvalidRequestError("extra is not valid. Use a JSON object.")
        base_url = _base_url(connection)
        return Settings(
            base_url=base_url,
            api_key=(connection.password or "").strip(),
            model=_text(extra, "model"),
            request_timeout=_positive(extra, "request_timeout", 30.0),
            max_requests_per_second=_positive(extra, "max_requests_per_second", 20.0),
            proxy=_text(extra, "proxy"),
            verify=_verify(extra.get("verify")),
            max_submissions_per_second=_submission_rate(extra, base_url),
            allow_private_hosts=_flag(extra, "allow_private_hosts", True),
            conn_id=connection.conn_id or "",
        )


def undefined_connection(conn_id: str) -> str:
    """Return the message for a connection that does not exist."""
    return f"Connection {conn_id!r} is not defined. Create it, or give all processes the same secrets backend."


def default_model(settings: Settings) -> str:
    """Return the model of requests that name none: the connection's, else the package's."""
    from airflow_provider_grokvideo.api.models import DEFAULT_MODEL

    return settings.model or DEFAULT_MODEL


def ledger_path_of(connection: Connection) -> str | None:
    """Return the directory of ledger files that a connection names.

    :raises InvalidRequestError: it is not a text.
    """
    with _naming(f"Connection {connection.conn_id!r}"):
        return _text(connection.extra_dejson, "ledger_path")


def prices_of(connection: Connection) -> Prices:
    """Return the list prices, overridden by those of a connection or else of the configuration.

    :raises InvalidRequestError: names the place, the model and the unit that is wrong.
    """
    from airflow_provider_grokvideo.api.models import PRICES

    given = connection.extra_dejson.get("prices")
    if given:
        with _naming(f"Connection {connection.conn_id!r}"):
            return _prices(given)
    configured = conf.get("grokvideo", "prices", fallback=None)
    with _naming("[grokvideo] prices"):
        return _prices(configured) if configured else PRICES


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Name the place of a wrong field in its error."""
    try:
        yield
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{place}: {error}") from None


def _prices(given: object) -> Prices:
    from airflow_provider_grokvideo.api.models import read_prices

    try:
        return read_prices(json.loads(given) if isinstance(given, str) else given)
    except json.JSONDecodeError as error:
        raise InvalidRequestError(f"prices are not JSON: {error}. Use a JSON object.") from error


def _base_url(connection: Connection) -> str:
    from airflow_provider_grokvideo.api.settings import COMETAPI_HOST, COMETAPI_URL

    host = (connection.host or "").strip()
    if not host:
        return COMETAPI_URL
    scheme = connection.schema if connection.schema in {"http", "https"} else "https"
    try:
        parts = urlsplit(host if "://" in host else f"{scheme}://{host}")
        netloc = parts.netloc if parts.port or not connection.port else f"{parts.netloc}:{connection.port}"
        usable = parts.scheme in {"http", "https"} and parts.hostname and "@" not in netloc
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in host):
        # The part before an @ may be a password.
        raise InvalidRequestError(
            f"host={host.rpartition('@')[2]!r} is not valid. Use an http(s) URL or a host name, without a user."
        )
    path = parts.path.rstrip("/")
    if not path and connection.schema not in {None, "", "http", "https"}:
        path = f"/{connection.schema.strip('/')}"
    if not path:
        path = "/grok/v1" if parts.hostname == COMETAPI_HOST else "/v1"
    return f"{parts.scheme}://{netloc}{path}"


def _text(extra: Mapping[str, Any], name: str) -> str | None:
    value = extra.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        shown = type(value).__name__ if name == "proxy" else repr(value)  # A proxy may hold a password.
        raise InvalidRequestError(f"{name}={shown} is not valid. Use a text.")
    return value.strip() or None


def _positive(extra: Mapping[str, Any], name: str, default: float) -> float:
    value = extra.get(name)
    if value is None or value == "":
        return default
    try:
        number = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 < number < float("inf"):
        raise invalid_field(name, value, "Use a number above 0.")
    return number


def _submission_rate(extra: Mapping[str, Any], base_url: str) -> float | None:
    """Return how many submissions per second one process may send; xAI allows one."""
    host = urlsplit(base_url).hostname or ""
    rate = _positive(extra, "max_submissions_per_second", 1.0 if f".{host}".endswith(".x.ai") else math.inf)
    return None if rate == math.inf else rate


def _flag(extra: Mapping[str, Any], name: str, default: bool) -> bool:
    value = extra.get(name)
    if value is None or value == "":
        return default
    flag = {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise invalid_field(name, value, "Use true or false.")
    return flag


def _verify(value: object) -> bool | str:
    if value is None or value == "":
        return True
    if isinstance(value, bool):
        return value
    word = value.strip() if isinstance(value, str) else ""
    chosen = {"true": True, "false": False}.get(word.lower(), word)
    if isinstance(chosen, str) and not (chosen and Path(chosen).exists()):
        raise invalid_field("verify", value, "Use true, false or a CA file that exists.")
    return chosen
