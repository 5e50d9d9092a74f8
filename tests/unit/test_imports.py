"""Costs and directions of imports."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_grokvideo

PACKAGE = "airflow_provider_grokvideo"
ROOT = Path(airflow_provider_grokvideo.__file__).parent
HEAVY = (
    "requests", "aiohttp", "av", "PIL", "httpx", "tenacity", f"{PACKAGE}.sandbox", f"{PACKAGE}.storage",
    f"{PACKAGE}.execution", f"{PACKAGE}.api.media", f"{PACKAGE}.api.models", f"{PACKAGE}.api.validation",
)  # fmt: skip


def run_python(code: str) -> str:
    """Run code in a fresh interpreter; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT.parent), *sys.path[1:]])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dag_files_load_no_heavy_modules() -> None:
    code = f"""
import importlib, json, sys
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, BaseSensorOperator, conf
before, added = set(sys.modules), {{}}
for module in ("operators", "sensors", "hooks"):
    importlib.import_module("{PACKAGE}." + module + ".grokvideo")
    added[module] = sorted(set(sys.modules) - before)
print(json.dumps(added))
"""
    added = json.loads(run_python(code).splitlines()[-1])
    assert set(added) == {"operators", "sensors", "hooks"}
    for package, modules in added.items():
        assert f"{PACKAGE}.{package}.grokvideo" in modules
        assert [name for name in modules if name.startswith(HEAVY)] == []


def test_triggers_import_no_http_client() -> None:
    code = f"""
import sys
import airflow.triggers.base
from {PACKAGE}.triggers.grokvideo import GrokVideoSensorTrigger, GrokVideoTrigger
print("aiohttp" in sys.modules, "requests" in sys.modules and "{PACKAGE}.api.client" in sys.modules)
"""
    assert run_python(code).split() == ["False", "False"]


def test_api_works_without_airflow() -> None:
    code = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "airflow":
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocker())
from {PACKAGE}.api import aio, client, connections, exchange, generation, media, models, network, polling, protocol
from {PACKAGE}.api import rate_limit, redaction, request, retry, settings, summary, text, transport, validation, values
call = protocol.submit_request(settings.Settings(api_key="k"), request.VideoRequest(prompt="p"))
print(call.url, "airflow" in sys.modules)
"""
    assert run_python(code).split() == ["https://api.cometapi.com/grok/v1/videos/generations", "False"]


def test_sandbox_starts_without_airflow() -> None:
    code = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        mine = name.startswith("{PACKAGE}.") and not name.startswith("{PACKAGE}.sandbox")
        if mine or name.split(".")[0] == "airflow":
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocker())
from {PACKAGE}.sandbox import Sandbox
with Sandbox() as sandbox:
    print(sandbox.base_url.startswith("http://127.0.0.1:"))
"""
    assert run_python(code).split() == ["True"]


# --- layering -----------------------------------------------------------------------------------------

# Each module may import only what is below it, or beside it in the same layer.
LAYERS = [
    {"decorators", "plugins"},
    {"operators", "sensors"},
    {"execution"},
    {"submission", "triggers"},
    {"failures", "results"},
    {"ledger_path"},
    {"ledger_stores"},
    {"ledger", "storage"},
    {"mp4", "store_errors", "store_files"},
    {"hooks", "links"},
    {"events"},
    {"connection_form", "mp4_index", "api", "utils"},
    {"exceptions", "version_compat"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# The hook saves videos and reads images, by an import inside a function.
LATE_UPWARD = {("hooks", "storage")}
SOURCES = sorted(path for path in ROOT.rglob("*.py") if "sandbox" not in path.relative_to(ROOT).parts)


def part_of(module: str) -> str:
    """Return the top-level module or package that a module of this package belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """Return the modules that a file imports, and whether at run time and at its top."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.append((node.module or "", id(node) in top))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(".".join([PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]))
    ours = [(module, at_top) for module, at_top in imports_of(path) if module.split(".")[0] == PACKAGE]
    wrong = []
    for module, at_top in ours:
        target = part_of(module)
        if target in {"", "sandbox"} or part in {"__init__", "get_provider_info"}:
            if target == "sandbox":
                wrong.append(module)
            continue
        assert part in LEVEL, f"{part} is in no layer yet"
        upward = LEVEL[target] < LEVEL[part]
        if upward and not (not at_top and (part, target) in LATE_UPWARD):
            wrong.append(module)
    assert wrong == []


@pytest.mark.parametrize("path", sorted((ROOT / "api").glob("*.py")), ids=lambda path: path.name)
def test_api_imports_no_airflow_and_no_upper_layer(path: Path) -> None:
    roots = {module for module, _ in imports_of(path)}
    allowed = {f"{PACKAGE}.api", f"{PACKAGE}.exceptions"}
    assert [name for name in roots if name.split(".")[0] == "airflow"] == []
    mine = {".".join(name.split(".")[:2]) for name in roots if name.split(".")[0] == PACKAGE}
    assert mine <= allowed


@pytest.mark.parametrize("path", sorted((ROOT / "api").glob("*.py")), ids=lambda path: path.name)
def test_only_clients_and_their_transport_do_io(path: Path) -> None:
    used = {module.split(".")[0] for module, _ in imports_of(path)} & {
        "requests",
        "aiohttp",
        "socket",
        "urllib3",
        "ssl",
    }
    assert not used or path.name in {
        "client.py",
        "aio.py",
        "download.py",
        "transport.py",
        "connections.py",
        "public_hosts.py",
    }


@pytest.mark.parametrize("path", sorted((ROOT / "sandbox").glob("*.py")), ids=lambda path: path.name)
def test_sandbox_imports_nothing_from_the_api(path: Path) -> None:
    mine = {module for module, _ in imports_of(path) if module.split(".")[0] == PACKAGE}
    assert {part_of(module) for module in mine} <= {"sandbox"}
    assert "airflow" not in {module.split(".")[0] for module, _ in imports_of(path)}
