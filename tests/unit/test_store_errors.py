"""Errors of stores: whether a retry can help, and their messages."""

from __future__ import annotations

import contextlib
import errno
import ftplib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_grokvideo.store_errors import can_pass, describe, package_for


def raised_by(call: Callable[[], Any]) -> BaseException:
    """Return what a call raises."""
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def s3_error(code: str, status: int) -> BaseException:
    """Return an error of S3 as s3fs raises it."""
    exceptions = pytest.importorskip("botocore.exceptions")
    translate = pytest.importorskip("s3fs.errors").translate_boto_error
    answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate(exceptions.ClientError(answer, "PutObject"))


def botocore_error(name: str, **details: Any) -> BaseException:
    """Return an error of botocore that comes without an answer."""
    return getattr(pytest.importorskip("botocore.exceptions"), name)(**details)


@pytest.mark.parametrize(
    ("code", "status", "passes"),
    [
        ("SlowDown", 503, True),
        ("InternalError", 500, True),
        ("ServiceUnavailable", 503, True),
        ("502", 502, True),
        ("RequestTimeout", 400, True),
        ("Throttling", 400, True),
        ("TooManyRequests", 429, True),
        ("OperationAborted", 409, True),
        ("ExpiredToken", 400, True),
        ("AccessDenied", 403, False),
        ("403", 403, False),
        ("NoSuchBucket", 404, False),
        ("NoSuchKey", 404, False),
        ("KeyTooLongError", 400, False),
        ("InvalidBucketName", 400, False),
        ("InvalidAccessKeyId", 403, False),
        ("SignatureDoesNotMatch", 403, False),
        ("PermanentRedirect", 301, False),
        ("SomethingNew", 400, False),
        ("SomethingNew", 599, True),
    ],
)
def test_s3_answer_decides_about_the_retry(code: str, status: int, passes: bool) -> None:
    assert can_pass(s3_error(code, status)) is passes


@pytest.mark.parametrize(
    ("name", "details", "passes"),
    [
        ("EndpointConnectionError", {"endpoint_url": "http://s3"}, True),
        ("ConnectTimeoutError", {"endpoint_url": "http://s3"}, True),
        ("ReadTimeoutError", {"endpoint_url": "http://s3"}, True),
        ("ConnectionClosedError", {"endpoint_url": "http://s3"}, True),
        ("HTTPClientError", {"error": "reset"}, True),
        ("ResponseStreamingError", {"error": "cut"}, True),
        ("NoCredentialsError", {}, False),
        ("ParamValidationError", {"report": "Invalid bucket name"}, False),
        ("ProfileNotFound", {"profile": "p"}, False),
    ],
)
def test_s3_error_without_answer_decides_about_the_retry(name: str, details: dict[str, Any], passes: bool) -> None:
    assert can_pass(botocore_error(name, **details)) is passes


OTHERS: dict[str, tuple[Callable[[], BaseException], bool]] = {
    "timeout": (lambda: TimeoutError("timed out"), True),
    "reset": (lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), True),
    "refused": (lambda: raised_by(lambda: socket.create_connection(("127.0.0.1", 1), 1)), True),
    "dns": (lambda: socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), True),
    "full": (lambda: OSError(errno.ENOSPC, "No space left on device"), True),
    "quota": (lambda: OSError(errno.EDQUOT, "Disk quota exceeded"), True),
    "io": (lambda: OSError(errno.EIO, "Input/output error"), True),
    "stale": (lambda: OSError(errno.ESTALE, "Stale file handle"), True),
    "busy": (lambda: OSError(errno.EBUSY, "Device or resource busy"), True),
    "unknown": (lambda: RuntimeError("something of the store's own"), True),
    "no-json": (lambda: raised_by(lambda: json.loads("<html>")), True),
    "requests-503": (lambda: raised_by(lambda: _response(503).raise_for_status()), True),
    "requests-403": (lambda: raised_by(lambda: _response(403).raise_for_status()), False),
    "aiohttp-500": (lambda: aiohttp.ClientResponseError(None, (), status=500), True),
    "aiohttp-404": (lambda: aiohttp.ClientResponseError(None, (), status=404), False),
    "aiohttp-lost": (aiohttp.ServerDisconnectedError, True),
    "ftp-permanent": (lambda: ftplib.error_perm("550 Permission denied"), False),
    "ftp-passing": (lambda: ftplib.error_temp("421 Too many connections"), True),
    "read-only": (lambda: OSError(errno.EROFS, "Read-only file system"), False),
    "nul": (lambda: raised_by(lambda: Path("/tmp/a\0b").read_bytes()), False),
    "surrogate": (lambda: raised_by("\ud800".encode), False),
    "package": (lambda: raised_by(lambda: __import__("no_such_package")), False),
    "not-implemented": (NotImplementedError, False),
    "connection": (lambda: AirflowNotFoundException("The conn_id `x` isn't defined"), False),
    "scheme": (lambda: raised_by(lambda: ObjectStoragePath("nonsense://bucket/x").fs), False),
    "memory-missing": (lambda: raised_by(lambda: MemoryFileSystem().open("/no/such/file")), False),
}


def _response(status: int) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    return response


@pytest.mark.parametrize("name", OTHERS)
def test_store_error_decides_about_the_retry(name: str) -> None:
    make, passes = OTHERS[name]
    assert can_pass(make()) is passes


def test_cause_of_an_error_counts() -> None:
    def fail(cause: BaseException) -> None:
        raise RuntimeError("Failed to upload block") from cause

    assert can_pass(raised_by(lambda: fail(s3_error("SlowDown", 503))))
    assert not can_pass(raised_by(lambda: fail(s3_error("AccessDenied", 403))))
    assert not can_pass(raised_by(lambda: fail(PermissionError("no"))))


def test_circular_cause_ends() -> None:
    error = RuntimeError("round")
    error.__cause__ = error
    assert can_pass(error)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda folder: (folder / "none").open(), "no such file on this worker"),
        (lambda folder: folder.open(), "it is a directory"),
        (lambda folder: (folder / "file" / "x").open(), "a part of the path is a file, not a directory"),
        (lambda folder: (folder / ("x" * 256)).open(), "the name is too long for this store"),
        (lambda folder: (folder / "a\0b").open(), "ValueError: embedded null byte"),
    ],
)
def test_local_disk_error_is_final_and_clear(call: Callable[[Path], Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    error = raised_by(lambda: call(tmp_path))
    assert not can_pass(error)
    assert describe(error, is_local=True) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError("Access Denied"), "Permission denied (Access Denied)"),
        (FileNotFoundError("The specified bucket does not exist"), "not found (The specified bucket does not exist)"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (TimeoutError(), "TimeoutError"),
        (RuntimeError("a\n  b"), "RuntimeError: a b"),
        (RuntimeError("x" * 1000), f"RuntimeError: {'x' * 300}…"),
    ],
)
def test_error_is_described_in_one_short_line(error: Exception, words: str) -> None:
    assert describe(error) == words


def test_missing_store_package_is_named() -> None:
    assert package_for("S3") == "apache-airflow-providers-amazon[s3fs]"
    assert package_for("nonsense") is None


def test_unreachable_s3_allows_a_retry() -> None:
    s3fs = pytest.importorskip("s3fs")
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    filesystem = s3fs.S3FileSystem(
        key="k",
        secret="s",
        client_kwargs={"endpoint_url": f"http://127.0.0.1:{port}"},
        config_kwargs={"retries": {"max_attempts": 0}},
    )
    filesystem.retries = 1
    assert can_pass(raised_by(lambda: filesystem.cat_file("bucket/key")))
