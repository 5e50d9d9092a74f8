"""Which files the preview may play."""

from __future__ import annotations

import json
import posixpath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.plugins.preview.access import (
    AccessDenied,
    Location,
    authorize_playback,
    parse_roots,
)
from airflow_provider_grokvideo.plugins.preview.records import TaskRecord

OPERATOR = "airflow_provider_grokvideo.operators.grokvideo"


def is_allowed(path: Any, *roots: str, module: str = OPERATOR, **fields: Any) -> bool:
    """Return whether a task with these arguments, which saved its video at the path, may play it."""
    result = {"request_id": "r-1", "status": "done", "path": path, "size_bytes": 10, "sha256": "0" * 64}
    record = TaskRecord("make", -1, "success", module, fields=fields, return_value_xcom=json.dumps(result))
    parsed, invalid = parse_roots(" ".join(roots), "my_dag")
    assert not invalid
    try:
        authorize_playback(record, parsed)
    except AccessDenied:
        return False
    return True


@pytest.mark.parametrize(
    ("path", "roots", "allowed"),
    [
        ("file:///videos/a/v.mp4", ["file:///videos/"], True),
        ("file:///videos/a/v.mp4", ["/videos"], True),
        ("/videos/a/v.mp4", ["local:///videos"], True),
        ("file:///videos//a/v.mp4", ["file:///videos/"], True),
        ("file:///videos/a/v.mp4", [], False),
        ("file:///videos/a/v.mp4", ["file:///other/", "file:///videos/"], True),
        ("file:///videos/a/v.mp4", ["file:///vid"], False),
        ("file:///videos-private/v.mp4", ["file:///videos"], False),
        ("file:///videos", ["file:///videos"], False),
        ("file:///videos/", ["file:///videos"], False),
        ("file:///videos/../etc/passwd", ["file:///videos/"], False),
        ("file:///videos/a/../../etc/passwd", ["file:///videos/"], False),
        ("file:///videos/./v.mp4", ["file:///videos/"], False),
        ("file:///videos/%2e%2e/etc/passwd", ["file:///videos/"], False),
        ("file:///videos/%2E%2e%2fetc/passwd", ["file:///videos/"], False),
        ("file:///videos/..%2fetc/passwd", ["file:///videos/"], False),
        ("file:///videos/a\\..\\..\\etc", ["file:///videos/"], False),
        ("file:///videos/v.mp4\x00.txt", ["file:///videos/"], False),
        ("file:///videos/v.mp4\n", ["file:///videos/"], False),
        ("file://videos/v.mp4", ["file:///videos/"], False),
        ("file://~/v.mp4", ["file:///"], False),
        ("videos/v.mp4", ["file:///"], False),
        ("", ["file:///"], False),
        (None, ["file:///"], False),
        (["file:///videos/v.mp4"], ["file:///videos/"], False),
        ("simplecache::file:///videos/v.mp4", ["file:///videos/"], False),
        ("file:///videos/x::file:///etc/passwd", ["file:///videos/"], False),
        ("s3://bucket/videos/v.mp4", ["s3://bucket/videos/"], True),
        ("s3://bucket/videos/v.mp4", ["s3://bucket"], True),
        ("s3a://bucket/videos/v.mp4", ["s3://bucket/videos/"], True),
        ("s3://aws@bucket/videos/v.mp4", ["s3://bucket/videos/"], False),
        ("s3://bucket/videos/v.mp4", ["s3://aws@bucket/videos/"], False),
        ("s3://aws@bucket/videos/v.mp4", ["s3://bucket/videos/", "s3://aws@bucket/"], True),
        ("file://aws@/videos/v.mp4", ["file:///videos/"], True),
        ("s3://aws@bucket/videos/v.mp4", ["s3://aws@bucket/videos/"], True),
        ("s3://other@bucket/videos/v.mp4", ["s3://aws@bucket/videos/"], False),
        ("s3://bucket2/videos/v.mp4", ["s3://bucket/videos/"], False),
        ("s3://bucket/videos/../secret/v.mp4", ["s3://bucket/videos/"], False),
        ("s3://bucket/videos//v.mp4", ["s3://bucket/videos/"], False),
        ("gs://bucket/videos/v.mp4", ["s3://bucket/videos/"], False),
        ("s3:///videos/v.mp4", ["s3://videos/"], False),
        ("http://169.254.169.254/v.mp4", ["file:///", "s3://bucket"], False),
        ("file:///videos/my_dag/v.mp4", ["file:///videos/{dag_id}/"], True),
        ("file:///videos/other_dag/v.mp4", ["file:///videos/{dag_id}/"], False),
    ],
)
def test_only_files_below_a_root_are_allowed(path: Any, roots: list[str], allowed: bool) -> None:
    assert is_allowed(path, *roots) is allowed


@pytest.mark.parametrize(
    ("path", "fields", "allowed"),
    [
        ("file:///out/v.mp4", {"output_path": "file:///out/"}, True),
        ("file:///out/v.mp4", {"output_path": "/out/"}, True),
        ("file:///out/deep/v.mp4", {"output_path": "file:///out/"}, True),
        ("file:///out/v.mp4", {"output_path": "file:///out/v.mp4"}, True),
        ("file:///out/w.mp4", {"output_path": "file:///out/v.mp4"}, False),
        ("file:///out/v.mp4/w.mp4", {"output_path": "file:///out/v.mp4"}, False),
        ("file:///etc/passwd", {"output_path": "file:///out/"}, False),
        ("file:///out/../etc/passwd", {"output_path": "file:///out/"}, False),
        ("file:///out/v.mp4", {"output_path": None}, False),
        ("file:///out/v.mp4", {"output_path": "{{ nonsense"}, False),
        ("s3://b/k/v.mp4", {"output_path": "s3://b/k/"}, True),
        ("s3://aws@b/k/v.mp4", {"output_path": "s3://b/k/", "output_conn_id": "aws"}, True),
        ("s3://aws@b/k/v.mp4", {"output_path": "s3://aws@b/k/"}, True),
        ("s3://root@b/k/v.mp4", {"output_path": "s3://b/k/", "output_conn_id": "aws"}, False),
        ("s3://root@b/k/v.mp4", {"output_path": "s3://b/k/"}, False),
    ],
)
def test_files_in_the_tasks_output_path_are_allowed(path: str, fields: dict[str, Any], allowed: bool) -> None:
    assert is_allowed(path, **fields) is allowed


@pytest.mark.parametrize(
    "module", ["", "airflow.providers.standard.operators.python", "airflow_provider_grokvideo_evil.operators", "my_dag"]
)
def test_files_of_other_operators_are_denied(module: str) -> None:
    assert not is_allowed("file:///videos/v.mp4", "file:///", module=module)


@pytest.mark.parametrize("size", [None, 0, -1, True, "10", 1.5])
def test_file_of_unknown_size_is_denied(size: Any) -> None:
    forged = TaskRecord(
        "make", -1, "success", OPERATOR, return_value_xcom={"request_id": "r", "path": "/v/v.mp4", "size_bytes": size}
    )

    with pytest.raises(AccessDenied):
        authorize_playback(forged, [Location.parse("/v/")])


@given(st.text("./%2eEfF\\:ab", max_size=40))
def test_any_allowed_path_is_below_the_root(rest: str) -> None:
    path = f"/videos/{rest}"
    if is_allowed(path, "file:///videos/"):
        assert posixpath.normpath(path).startswith("/videos/")


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_denied(uri: str) -> None:
    try:
        location = Location.parse(uri)
    except AccessDenied:
        return
    assert ".." not in location.parts


def test_invalid_roots_are_named_and_ignored() -> None:
    roots, invalid = parse_roots("videos, file:///a/\n s3://b/../c", "my_dag")

    assert roots == [Location("file", None, "", ("a",), True)]
    assert invalid == ["videos", "s3://b/../c"]


def test_xcom_cannot_choose_the_connection() -> None:
    result = {"request_id": "r", "path": "s3://admin@bucket/v.mp4", "size_bytes": 3}
    fields = {"output_path": "s3://bucket/v.mp4"}
    record = TaskRecord("make", -1, "success", OPERATOR, fields=fields, return_value_xcom=result)

    with pytest.raises(AccessDenied, match="output_path"):
        authorize_playback(record, [])
    with pytest.raises(AccessDenied, match="different connection"):
        authorize_playback(record, [Location.parse("s3://bucket/"), Location.parse("s3://team@bucket/")])
    assert authorize_playback(record, [Location.parse("s3://admin@bucket/")]).allowed_by.conn_id == "admin"
