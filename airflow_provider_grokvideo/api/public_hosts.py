"""Connections to public addresses only, for ``allow_private_hosts=false``."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from airflow_provider_grokvideo.api.connections import POOLS
from airflow_provider_grokvideo.exceptions import DownloadError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def may_be_public(host: str) -> bool:
    """Return whether a host is a public address, or a name. Names are not resolved here."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            # Also 127.1 and 0x7f000001, which resolvers accept as addresses.
            address = ipaddress.ip_address(socket.inet_aton(host))
        except (OSError, ValueError):
            return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return address.is_global and not address.is_multicast


def private_host_error(host: str) -> DownloadError:
    """Return the error of a host without a public address."""
    return DownloadError(
        f"the video's host {host!r} has no public address; the connection's allow_private_hosts=false refuses others"
    )


class _PublicAddressesMixin:
    """Connection that ignores private addresses. The name is resolved once, so that no second response can differ."""

    host: str

    def _look_up(self) -> list[Any]:
        found = [entry for entry in super()._look_up() if may_be_public(str(entry[4][0]))]  # type: ignore[misc]
        if not found:
            raise private_host_error(self.host)
        return found


def _public(pool: type[Any]) -> type[Any]:
    connection = type("PublicConnection", (_PublicAddressesMixin, pool.ConnectionCls), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


PUBLIC_POOLS = {scheme: _public(pool) for scheme, pool in POOLS.items()}
"""Pools by scheme, as urllib3's pool manager takes them."""
