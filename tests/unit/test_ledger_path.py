"""The path of the ledger file: the same for every attempt of a task instance."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_grokvideo.exceptions import InvalidRequestError
from airflow_provider_grokvideo.ledger_path import is_steady, ledger_directories, steady_prefix

STEADY = [
    None,
    "s3://bucket/videos/",
    "s3://bucket/{{ ds }}/{{ run_id }}.mp4",
    "{{ var.value.root }}/{{ params.campaign }}/",
    "{{ dag_run.conf['folder'] }}/{{ dag_run.logical_date | ds }}/",
    "{{ ti.xcom_pull(task_ids='folder') }}/",
    "{{ ti.task_id }}/{{ task_instance.map_index }}/",
    "{{ macros.ds_add(ds, -1) }}/",
    "{% set day = ds %}s3://bucket/{{ day }}/",
    "s3://bucket/{% if params.draft %}draft{% endif %}/",
]
UNSTEADY = [
    "s3://bucket/try={{ ti.try_number }}/",
    "s3://bucket/try={{ task_instance.try_number }}/",
    "s3://bucket/{{ ti }}/",
    "s3://bucket/{{ ti['start_date'] }}/",
    "s3://bucket/{{ macros.datetime.now() }}/",
    "s3://bucket/{{ macros.uuid.uuid4() }}/",
    "s3://bucket/{{ now() }}/",
    "s3://bucket/{{ [1, 2] | random }}/",
    "s3://bucket/{{ dag_run.start_date }}/",
    "s3://bucket/{{ prev_start_date_success }}/",
    "s3://bucket/{% set t = ti %}{{ t.try_number }}/",
    "s3://bucket/{{ broken /",
]


@pytest.mark.parametrize("template", STEADY)
def test_constant_path_is_recognized(template: str | None) -> None:
    assert is_steady(template)


@pytest.mark.parametrize("template", UNSTEADY)
def test_varying_path_is_recognized(template: str) -> None:
    assert not is_steady(template)


@pytest.mark.parametrize(
    ("template", "prefix"),
    [
        ("s3://bucket/a/try={{ x }}/v.mp4", "s3://bucket/a/"),
        ("s3://bucket/{{ x }}", "s3://bucket/"),
        ("s3://{{ x }}/v.mp4", ""),
        ("{{ x }}/v.mp4", ""),
        ("/data/videos/{% if x %}a{% endif %}", "/data/videos/"),
        ("/{{ x }}/v.mp4", ""),
        ("file:///data/{{ x }}", "file:///data/"),
        ("file:///{{ x }}", ""),
        ("memory://{{ x }}", "memory://"),
    ],
)
def test_constant_prefix_is_found(template: str, prefix: str) -> None:
    assert steady_prefix(template) == prefix


def _directories(**changes: Any) -> list[str]:
    arguments: dict[str, Any] = {
        "output_path": "file:///videos/try=2/",
        "output_template": "file:///videos/try=2/",
        "output_conn_id": None,
        "configured": None,
        "configured_template": None,
        "required": True,
    }
    return [str(directory) for directory in ledger_directories(**{**arguments, **changes})]


def test_ledger_is_beside_the_video() -> None:
    assert _directories() == ["file:///videos/try=2/.grokvideo"]


def test_configured_directory_comes_first() -> None:
    assert _directories(configured="file:///ledger/") == ["file:///ledger/", "file:///videos/try=2/.grokvideo"]


def test_varying_path_has_its_ledger_above() -> None:
    template = "file:///videos/try={{ ti.try_number }}/"
    assert _directories(output_template=template) == ["file:///videos/.grokvideo", "file:///videos/try=2/.grokvideo"]


def test_missing_output_path_has_no_ledger_directory() -> None:
    assert _directories(output_path=None, output_template=None) == []


def test_varying_path_without_a_prefix_is_refused() -> None:
    template = "{{ ti.try_number }}/"
    with pytest.raises(InvalidRequestError, match="Set ledger_path to a directory that stays the same"):
        _directories(output_template=template)
    assert _directories(output_template=template, required=False) == ["file:///videos/try=2/.grokvideo"]


def test_varying_ledger_path_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Use a path without try numbers and times"):
        _directories(configured="file:///ledger/1/", configured_template="file:///ledger/{{ ti.try_number }}/")
