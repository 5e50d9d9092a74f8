"""Every distribution that the package imports is declared in pyproject.toml."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions, packages_distributions
from itertools import chain
from pathlib import Path

import pytest

import airflow_provider_grokvideo

PACKAGE = Path(airflow_provider_grokvideo.__file__).parent
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
HOSTS = {
    # The UI pages and forms run within Airflow's own web server, which brings the one that its version needs.
    "plugins/": {"fastapi", "starlette"},
    "hooks/": {"wtforms", "flask-appbuilder", "flask-babel"},
    "connection_form.py": {"wtforms", "flask-appbuilder", "flask-babel"},
    # A plugin of pytest.
    "sandbox/pytest_plugin.py": {"pytest"},
}
# Where they are not installed here.
KNOWN = {"flask_appbuilder": "flask-appbuilder", "flask_babel": "flask-babel"}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(path: Path) -> Iterator[str]:
    """Return every module that a file imports, wherever in it, from outside the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            # "from airflow.providers import x" names a package, too.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in names if _top(name) not in {*sys.stdlib_module_names, PACKAGE.name})


def _top(module: str) -> str:
    return module.partition(".")[0]


def distributions_of(module: str) -> set[str]:
    """Return the distributions any of which brings a module."""
    if _top(module) != "airflow":
        top = _top(module)
        return {normalized(name) for name in packages_distributions().get(top, [KNOWN.get(top, top)])}
    # Airflow and its providers share one namespace.
    prefix = "apache-airflow-providers-"
    names = {normalized(one.metadata["Name"]) for one in distributions()}
    found = [name for name in names if name.startswith(prefix) and _is_in(module, name.removeprefix(prefix))]
    return {max(found, key=len, default="apache-airflow")}


def _is_in(module: str, provider: str) -> bool:
    return f"{module}.".startswith(f"airflow.providers.{provider.replace('-', '.')}.")


def declared() -> set[str]:
    requirements = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    return {normalized(re.split(r"[\s\[<>=!~;@]", requirement)[0]) for requirement in requirements}


def undeclared(path: Path) -> dict[str, set[str]]:
    where = path.relative_to(PACKAGE).as_posix()
    allowed = declared().union(*(names for place, names in HOSTS.items() if where.startswith(place)))
    found = {module: distributions_of(module) for module in imported(path)}
    return {module: names for module, names in found.items() if not names & allowed}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imported_distributions_are_declared(path: Path) -> None:
    assert undeclared(path) == {}


def test_undeclared_import_is_found_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    source = """
        import os, requests
        from airflow.providers.common.compat.sdk import DAG
        def late():
            import pytest
            from airflow.providers.standard.operators.bash import BashOperator
    """
    path = tmp_path / "module.py"
    path.write_text("\n".join(line.removeprefix("        ") for line in source.splitlines()))

    assert set(undeclared(path)) >= {"pytest"}
    assert not {"os", "requests", "airflow.providers.common.compat.sdk.DAG"} & set(undeclared(path))
