"""How to reach a URL: through which proxy, and trusting which certificates. Decisions only.

The worker and the triggerer use the same answer, and let neither requests nor aiohttp read the environment again. The
rules are those of requests, which are those of curl, and where requests ignores an entry of ``NO_PROXY`` (ports of
addresses, IPv6 in brackets or as CIDR, ``*`` within a name), the entry means what it says.
"""

from __future__ import annotations

import base64
import importlib.util
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from airflow_provider_grokvideo.exceptions import InvalidRequestError

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080, "socks4a": 1080}
_SOCKS_MODULES = ("socks", "aiohttp_socks")
"""What the worker (PySocks) and the triggerer need for a SOCKS proxy: the distribution's extra ``socks``."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Proxy:
    """A proxy, with everything that a client needs to use it.

    :param scheme: ``http``, ``https``, ``socks5``, ``socks5h``, ``socks4`` or ``socks4a``.
    :param host: a name or an address, IPv6 without brackets.
    """

    scheme: str
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The URL without user and password; it may be shown."""
        return f"{self.scheme}://{self._netloc}"

    @property
    def secret_url(self) -> str:
        """The URL with user and password."""
        if not self.headers:
            return self.url
        return f"{self.scheme}://{quote(self.username, safe='')}:{quote(self.password, safe='')}@{self._netloc}"

    @property
    def headers(self) -> dict[str, str]:
        """The headers that an HTTP proxy wants to see."""
        if not self.username and not self.password:
            return {}
        words = f"{self.username}:{self.password}"
        try:
            encoded = words.encode("latin-1")
        except UnicodeEncodeError:
            encoded = words.encode()
        return {"Proxy-Authorization": f"Basic {base64.b64encode(encoded).decode()}"}

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS instead of HTTP."""
        return self.scheme.startswith("socks")

    @property
    def is_resolver(self) -> bool:
        """Whether host names are resolved by the proxy (SOCKS only)."""
        return self.scheme in {"socks5h", "socks4a"}

    @property
    def _netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Route:
    """How to reach a URL.

    :param proxy: ``None`` to connect directly.
    :param verify: whether to check TLS certificates, or the CA file or directory to check them against. ``True`` stands
        for certifi's.
    :param verify_source: what named that CA file: a connection's field, or an environment variable.
    """

    proxy: Proxy | None
    verify: bool | str
    verify_source: str


def resolve_route(url: str, *, proxy: str | None, verify: bool | str, environ: Mapping[str, str]) -> Route:
    """Return how to reach a URL.

    :param proxy: the connection's, which wins over the environment's and over ``NO_PROXY``.
    :param verify: the connection's.
    :param environ: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in lower case or upper case, lower
        case first, and ``REQUESTS_CA_BUNDLE``, then ``CURL_CA_BUNDLE``, which count where ``verify`` is ``True``.
        ``SSL_CERT_FILE`` is not read, as requests does not read it.
    :raises InvalidRequestError: the proxy's URL cannot be used.
    """
    source = "verify"
    if verify is True:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            if environ.get(name):
                verify, source = environ[name], name
                break
    return Route(_proxy_for(url, proxy, environ), verify, source)


def check_socks_support(proxy: Proxy | None) -> None:
    """Check that a SOCKS proxy can be used, by the worker and by a triggerer with the same packages.

    :raises InvalidRequestError: the extra ``socks`` is not installed, or the login cannot be sent by both.
    """
    if proxy is None or not proxy.is_socks:
        return
    if not (proxy.username + proxy.password).isascii():
        raise InvalidRequestError(
            f"The user or password of the proxy {proxy.url} is not ASCII. Nothing was sent. "
            "Use ASCII only: workers and triggerers encode other characters differently."
        )
    if not all(map(importlib.util.find_spec, _SOCKS_MODULES)):
        raise InvalidRequestError(
            f"The proxy {proxy.url} speaks SOCKS, which needs more packages. Nothing was sent. "
            "Install airflow-provider-grokvideo[socks] on workers and triggerers."
        )


def parse_proxy(value: str, source: str) -> Proxy:
    """Return the proxy that a text names; one without a scheme speaks HTTP.

    :param source: the field or variable, for the message.
    :raises InvalidRequestError: it is no proxy's URL. The message does not show it: it may hold a password.
    """
    text = value.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text.removeprefix('//')}")
        scheme, host = parts.scheme.lower(), parts.hostname
        port = _DEFAULT_PORTS.get(scheme) if parts.port is None else parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if not host or not port or scheme not in _DEFAULT_PORTS or re.search(r"[\s\x00-\x1f\x7f]", host):
        raise InvalidRequestError(
            f"The proxy in {source} is not valid. Nothing was sent. Use a URL such as http://host:port with one of the "
            f"schemes {', '.join(_DEFAULT_PORTS)}. Percent-encode special characters of a password."
        )
    return Proxy(scheme, host, port, unquote(parts.username or ""), unquote(parts.password or ""))


def is_bypassed(url: str, no_proxy: str) -> bool:
    """Return whether ``NO_PROXY`` exempts a URL's host from the environment's proxies.

    :param no_proxy: entries separated by commas: ``*`` for all; a name, for itself and everything below, with or
        without a leading dot; a name or an address with ``*`` in it; an address; a network as CIDR. Each may end in a
        port.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme.lower(), 0)
    entries = "".join(no_proxy.lower().split()).split(",")
    return any(_matches(entry, host, port) for entry in entries if entry)


def _proxy_for(url: str, proxy: str | None, environ: Mapping[str, str]) -> Proxy | None:
    if proxy:
        return parse_proxy(proxy, "the connection's field proxy")
    scheme = urlsplit(url).scheme.lower()
    variable = _variable(scheme, environ) or _variable("all", environ)
    if variable is None or is_bypassed(url, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    return parse_proxy(environ[variable], variable)


def _variable(kind: str, environ: Mapping[str, str]) -> str | None:
    """Return the name of the variable that holds the proxy: an empty one in lower case hides the one in upper case."""
    lower, upper = f"{kind}_proxy", f"{kind.upper()}_PROXY"
    if lower in environ:
        return lower if environ[lower].strip() else None
    if upper == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        return None  # Under CGI, a request's header "Proxy" becomes this variable (CVE-2016-1000110).
    return upper if environ.get(upper, "").strip() else None


def _matches(entry: str, host: str, port: int) -> bool:
    address = _address(host)
    if "/" in entry:
        return address is not None and _contains(entry, address)
    name, entry_port = _split_port(entry)
    if entry_port and entry_port != str(port):
        return False
    if "*" in name:
        return re.fullmatch(re.escape(name).replace(r"\*", ".*"), host) is not None
    if address is not None:
        return _address(name) == address
    name = name.strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _contains(network: str, address: _Address) -> bool:
    try:
        return address in ipaddress.ip_network(re.sub(r"[\[\]]", "", network), strict=False)
    except ValueError:
        return False
