"""Settings of a client: address, key and network options."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

COMETAPI_URL = "https://api.cometapi.com/grok/v1"
COMETAPI_HOST = "api.cometapi.com"


@dataclass(frozen=True)
class Settings:
    """Settings of a client. Equal settings can share one client.

    :param base_url: e.g. ``https://api.cometapi.com/grok/v1``, without a slash at the end.
    :param api_key: the bearer key.
    :param model: the model of requests without one.
    :param request_timeout: maximum seconds of one HTTP exchange.
    :param max_requests_per_second: maximum polls per second of one process.
    :param proxy: URL of a proxy, also for downloads; default: the environment's.
    :param verify: check TLS certificates: yes, no, or against this CA file.
    :param max_submissions_per_second: maximum of one process; ``None`` for no limit.
    :param allow_private_hosts: whether videos may be downloaded from private and link-local addresses.
    :param conn_id: the Airflow connection, for messages.
    """

    base_url: str = COMETAPI_URL
    api_key: str = field(default="", repr=False)
    model: str | None = None
    request_timeout: float = 30.0
    max_requests_per_second: float = 20.0
    proxy: str | None = field(default=None, repr=False)
    verify: bool | str = True
    max_submissions_per_second: float | None = None
    allow_private_hosts: bool = True
    conn_id: str = field(default="", compare=False)

    @property
    def connection(self) -> str:
        """Text that names the connection in messages."""
        return f"connection {self.conn_id!r}" if self.conn_id else "the connection"

    @property
    def is_xai(self) -> bool:
        """Whether this is xAI's own API: every address that is not below ``/grok``."""
        return "/grok/" not in urlsplit(self.base_url).path + "/"
