"""What the preview may show: pure decisions about what a task has recorded. Nothing is opened here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote

from airflow_provider_grokvideo.api.text import clean, is_video_url, shown_id

OWN_PACKAGE = "airflow_provider_grokvideo."
"""Only what tasks of this provider have recorded is shown."""

_ALIASES = {"": "file", "local": "file", "s3a": "s3", "s3n": "s3", "gcs": "gs"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*\Z", re.IGNORECASE)
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\\\\]|::")
_MOST = 2**53
"""No size or time is larger, and no number that a browser can hold exactly."""
_LONGEST_TEXT = 10_000
_PICO_USD = Decimal(10) ** -12
_LATER = "DYNAMIC (set during execution)"
"""What Airflow stores as the prompt of a decorated task, whose function returns it."""
_UNDER_WAY = {None, "scheduled", "queued", "running", "restarting", "deferred", "up_for_reschedule"}
_ENDED_BADLY = {"failed": "failed", "up_for_retry": "retrying", "upstream_failed": "skipped", "skipped": "skipped"}


class Refused(Exception):
    """The file may not be shown; says why."""


@dataclass(frozen=True)
class Location:
    """A file or directory on some store, taken apart without asking the store.

    :param conn_id: the Airflow connection that the URI names.
    :param bucket: empty on the local disk.
    :param parts: the path's segments.
    :param is_directory: whether the URI ends in a slash.
    """

    scheme: str
    conn_id: str | None
    bucket: str
    parts: tuple[str, ...]
    is_directory: bool = False

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Take a URI apart.

        :raises Refused: it is none, or could mean another place to some store than its letters say.
        """
        if _FORBIDDEN.search(uri):
            raise Refused("the path holds characters that no path of this provider has")
        scheme, separator, rest = uri.partition("://")
        if not separator:
            scheme, rest = "", uri
        elif not _SCHEME.match(scheme):
            raise Refused("the path is no URI")
        scheme = _ALIASES.get(scheme.lower(), scheme.lower())
        authority, slash, path = rest.partition("/")
        conn_id, _, bucket = authority.rpartition("@")
        if scheme == "file" and (bucket or not slash):
            raise Refused("the path is not absolute")
        if scheme != "file" and not bucket:
            raise Refused("the path names no bucket")
        parts = tuple(path.split("/"))
        is_directory = parts[-1] == ""
        parts = tuple(filter(None, parts)) if scheme == "file" else parts[: -1 if is_directory else None]
        if any(unquote(part) in {"", ".", ".."} or "/" in unquote(part) for part in parts):
            raise Refused("the path does not say plainly where it leads")
        return cls(scheme, conn_id or None, bucket, parts, is_directory)

    def holds(self, other: Location) -> bool:
        """Whether the other is a file below this one."""
        same_store = (self.scheme, self.bucket) == (other.scheme, other.bucket)
        below = len(other.parts) > len(self.parts) and other.parts[: len(self.parts)] == self.parts
        return same_store and below and not other.is_directory

    def opens_as(self, other: Location) -> bool:
        """Return whether both are opened through the same Airflow connection; the local disk needs none.

        An XCom must not choose the connection: whoever may edit one would use every store that the API server can.
        """
        return self.scheme == "file" or self.conn_id == other.conn_id

    def admits(self, other: Location) -> bool:
        """Whether a task that was told to write here may have written the other."""
        return self.holds(other) if self.is_directory else self == other


@dataclass(frozen=True)
class Grant:
    """A file that may be shown.

    :param uri: opens it with ``ObjectStoragePath``.
    :param within: the place that allows it; the file itself where the task names one.
    :param size_bytes: as recorded; a file of another size is another file.
    :param etag: changes with the content.
    """

    uri: str
    location: Location
    within: Location
    size_bytes: int
    etag: str


@dataclass(frozen=True)
class Record:
    """What Airflow knows of one task instance.

    :param module: where the task's operator class comes from.
    :param fields: the operator's arguments as this task instance has rendered them.
    :param returned: the XCom ``return_value`` as it is stored.
    :param pushed_id: the XCom ``request_id`` as it is stored.
    :param outcome: the XCom ``outcome`` of a generation that ended without a video, as it is stored.
    """

    task_id: str
    map_index: int
    state: str | None
    module: str
    label: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    returned: Any = None
    pushed_id: Any = None
    outcome: Any = None
    try_number: int = 0

    @property
    def is_own(self) -> bool:
        """Whether a task of this provider wrote this."""
        return self.module.startswith(OWN_PACKAGE)

    @property
    def result(self) -> Mapping[str, Any] | None:
        """The result object, where there is one."""
        value = _loaded(self.returned)
        return value if isinstance(value, dict) and isinstance(value.get("request_id"), str) else None

    @property
    def verdict(self) -> Mapping[str, Any]:
        """What the API said of a generation that ended without a video; empty where it did not."""
        value = _loaded(self.outcome)
        return value if self.state in _ENDED_BADLY and isinstance(value, dict) else {}

    @property
    def request_id(self) -> str | None:
        """The generation, as soon as it is known. A sensor has it from the start."""
        found = self.result["request_id"] if self.result else _loaded(self.pushed_id)
        return _text(found) or _text(self.fields.get("request_id"))


def may_play(record: Record, roots: Sequence[Location]) -> Grant:
    """The landed file, if it may be shown.

    :param roots: below which everything may be shown.
    :raises Refused: it may not; says why.
    """
    result = record.result
    if not record.is_own or result is None or not isinstance(result.get("path"), str):
        raise Refused("this task has landed no video")
    size, digest = result.get("size_bytes"), result.get("sha256")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= _MOST:
        raise Refused("the task has not recorded the size of its video")
    uri = result["path"]
    location = Location.parse(uri)
    etag = f'"{digest}"' if isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest) else f'"{size:x}"'
    holding = [root for root in roots if root.holds(location)]
    for within in holding:
        if within.opens_as(location):
            return Grant(uri, location, within, size, etag)
    own = _own_output(record)
    if own is not None and own.opens_as(location) and own.admits(location):
        return Grant(uri, location, own, size, etag)
    if holding:
        raise Refused("the file was saved through another connection than the one that [grokvideo] preview_roots names")
    raise Refused("the file lies neither in the task's output_path nor below [grokvideo] preview_roots")


def card(record: Record, roots: Sequence[Location]) -> dict[str, Any]:
    """What the page shows of a task instance: JSON primitives."""
    result = record.result or {}
    state = state_of(record)
    video, note = None, clean(_text(record.verdict.get("error_message")) or "") or None
    if isinstance(result.get("path"), str):
        try:
            may_play(record, roots)
            video = {"kind": "landed"}
        except Refused as refusal:
            note = f"Not shown: {refusal}."
    elif state == "done" and (url := web_url(result.get("video_url"))):
        video = {"kind": "remote", "url": url}
    return {
        "task_id": record.task_id,
        "map_index": record.map_index,
        "label": _shown(record.label),
        "airflow_state": record.state,
        "try_number": record.try_number,
        "state": state,
        "prompt": None if record.fields.get("prompt") == _LATER else _shown(record.fields.get("prompt")),
        "model": _shown(result.get("model")) or _shown(record.fields.get("model")),
        "duration": _number(result.get("duration")) or _number(record.fields.get("duration")),
        "cost_usd": _money(result.get("cost_usd")) or _money(record.verdict.get("cost_usd")),
        "size_bytes": _number(result.get("size_bytes")),
        "elapsed_seconds": _number(result.get("elapsed_seconds")),
        "request_id": record.request_id and shown_id(record.request_id),
        "path": _shown(result.get("path")),
        "video": video,
        "note": note,
    }


def state_of(record: Record) -> str:
    """How the video is doing.

    ``waiting, submitting, rendering, submitted, done, failed, moderated, expired, retrying`` or ``skipped``.
    """
    if record.state == "success":
        return "submitted" if record.result and record.result.get("status") == "pending" else "done"
    if record.state in _UNDER_WAY:
        if record.request_id:
            return "rendering"
        return "submitting" if record.state in {"running", "deferred"} else "waiting"
    ended = _ENDED_BADLY.get(record.state or "", "skipped")
    verdict = record.verdict.get("status")
    return str(verdict) if ended == "failed" and verdict in ("moderated", "expired") else ended


def parse_roots(configured: str | None, dag_id: str) -> tuple[list[Location], list[str]]:
    """The places that ``[grokvideo] preview_roots`` names for a DAG, and what in it names none."""
    places: list[Location] = []
    mistakes: list[str] = []
    for root in filter(None, re.split(r"[,\s]+", configured or "")):
        try:
            places.append(Location.parse(root.replace("{dag_id}", dag_id)))
        except Refused:
            mistakes.append(root)
    return places, mistakes


def web_url(value: object) -> str | None:
    """Return the value, if a browser may load it as a video."""
    return value if isinstance(value, str) and is_video_url(value) else None


def _own_output(record: Record) -> Location | None:
    """Where the task was told to land its video."""
    output = _text(record.fields.get("output_path"))
    if output is None:
        return None
    place = Location.parse(output)
    if place.conn_id is None:
        conn_id = _text(record.fields.get("output_conn_id"))
        place = Location(place.scheme, conn_id, place.bucket, place.parts, place.is_directory)
    return place


def _loaded(value: Any) -> Any:
    """An XCom as core stores it: JSON in a text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _shown(value: Any) -> str | None:
    """Return a text that a page can hold: anybody may have written it, half a surrogate pair included."""
    text = _text(value)
    return text and text[:_LONGEST_TEXT].encode(errors="replace").decode()


def _number(value: Any) -> int | float | None:
    """Return a number that JSON and a browser can hold."""
    if isinstance(value, str) and len(value) < 16 and value.isascii() and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -_MOST <= value <= _MOST else None


def _money(value: Any) -> str | None:
    """Return an amount of US dollars, as a decimal text without an exponent, to the picodollar."""
    try:
        amount = Decimal(value) if isinstance(value, str) and len(value) < 400 else Decimal("NaN")
        return format(amount.quantize(_PICO_USD).normalize(), "f") if 0 <= amount < _MOST else None
    except InvalidOperation:
        return None
