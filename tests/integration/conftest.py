"""The sandbox as the API, and a server's certificate that nobody trusts unless told to."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support import hooks

KEY = "sandbox-key"


@pytest.fixture(scope="module")
def _sandbox():
    with Sandbox(api_key=KEY, render_seconds=0.2) as running:
        yield running


@pytest.fixture
def sandbox(_sandbox, monkeypatch):
    """The API, with no faults armed, behind the connection ``grokvideo_default``."""
    _sandbox.clear_faults()
    extra = {"request_timeout": 2}
    monkeypatch.setenv(
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT",
        json.dumps({"conn_type": "grokvideo", "host": _sandbox.base_url, "password": KEY, "extra": extra}),
    )
    yield _sandbox
    _sandbox.clear_faults()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Return a CA file that nobody trusts yet, and a server's context with its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    ca_file, key_file = folder / "ca.pem", folder / "key.pem"
    ca_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    return ca_file, context


@pytest.fixture
def ca_file(certificate: tuple[Path, ssl.SSLContext]) -> str:
    """Return the path of the CA file."""
    return str(certificate[0])


@pytest.fixture
def context(certificate: tuple[Path, ssl.SSLContext]) -> ssl.SSLContext:
    """Return the server's context."""
    return certificate[1]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> hooks.Connect:
    """Return what makes a connection and its hook."""

    def make(host: str, *, password: str | None = hooks.KEY, **extra: Any) -> GrokVideoHook:
        made = {"conn_type": "grokvideo", "host": host, "password": password, "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{hooks.NAME.upper()}", json.dumps(made))
        return GrokVideoHook(hooks.NAME)

    return make


@pytest.fixture
def hook(sandbox: Sandbox, connect: hooks.Connect) -> GrokVideoHook:
    """Return a hook of the sandbox."""
    return connect(sandbox.base_url)
