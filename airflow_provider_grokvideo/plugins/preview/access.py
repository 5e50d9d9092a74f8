"""Decide which files the preview may play. The functions are pure: they open no file and ask no store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from airflow_provider_grokvideo.plugins.preview.records import TaskRecord, text_or_none

MAX_SIZE = 2**53
"""Bytes. The largest integer that a browser represents exactly; no file is larger."""
_SCHEME_ALIASES = {"": "file", "local": "file", "s3a": "s3", "s3n": "s3", "gcs": "gs"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*\Z", re.IGNORECASE)
# Control characters, lone surrogates, backslashes, and fsspec's separator of chained URLs.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\\\\]|::")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class AccessDenied(Exception):
    """The preview must not play the file. The text says why."""


@dataclass(frozen=True)
class Location:
    """A parsed URI of a file or directory.

    :param conn_id: the Airflow connection in the URI.
    :param bucket: empty on the local disk.
    :param parts: the segments of the path.
    :param is_directory: whether the URI ends with a slash.
    """

    scheme: str
    conn_id: str | None
    bucket: str
    parts: tuple[str, ...]
    is_directory: bool = False

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Parse a URI or a local path.

        :raises AccessDenied: the text is not a URI, or a store could resolve it to a different place.
        """
        if _FORBIDDEN.search(uri):
            raise AccessDenied("the path contains characters that are not allowed")
        scheme, separator, rest = uri.partition("://")
        if not separator:
            scheme, rest = "", uri
        elif not _SCHEME.match(scheme):
            raise AccessDenied("the path is not a URI")
        scheme = _SCHEME_ALIASES.get(scheme.lower(), scheme.lower())
        authority, slash, path = rest.partition("/")
        conn_id, _, bucket = authority.rpartition("@")
        if scheme == "file" and (bucket or not slash):
            raise AccessDenied("the path is not absolute")
        if scheme != "file" and not bucket:
            raise AccessDenied("the path names no bucket")
        parts = tuple(path.split("/"))
        is_directory = parts[-1] == ""
        parts = tuple(filter(None, parts)) if scheme == "file" else parts[: -1 if is_directory else None]
        if any(unquote(part) in {"", ".", ".."} or "/" in unquote(part) for part in parts):
            raise AccessDenied("the path contains empty, relative or encoded segments")
        return cls(scheme, conn_id or None, bucket, parts, is_directory)

    def contains(self, other: Location) -> bool:
        """Return whether the other location is a file below this directory."""
        same_store = (self.scheme, self.bucket) == (other.scheme, other.bucket)
        below = len(other.parts) > len(self.parts) and other.parts[: len(self.parts)] == self.parts
        return same_store and below and not other.is_directory

    def allows(self, other: Location) -> bool:
        """Return whether a task with this ``output_path`` may have written the other location."""
        return self.contains(other) if self.is_directory else self == other

    def uses_connection_of(self, other: Location) -> bool:
        """Return whether both locations use the same Airflow connection. The local disk uses none.

        Without this check, a user who can edit an XCom could choose any connection of the API server.
        """
        return self.scheme == "file" or self.conn_id == other.conn_id


@dataclass(frozen=True)
class AuthorizedFile:
    """A file that the preview may play.

    :param uri: the argument for ``ObjectStoragePath``.
    :param allowed_by: the root or ``output_path`` that allows the file; it may be the file itself.
    :param size_bytes: the recorded size. A file with a different size is not the recorded file.
    :param etag: changes when the content changes.
    """

    uri: str
    location: Location
    allowed_by: Location
    size_bytes: int
    etag: str


def authorize_playback(record: TaskRecord, roots: Sequence[Location]) -> AuthorizedFile:
    """Return the task's saved file if the preview may play it.

    :param roots: directories whose files may all be played.
    :raises AccessDenied: the file must not be played.
    """
    result = record.result
    if not record.is_own or result is None or not isinstance(result.get("path"), str):
        raise AccessDenied("this task has saved no video")
    uri, size, digest = result["path"], result.get("size_bytes"), result.get("sha256")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_SIZE:
        raise AccessDenied("the task has not recorded the size of its video")
    location = Location.parse(uri)
    etag = f'"{digest}"' if isinstance(digest, str) and _SHA256.fullmatch(digest) else f'"{size:x}"'
    matching_roots = [root for root in roots if root.contains(location)]
    for root in matching_roots:
        if root.uses_connection_of(location):
            return AuthorizedFile(uri, location, root, size, etag)
    output = _output_location(record)
    if output is not None and output.uses_connection_of(location) and output.allows(location):
        return AuthorizedFile(uri, location, output, size, etag)
    if matching_roots:
        raise AccessDenied("the file was saved with a different connection than [grokvideo] preview_roots names")
    raise AccessDenied("the file is neither in the task's output_path nor below [grokvideo] preview_roots")


def parse_roots(configured: str | None, dag_id: str) -> tuple[list[Location], list[str]]:
    """Parse ``[grokvideo] preview_roots`` for one DAG.

    :return: the roots, and the entries that cannot be used.
    """
    roots: list[Location] = []
    invalid: list[str] = []
    for entry in filter(None, re.split(r"[,\s]+", configured or "")):
        try:
            roots.append(Location.parse(entry.replace("{dag_id}", dag_id)))
        except AccessDenied:
            invalid.append(entry)
    return roots, invalid


def _output_location(record: TaskRecord) -> Location | None:
    """Return the task's ``output_path``, with its connection."""
    output_path = text_or_none(record.fields.get("output_path"))
    if output_path is None:
        return None
    location = Location.parse(output_path)
    if location.conn_id is not None:
        return location
    return replace(location, conn_id=text_or_none(record.fields.get("output_conn_id")))
