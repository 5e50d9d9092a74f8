"""The route to a URL, from connection and environment: the same as that of requests."""

from __future__ import annotations

import base64
import os

import pytest
import requests
from requests.utils import select_proxy

from airflow_provider_grokvideo.api.network import Proxy, is_bypassed, parse_proxy, resolve_route
from airflow_provider_grokvideo.exceptions import InvalidRequestError

API = "https://api.x.ai/v1"
PLAIN = "http://api.x.ai/v1"


def route(url: str, environ: dict[str, str], proxy: str | None = None) -> str | None:
    """Return the proxy's URL."""
    found = resolve_route(url, proxy=proxy, verify=True, environ=environ).proxy
    return found and found.url


SAME_AS_REQUESTS = [
    pytest.param(API, {}, None, id="nothing"),
    pytest.param(API, {"HTTPS_PROXY": "http://p:1"}, "http://p:1", id="upper-case"),
    pytest.param(API, {"https_proxy": "http://p:1"}, "http://p:1", id="lower-case"),
    pytest.param(API, {"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1", id="lower-case-first"),
    pytest.param(API, {"https_proxy": "", "HTTPS_PROXY": "http://q:1"}, None, id="empty-lower-case-hides"),
    pytest.param(API, {"https_proxy": "", "ALL_PROXY": "http://q:1"}, "http://q:1", id="empty-leaves-all"),
    pytest.param(API, {"HTTP_PROXY": "http://p:1"}, None, id="other-scheme"),
    pytest.param(PLAIN, {"HTTP_PROXY": "http://p:1"}, "http://p:1", id="plain"),
    pytest.param(PLAIN, {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None, id="under-cgi"),
    pytest.param(API, {"ALL_PROXY": "http://p:1"}, "http://p:1", id="all"),
    pytest.param(PLAIN, {"all_proxy": "http://p:1"}, "http://p:1", id="all-lower-case"),
    pytest.param(API, {"ALL_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://q:1", id="scheme-before-all"),
    pytest.param(API, {"HTTPS_PROXY": "p:1"}, "http://p:1", id="no-scheme"),
    pytest.param(API, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None, id="no-proxy-all"),
    pytest.param(API, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x.ai"}, None, id="no-proxy-below"),
    pytest.param(API, {"HTTPS_PROXY": "http://p:1", "no_proxy": ".x.ai"}, None, id="no-proxy-dot"),
    pytest.param(API, {"ALL_PROXY": "http://p:1", "NO_PROXY": "a.b, API.X.AI"}, None, id="no-proxy-case-and-blank"),
    pytest.param(API, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "i.x.ai,xx.ai,ai.x"}, "http://p:1", id="no-match"),
    pytest.param(
        API,
        {"HTTPS_PROXY": "http://p:1", "no_proxy": "a.b", "NO_PROXY": "x.ai"},
        "http://p:1",
        id="no-proxy-lower-wins",
    ),
    pytest.param(
        "http://10.1.2.3:8080/v1", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, None, id="no-proxy-cidr"
    ),
    pytest.param(
        "http://11.1.2.3/v1", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, "http://p:1", id="outside-cidr"
    ),
    pytest.param("http://10.1.2.3/v1", {"HTTP_PROXY": "p:1", "NO_PROXY": "10.1.2.3"}, None, id="no-proxy-address"),
    pytest.param("http://[fd00::1]/v1", {"HTTP_PROXY": "p:1", "NO_PROXY": "fd00::1"}, None, id="no-proxy-ipv6"),
    pytest.param("http://a.b:81/v1", {"HTTP_PROXY": "p:1", "NO_PROXY": "a.b:81"}, None, id="no-proxy-port"),
    pytest.param("http://a.b:82/v1", {"HTTP_PROXY": "p:1", "NO_PROXY": "a.b:81"}, "http://p:1", id="other-port"),
]


@pytest.mark.parametrize(("url", "environ", "expected"), SAME_AS_REQUESTS)
def test_route_equals_that_of_requests(
    url: str, environ: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert route(url, environ) == expected
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings = requests.Session().merge_environment_settings(url, {}, None, None, None)
    theirs = select_proxy(url, settings["proxies"])
    assert (theirs and parse_proxy(theirs, "x").url) == expected


BYPASS = [
    ("https://api.x.ai/v1", "*.x.ai", True),
    ("https://x.ai/v1", "*.x.ai", False),
    ("https://api.x.ai/v1", "a.b,*", True),
    ("https://api.x.ai/v1", "api.x.ai:443", True),
    ("https://api.x.ai/v1", "api.x.ai:80", False),
    ("https://api.x.ai/v1", ".x.ai:443", True),
    ("https://api.x.ai./v1", "api.x.ai", True),
    ("https://api.x.ai/v1", "..x.ai", True),
    ("https://api.x.ai/v1", ",.,", False),
    ("https://api.x.ai/v1", "10.0.0.0/8,api.x.ai/24", False),
    ("http://192.168.7.9/v1", "192.168.*", True),
    ("http://192.168.7.9/v1", "168.7.9,7.9", False),
    ("http://192.168.7.9:81/v1", "192.168.7.9:81", True),
    ("http://192.168.7.9:81/v1", "192.168.7.9:82", False),
    ("http://192.168.7.9/v1", "192.168.7.0/255.255.255.0", True),
    ("http://192.168.7.9/v1", "192.168.7.77/24", True),
    ("http://192.168.7.9/v1", "fd00::/8", False),
    ("http://[fd00::1]/v1", "[fd00::1]", True),
    ("http://[fd00::1]:81/v1", "[fd00::1]:81", True),
    ("http://[fd00::1]:81/v1", "[fd00::1]:82", False),
    ("http://[fd00::1]/v1", "fd00:0:0::1", True),
    ("http://[fd00::1]/v1", "fd00::/8", True),
    ("http://[fd00::1]/v1", "[fd00::]/8", True),
    ("http://[fe00::1]/v1", "fd00::/8", False),
]


@pytest.mark.parametrize(("url", "no_proxy", "expected"), BYPASS, ids=str)
def test_no_proxy_is_respected(url: str, no_proxy: str, expected: bool) -> None:
    assert is_bypassed(url, no_proxy) is expected


def test_proxy_of_the_connection_has_precedence() -> None:
    environ = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}
    assert route(API, environ, proxy="socks5h://q") == "socks5h://q:1080"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("proxy", Proxy("http", "proxy", 80)),
        ("//proxy:3128/", Proxy("http", "proxy", 3128)),
        ("HTTPS://Proxy", Proxy("https", "proxy", 443)),
        ("socks5://proxy", Proxy("socks5", "proxy", 1080)),
        ("[::1]:3128", Proxy("http", "::1", 3128)),
        ("http://u%40x:p%2F%3A@proxy:1", Proxy("http", "proxy", 1, "u@x", "p/:")),
        ("u:p@proxy:1", Proxy("http", "proxy", 1, "u", "p")),
    ],
)
def test_proxy_is_read(text: str, expected: Proxy) -> None:
    assert parse_proxy(text, "x") == expected
    assert parse_proxy(expected.secret_url, "x") == expected
    assert "@" not in expected.url


@pytest.mark.parametrize(
    ("login", "words"), [("u:p", b"u:p"), ("%C3%A9:p", "é:p".encode("latin-1")), ("%E5%AF%86:p", "密:p".encode())]
)
def test_login_is_encoded_as_by_requests(login: str, words: bytes) -> None:
    headers = parse_proxy(f"http://{login}@proxy:1", "x").headers
    assert headers == {"Proxy-Authorization": f"Basic {base64.b64encode(words).decode()}"}


@pytest.mark.parametrize(
    "text",
    ["ftp://u:s3cret@p:1", "http://", "http://u:s3cret@", "p:99999", "p:s3cret", "http://[::s3cret", "p:0", "a b:1"],
)
@pytest.mark.parametrize("by", ["connection", "environment"])
def test_unusable_proxy_is_refused_without_showing_it(text: str, by: str) -> None:
    with pytest.raises(InvalidRequestError, match="Nothing was sent") as caught:
        if by == "connection":
            route(API, {}, proxy=text)
        else:
            route(API, {"HTTPS_PROXY": text})
    assert ("field proxy" if by == "connection" else "HTTPS_PROXY") in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("verify", "environ", "expected", "source"),
    [
        (True, {}, True, "verify"),
        (True, {"SSL_CERT_FILE": "/s"}, True, "verify"),
        (True, {"CURL_CA_BUNDLE": "/c"}, "/c", "CURL_CA_BUNDLE"),
        (True, {"CURL_CA_BUNDLE": "/c", "REQUESTS_CA_BUNDLE": "/r"}, "/r", "REQUESTS_CA_BUNDLE"),
        (True, {"CURL_CA_BUNDLE": "/c", "REQUESTS_CA_BUNDLE": ""}, "/c", "CURL_CA_BUNDLE"),
        (False, {"REQUESTS_CA_BUNDLE": "/r"}, False, "verify"),
        ("/mine", {"REQUESTS_CA_BUNDLE": "/r"}, "/mine", "verify"),
    ],
)
def test_trusted_certificates(verify: bool | str, environ: dict[str, str], expected: object, source: str) -> None:
    found = resolve_route(API, proxy=None, verify=verify, environ=environ)
    assert (found.verify, found.verify_source) == (expected, source)


def test_repr_holds_no_login() -> None:
    assert "s3cret" not in repr(resolve_route(API, proxy="http://s3cret:s3cret@p:1", verify=True, environ={}))
