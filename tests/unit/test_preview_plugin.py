"""The plugin loads cheaply in every component of Airflow, and registers the views of the UI."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import entry_points

import airflow
import pytest

from airflow_provider_grokvideo import version_compat
from airflow_provider_grokvideo.get_provider_info import get_provider_info
from airflow_provider_grokvideo.plugins import preview

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


def test_plugin_registers_nothing_before_airflow_3_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow, "__version__", "3.0.6")
    try:
        importlib.reload(version_compat)
        plugin = importlib.reload(preview).GrokVideoPreviewPlugin
        for kind in ("fastapi_apps", "external_views"):
            assert not getattr(plugin, kind, None)
    finally:
        monkeypatch.undo()
        importlib.reload(version_compat)
        importlib.reload(preview)
