"""Which files the preview may show, and what it says about a task instance."""

from __future__ import annotations

import json
import posixpath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_grokvideo.plugins.preview.access import (
    Location,
    Record,
    Refused,
    card,
    may_play,
    parse_roots,
    state_of,
    web_url,
)

OPERATOR = "airflow_provider_grokvideo.operators.grokvideo"


def record(
    path: Any = "file:///videos/a/v.mp4", *, module: str = OPERATOR, state: str = "success", **fields: Any
) -> Record:
    result = {"request_id": "r-1", "status": "done", "path": path, "size_bytes": 10, "sha256": "0" * 64}
    return Record("make", -1, "success", module, fields=fields, returned=json.dumps(result), pushed_id='"r-1"')


def granted(path: Any, *roots: str, **kwargs: Any) -> bool:
    places, mistakes = parse_roots(" ".join(roots), "my_dag")
    assert not mistakes
    try:
        may_play(record(path, **kwargs), places)
    except Refused:
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
def test_only_what_lies_below_a_root_is_shown(path: Any, roots: list[str], allowed: bool) -> None:
    assert granted(path, *roots) is allowed


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
def test_a_task_may_show_what_lies_in_its_own_output(path: str, fields: dict[str, Any], allowed: bool) -> None:
    assert granted(path, **fields) is allowed


@pytest.mark.parametrize(
    "module", ["", "airflow.providers.standard.operators.python", "airflow_provider_grokvideo_evil.operators", "my_dag"]
)
def test_what_another_operator_has_recorded_is_never_shown(module: str) -> None:
    assert not granted("file:///videos/v.mp4", "file:///", module=module)


@pytest.mark.parametrize("size", [None, 0, -1, True, "10", 1.5])
def test_a_file_of_unknown_size_cannot_be_told_from_another(size: Any) -> None:
    forged = Record(
        "make", -1, "success", OPERATOR, returned={"request_id": "r", "path": "/v/v.mp4", "size_bytes": size}
    )

    with pytest.raises(Refused):
        may_play(forged, [Location.parse("/v/")])


@given(st.text("./%2eEfF\\:ab", max_size=40))
def test_whatever_is_granted_lies_below_the_root(rest: str) -> None:
    path = f"/videos/{rest}"
    if granted(path, "file:///videos/"):
        assert posixpath.normpath(path).startswith("/videos/")


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(uri: str) -> None:
    try:
        location = Location.parse(uri)
    except Refused:
        return
    assert ".." not in location.parts


def test_a_root_that_is_none_is_named_and_left_out() -> None:
    places, mistakes = parse_roots("videos, file:///a/\n s3://b/../c", "my_dag")

    assert places == [Location("file", None, "", ("a",), True)]
    assert mistakes == ["videos", "s3://b/../c"]


@pytest.mark.parametrize(
    ("airflow_state", "result", "pushed", "state"),
    [
        (None, None, None, "waiting"),
        ("queued", None, None, "waiting"),
        ("running", None, None, "submitting"),
        ("deferred", None, None, "submitting"),
        ("deferred", None, '"r-1"', "rendering"),
        ("running", None, '"r-1"', "rendering"),
        ("scheduled", None, '"r-1"', "rendering"),
        ("success", {"request_id": "r-1", "status": "done"}, '"r-1"', "done"),
        ("success", {"request_id": "r-1", "status": "pending"}, '"r-1"', "submitted"),
        ("failed", None, '"r-1"', "failed"),
        ("up_for_retry", None, '"r-1"', "retrying"),
        ("upstream_failed", None, None, "skipped"),
        ("skipped", None, None, "skipped"),
        ("removed", None, None, "skipped"),
    ],
)
def test_states(airflow_state: str | None, result: Any, pushed: Any, state: str) -> None:
    found = Record("make", -1, airflow_state, OPERATOR, returned=result and json.dumps(result), pushed_id=pushed)

    assert state_of(found) == state
    assert card(found, [])["state"] == state


def test_a_sensor_knows_its_request_from_its_argument() -> None:
    assert Record("wait", -1, "deferred", OPERATOR, fields={"request_id": "r-9"}).request_id == "r-9"


@pytest.mark.parametrize("returned", ["no json", "[1]", '{"request_id": 5}', None, 3, '"text"', "{}"])
def test_what_is_no_result_object_is_no_result(returned: Any) -> None:
    found = Record("make", -1, "success", OPERATOR, returned=returned)

    assert found.result is None
    assert card(found, [])["video"] is None


def test_a_remote_video_only_where_nothing_was_landed() -> None:
    result = {"request_id": "r", "status": "done", "video_url": "https://cdn.example/v.mp4", "path": None}
    remote = Record("make", -1, "success", OPERATOR, returned=result)
    refused = Record("make", -1, "success", OPERATOR, returned={**result, "path": "/etc/passwd", "size_bytes": 3})

    assert card(remote, [])["video"] == {"kind": "remote", "url": "https://cdn.example/v.mp4"}
    assert card(refused, [])["video"] is None
    assert "preview_roots" in card(refused, [])["note"]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:video/mp4;base64,AA", "file:///etc/passwd", "", None, 7, "//x"]
)
def test_a_browser_loads_nothing_but_web_addresses(url: Any) -> None:
    assert web_url(url) is None


def test_a_card_holds_nothing_but_plain_values() -> None:
    odd = {"request_id": "r", "status": "done", "model": {"a": 1}, "duration": "x", "cost_usd": 3, "size_bytes": [1]}
    shown = card(Record("make", 3, "success", OPERATOR, fields={"prompt": ["p"]}, returned=odd), [])

    assert [shown[key] for key in ("model", "duration", "cost_usd", "size_bytes", "prompt")] == [None] * 5
    json.dumps(shown)


def test_a_prompt_that_a_function_returns_is_not_known() -> None:
    decorated = Record("make", -1, "running", OPERATOR, fields={"prompt": "DYNAMIC (set during execution)"})

    assert card(decorated, [])["prompt"] is None


@pytest.mark.parametrize(
    ("status", "airflow_state", "state", "note"),
    [
        ("moderated", "failed", "moderated", "No."),
        ("expired", "failed", "expired", "No."),
        ("failed", "failed", "failed", "No."),
        ("failed", "up_for_retry", "retrying", "No."),
        # Of an attempt before the one that succeeded.
        ("failed", "success", "done", None),
    ],
)
def test_what_the_api_said_of_a_failure_is_shown(status: str, airflow_state: str, state: str, note: str | None) -> None:
    outcome = {"request_id": "r", "status": status, "error_message": "No.", "cost_usd": "0.4"}

    shown = card(Record("make", -1, airflow_state, OPERATOR, outcome=json.dumps(outcome)), [])

    assert (shown["state"], shown["note"]) == (state, note)
    assert shown["cost_usd"] == (None if note is None else "0.4")
