"""The plugin loads cheaply in every component of Airflow, and registers the views of the UI."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any

import airflow
import pytest

from airflow_provider_grokvideo import version_compat
from airflow_provider_grokvideo.get_provider_info import get_provider_info
from airflow_provider_grokvideo.operators import grokvideo as operators
from airflow_provider_grokvideo.plugins import preview
from airflow_provider_grokvideo.utils import preview as switch

IS_3_1 = version_compat.AIRFLOW_V_3_1_PLUS


def test_plugin_imports_no_server_and_no_client() -> None:
    code = """
import sys
from airflow.providers.common.compat.sdk import AirflowPlugin
AirflowPlugin
before = set(sys.modules)
import airflow_provider_grokvideo.plugins.preview
print(*sorted(set(sys.modules) - before))
"""
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert set(loaded.splitlines()[-1].split()) <= {
        "airflow_provider_grokvideo",
        "airflow_provider_grokvideo.plugins",
        "airflow_provider_grokvideo.plugins.preview",
        "airflow_provider_grokvideo.utils",
        "airflow_provider_grokvideo.utils.preview",
        "airflow_provider_grokvideo.version_compat",
    }


def test_metadata_and_entry_point_name_the_same_plugin() -> None:
    (named,) = get_provider_info()["plugins"]
    module, _, name = named["plugin-class"].rpartition(".")

    assert getattr(importlib.import_module(module), name) is preview.GrokVideoPreviewPlugin
    assert named["name"] == preview.GrokVideoPreviewPlugin.name
    for entry in entry_points(group="airflow.plugins", name="grokvideo_preview"):
        assert entry.load() is preview.GrokVideoPreviewPlugin


@pytest.mark.skipif(not IS_3_1, reason="the views exist since Airflow 3.1")
def test_views_have_urls_relative_to_airflows_base() -> None:
    for view in preview.GrokVideoPreviewPlugin.external_views:
        assert view["href"].startswith("grokvideo/dags/{DAG_ID}/runs/{RUN_ID}")
        assert view["icon"].startswith("grokvideo/static/")


@pytest.mark.skipif(not IS_3_1, reason="the views exist since Airflow 3.1")
def test_tab_of_a_task_names_every_class_of_this_provider() -> None:
    from airflow_provider_grokvideo.decorators.grokvideo import GrokVideoDecoratedOperator
    from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

    (tab,) = (view for view in preview.GrokVideoPreviewPlugin.external_views if "TASK_ID" in view["href"])
    classes = {one.__name__ for one in operators.GrokVideoOperator.__subclasses__()}

    expected = classes | {GrokVideoDecoratedOperator.__name__, GrokVideoSensor.__name__}
    assert set(tab["applies_to"]["operators"]) == {name for name in expected if name.startswith("GrokVideo")}


@pytest.mark.skipif(not IS_3_1, reason="the views exist since Airflow 3.1")
def test_airflow_reports_the_views_with_keys_that_it_does_not_know() -> None:
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    for view in preview.GrokVideoPreviewPlugin.external_views:
        assert ExternalViewResponse(**view).href == view["href"]


@pytest.fixture
def reloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Return a function that returns the plugin as a newly started Airflow loads it."""

    def reload() -> Any:
        for module in (version_compat, switch, preview):
            importlib.reload(module)
        return preview.GrokVideoPreviewPlugin

    yield reload
    monkeypatch.undo()
    reload()


def test_plugin_registers_nothing_before_airflow_3_1(
    reloaded: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow, "__version__", "3.0.6")

    for kind in ("fastapi_apps", "external_views"):
        assert not getattr(reloaded(), kind, None)


@pytest.mark.parametrize(("preview_option", "is_registered"), [("False", False), ("True", IS_3_1)])
def test_one_option_turns_all_pages_off(
    preview_option: str, is_registered: bool, reloaded: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__PREVIEW", preview_option)

    for kind in ("fastapi_apps", "external_views"):
        assert bool(getattr(reloaded(), kind, None)) is is_registered
