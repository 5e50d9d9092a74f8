"""The installed package in this version of Airflow: connection form, decorator, metadata."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution, version
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.connection_form import FIELDS
from airflow_provider_grokvideo.get_provider_info import get_provider_info

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
BY_METADATA = AIRFLOW >= (3, 2)
HIDDEN = {"login", "port", "schema"}
LABELS = {"host": "Base URL", "password": "API key"}

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def manager() -> ProvidersManager:
    return ProvidersManager()


def test_distribution_is_found_by_its_entry_point(manager: ProvidersManager) -> None:
    assert version("airflow-provider-grokvideo") == __version__
    assert manager.providers["airflow-provider-grokvideo"].version == __version__
    assert [point.name for point in distribution("airflow-provider-grokvideo").entry_points.select(
        group="apache_airflow_provider"
    )] == ["provider_info"]  # fmt: skip


def test_metadata_is_valid_for_this_airflow() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)


def test_hook_is_behind_its_connection_type(manager: ProvidersManager) -> None:
    hook = manager.hooks["grokvideo"]

    assert hook is not None
    assert hook.hook_name == "Grok Video"
    assert hook.connection_type == "grokvideo"
    assert hook.hook_class_name == "airflow_provider_grokvideo.hooks.grokvideo.GrokVideoHook"


@pytest.mark.skipif(AIRFLOW >= (3, 0), reason="Airflow 3 has no forms of its own")
def test_form_of_airflow_2_has_all_fields(manager: ProvidersManager, record_property: Record) -> None:
    manager.initialize_providers_hooks()
    record_property("connection form", "hook methods")

    prefix = "extra__grokvideo__"
    fields = {name.removeprefix(prefix) for name in manager.connection_form_widgets if name.startswith(prefix)}
    assert fields == set(FIELDS)
    behaviour = manager.field_behaviours["grokvideo"]
    assert set(behaviour["hidden_fields"]) == HIDDEN
    assert behaviour["relabeling"] == LABELS


# A process of its own, as the API server is: before 3.2 the form depends on who imports the hook first.
HOOK_META = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
(form,) = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "grokvideo"]
print(form.model_dump_json())
"""


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="the UI of Airflow 2 renders the hook's widgets itself")
def test_api_server_returns_the_connection_form(record_property: Record) -> None:
    done = subprocess.run([sys.executable, "-c", HOOK_META], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    form = json.loads(done.stdout.splitlines()[-1])
    record_property("connection form", "provider metadata" if BY_METADATA else "hook methods")

    assert form["hook_name"] == "Grok Video"
    assert set(form["extra_fields"]) == set(FIELDS)
    standard = form["standard_fields"]
    assert {name for name, field in standard.items() if field and field["hidden"]} >= {"login", "port", "url_schema"}
    assert {name: standard[name]["title"] for name in LABELS} == LABELS


def test_decorator_is_registered(manager: ProvidersManager) -> None:
    from airflow.providers.common.compat.sdk import task

    assert "grok_video" in {name for name, _ in manager.taskflow_decorators.items()}
    assert callable(task.grok_video)


def test_imports_cause_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    import importlib

    for name in ("operators", "sensors", "triggers", "decorators", "hooks"):
        importlib.reload(importlib.import_module(f"airflow_provider_grokvideo.{name}.grokvideo"))

    ours = [str(one.message) for one in recwarn if "airflow_provider_grokvideo" in one.filename]
    assert ours == []
