"""What several files use: the sandbox as the API, a host of videos, an S3 store and a TLS certificate."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
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
from tests.support.connections import connection
from tests.support.video_hosts import Host

KEY = "sandbox-key"


@pytest.fixture(scope="module")
def _sandbox():
    with Sandbox(api_key=KEY, render_seconds=0.2) as running:
        yield running


@pytest.fixture
def sandbox(_sandbox, monkeypatch):
    """The API, with no faults armed, behind the connection ``grokvideo_default``."""
    _sandbox.clear_faults()
    monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", connection(_sandbox.base_url, KEY, request_timeout=2))
    yield _sandbox
    _sandbox.clear_faults()


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Return a host of videos that gives the answers of the test, to a single download."""
    monkeypatch.setattr("airflow_provider_grokvideo.utils.retries.ATTEMPTS", 1)
    opened = Host()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """Return an S3 filesystem with the bucket ``bucket``."""
    s3fs = pytest.importorskip("s3fs", minversion="2023.1", reason="a current s3fs is needed to write to S3")
    moto = pytest.importorskip("moto.server", reason="moto's server stands in for S3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        filesystem = s3fs.S3FileSystem(key="k", secret="s", client_kwargs={"endpoint_url": f"http://{host}:{port}"})
        filesystem.mkdir("bucket")
        yield filesystem
    finally:
        server.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Return a CA file that is not trusted by default, and a server's context with its certificate."""
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
        monkeypatch.setenv(f"AIRFLOW_CONN_{hooks.NAME.upper()}", connection(host, password, **extra))
        return GrokVideoHook(hooks.NAME)

    return make


@pytest.fixture
def hook(sandbox: Sandbox, connect: hooks.Connect) -> GrokVideoHook:
    """Return a hook of the sandbox."""
    return connect(sandbox.base_url)
