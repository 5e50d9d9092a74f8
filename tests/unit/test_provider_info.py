"""Provider metadata, and how Airflow reads it."""

from __future__ import annotations

import importlib
import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.providers_manager import ProvidersManager

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.connection_form import FIELD_BEHAVIOUR, FIELDS
from airflow_provider_grokvideo.get_provider_info import get_provider_info
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

SCHEMAS = sorted(Path(airflow.__file__).parent.glob("provider_info.schema.json"))
CUSTOMIZATIONS = Path(airflow.__file__).parent / "customized_form_field_behaviours.schema.json"
FORM_FIELDS = {
    *("model", "request_timeout", "max_requests_per_second", "max_submissions_per_second", "ledger_path"),
    *("proxy", "verify", "allow_private_hosts"),
}


@pytest.fixture(scope="module")
def is_installed() -> bool:
    """Return whether this package is installed, so that Airflow finds it by its entry point."""
    return any(
        entry.value.startswith("airflow_provider_grokvideo.") for entry in entry_points(group="apache_airflow_provider")
    )


def test_metadata_is_valid_for_this_airflow() -> None:
    assert SCHEMAS
    jsonschema.validate(json.loads(json.dumps(get_provider_info())), json.loads(SCHEMAS[0].read_text()))


def test_form_behaviour_is_valid_for_this_airflow() -> None:
    assert CUSTOMIZATIONS.exists()
    jsonschema.validate(GrokVideoHook.get_ui_field_behaviour(), json.loads(CUSTOMIZATIONS.read_text()))


def modules(info: Any) -> list[str]:
    """Return every module and class that the metadata names."""
    found = []
    for key, value in info.items():
        if key in {"python-modules", "task-decorators", "extra-links", "plugins"}:
            found += value
        elif isinstance(value, list):
            found += [name for item in value if isinstance(item, dict) for name in modules(item)]
    return found


def test_named_modules_exist() -> None:
    info = get_provider_info()
    named = [name for name in modules(info) if isinstance(name, str)]
    named += [item["hook-class-name"] for item in info["connection-types"]]
    named += [item["class-name"] for item in info.get("task-decorators", [])]
    assert len(named) >= 5
    for name in named:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name


def test_version_and_name_are_those_of_the_package() -> None:
    info = get_provider_info()
    assert info["package-name"] == "airflow-provider-grokvideo"
    assert info["versions"][0] == __version__


def test_form_has_every_extra_field_of_the_connection() -> None:
    (connection_type,) = get_provider_info()["connection-types"]
    assert connection_type["connection-type"] == GrokVideoHook.conn_type == "grokvideo"
    assert connection_type["hook-name"] == GrokVideoHook.hook_name == "Grok Video"
    assert set(connection_type["conn-fields"]) == set(FIELDS) == FORM_FIELDS
    assert connection_type["ui-field-behaviour"] == FIELD_BEHAVIOUR
    assert set(FIELD_BEHAVIOUR["hidden-fields"]) == {"login", "port", "schema"}


@pytest.fixture(scope="module")
def manager(is_installed: bool) -> ProvidersManager:
    """Return Airflow's own view of all providers."""
    if not is_installed:
        pytest.skip("this package is not installed, so that no entry point leads Airflow to it")
    return ProvidersManager()


def test_airflow_sees_the_connection_type(manager: ProvidersManager) -> None:
    hook = manager.hooks["grokvideo"]
    assert hook is not None
    assert hook.hook_class_name == "airflow_provider_grokvideo.hooks.grokvideo.GrokVideoHook"
    assert hook.hook_name == "Grok Video"
    assert hook.connection_id_attribute_name == "grokvideo_conn_id"


def test_airflow_sees_the_form(manager: ProvidersManager) -> None:
    pytest.importorskip("wtforms", reason="without wtforms Airflow has no form to see outside its UI")
    behaviour = manager.field_behaviours["grokvideo"]
    assert behaviour["relabeling"] == {"host": "Base URL", "password": "API key"}
    shown = {name.split("__")[-1] for name in manager.connection_form_widgets if "grokvideo" in name}
    assert shown == FORM_FIELDS


def test_airflow_sees_the_configuration(manager: ProvidersManager) -> None:
    configs = dict(manager.provider_configs)
    assert "ledger_path" in configs["airflow-provider-grokvideo"]["grokvideo"]["options"]


def test_form_of_older_airflow_has_the_same_fields() -> None:
    pytest.importorskip("flask_appbuilder", reason="only Airflow before 3.2 builds the form with it")
    widgets = GrokVideoHook.get_connection_form_widgets()
    assert set(widgets) == FORM_FIELDS
    assert set(GrokVideoHook.get_ui_field_behaviour()) == {"hidden_fields", "relabeling", "placeholders"}
