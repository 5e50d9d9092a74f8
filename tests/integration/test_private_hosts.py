"""Videos are not fetched from private hosts where the connection forbids it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.api import connections, public_hosts
from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from tests.support.video_hosts import SECRET, VIDEO, Host, refused, save, says

PRIVATE = [
    "127.0.0.1", "127.1", "0x7f000001", "2130706433", "localhost", "a.localhost", "localhost.", "0.0.0.0", "10.0.0.1",
    "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0",
    "fd00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("name", PRIVATE)
def test_private_address_is_recognized(name: str) -> None:
    assert not public_hosts.may_be_public(name)


@pytest.mark.parametrize("name", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101", "a.example"])
def test_public_address_is_recognized(name: str) -> None:
    assert public_hosts.may_be_public(name)


def answer_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let the resolver give these addresses, and return the names that it is asked for."""
    asked: list[str] = []

    def getaddrinfo(name: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(name)
        known = [name] if name[0].isdigit() else addresses
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_private_hosts_are_allowed_by_default(host: Host, tmp_path: Path) -> None:
    host.answers = [says()]
    assert save(host.url, tmp_path) == VIDEO


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "video.example"])
def test_private_host_gets_no_connection(
    name: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_with(monkeypatch, "127.0.0.1", "10.0.0.1")
    why = refused(f"http://{name}:{host.port}/v.mp4?{SECRET}", tmp_path, allow_private_hosts=False)
    assert "allow_private_hosts" in why
    assert host.connections == 0


def test_only_public_addresses_are_connected_to(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer_with(monkeypatch, "127.0.0.1", "1.1.1.1")
    connected: list[str] = []

    def refuse(_: Any, address: tuple[str, int]) -> Any:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(connections._WatchedConnection, "_target", refuse)
    refused(f"http://video.example:{host.port}/v.mp4?{SECRET}", tmp_path, allow_private_hosts=False)
    assert connected == ["1.1.1.1"]
    # One look-up: what was checked is what is connected to.
    assert asked == ["video.example"]


def test_redirect_to_a_private_host_is_refused(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections._WatchedConnection, "_target", lambda *_: ("127.0.0.1", host.port))
    answer_with(monkeypatch, "1.1.1.1")
    for target in (f"http://169.254.169.254:{host.port}/", "http://[::1]/x", "http://127.1/x"):
        before = host.connections
        host.answers = [says("302 Found", b"", Location=target), says()]
        why = refused(f"http://video.example/v.mp4?{SECRET}", tmp_path, allow_private_hosts=False)
        assert "allow_private_hosts" in why
        assert host.connections == before + 1
    host.answers = [says("302 Found", b"", Location="http://other.example/x"), says()]
    assert save("http://video.example/v.mp4", tmp_path, allow_private_hosts=False) == VIDEO


def test_private_proxy_is_allowed(host: Host, tmp_path: Path) -> None:
    host.answers = [says()]
    proxy = {"proxy": f"http://127.0.0.1:{host.port}", "allow_private_hosts": False}
    assert save("http://video.example/v.mp4", tmp_path, **proxy) == VIDEO
    (tmp_path / "v.mp4").unlink()
    assert "allow_private_hosts" in refused("http://169.254.169.254/x", tmp_path, **proxy)
    assert host.connections == 1


@pytest.mark.parametrize(
    ("given", "allowed"), [(False, False), ("false", False), (True, True), ("True", True), (None, True)]
)
def test_connection_sets_allow_private_hosts(given: object, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def connection(value: object) -> str:
        return json.dumps({"conn_type": "grokvideo", "extra": {"allow_private_hosts": value}})

    monkeypatch.setenv("AIRFLOW_CONN_PRIVATE", connection(given))
    assert GrokVideoHook("private").settings.allow_private_hosts is allowed
    monkeypatch.setenv(
        "AIRFLOW_CONN_WRONG", json.dumps({"conn_type": "grokvideo", "extra": {"allow_private_hosts": "x"}})
    )
    with pytest.raises(InvalidRequestError, match="allow_private_hosts"):
        _ = GrokVideoHook("wrong").settings
