"""What every component of Airflow pays for the plugin, and what it registers where."""

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


def test_the_plugin_brings_no_server_and_no_client_with_it() -> None:
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
def test_views_lie_below_the_base_of_airflows_page() -> None:
    for view in preview.GrokVideoPreviewPlugin.external_views:
        assert view["href"].startswith("grokvideo/dags/{DAG_ID}/runs/{RUN_ID}")
        assert view["icon"].startswith("grokvideo/static/")


def test_nothing_is_registered_before_airflow_3_1(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.skipif(not IS_3_1, reason="reads Airflow 3's database models")
def test_operators_are_read_from_the_stored_dag() -> None:
    from airflow_provider_grokvideo.plugins.preview.database import read_operators

    own = "airflow_provider_grokvideo.operators.grokvideo"
    stored = {
        "dag": {
            "tasks": [
                {"__var": {"task_id": "a", "_task_module": own, "prompt": "p", "output_path": "{{ x }}", "extra": {}}},
                {"__var": {"task_id": "m", "_task_module": own, "_is_mapped": True, "partial_kwargs": {"model": "g"}}},
                {"__var": {"task_id": "z", "_task_module": "other", "output_path": "/etc/"}},
            ]
        }
    }

    operators = read_operators(stored)

    assert operators["a"][0] == own
    assert operators["a"][1]["prompt"] == "p"
    assert "output_path" not in operators["a"][1]
    assert operators["m"][1]["model"] == "g"
    assert operators["z"] == ("other", {})
