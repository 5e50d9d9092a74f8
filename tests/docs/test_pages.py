"""The documentation agrees with the code, links to what exists, and fetches nothing from elsewhere."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_grokvideo
from airflow_provider_grokvideo.api.polling import FAILURE_TOLERANCE
from airflow_provider_grokvideo.api.retry import MAX_UNREACHED_ATTEMPTS, submit_retry_delay
from airflow_provider_grokvideo.events import STATUSES
from airflow_provider_grokvideo.exceptions import TransportError
from airflow_provider_grokvideo.get_provider_info import get_provider_info
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator, GrokVideoOperator
from airflow_provider_grokvideo.results import to_result
from airflow_provider_grokvideo.sandbox.__main__ import _parser
from airflow_provider_grokvideo.sandbox.faults import FAULTS
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from airflow_provider_grokvideo.triggers.grokvideo import GrokVideoTrigger

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = Path(airflow_provider_grokvideo.__file__).parent


def table(page: str, heading: str, column: str = "Argument") -> dict[str, str]:
    """The first table below a heading, as its first cells' names and its last cells."""
    text = (DOCS / page).read_text() if page != "README.md" else (ROOT / page).read_text()
    section = text.split(f"{heading}\n", 1)[1] if heading else text
    lines = section[section.index(f"| {column} ") :].splitlines()
    rows: dict[str, str] = {}
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        for name in re.findall(r"`([^`]+)`", cells[0]):
            rows[name] = cells[-1].rstrip("| ")
    return rows


_COLLECTING = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def parameters(kind: Any) -> dict[str, Any]:
    found = inspect.signature(inspect.unwrap(kind.__init__)).parameters
    return {name: one for name, one in found.items() if name != "self" and one.kind not in _COLLECTING}


def assert_defaults(rows: dict[str, str], kind: Any) -> None:
    for name, parameter in parameters(kind).items():
        default = rows[name]
        if parameter.default is inspect.Parameter.empty:
            assert default == "required"
        else:
            shown = repr(parameter.default).replace("'", '"')
            assert default.startswith(f"`{shown}`"), f"{name}: {default} is not {shown}"


def test_operator_arguments_and_defaults_are_documented() -> None:
    rows = table("operators.md", "## The request") | table("operators.md", "## The task")

    assert set(rows) == set(parameters(GrokVideoOperator))
    assert_defaults(rows, GrokVideoOperator)


def test_every_template_field_is_documented() -> None:
    text = (DOCS / "operators.md").read_text()
    sentence = text[text.index("Templates work in") :].split(".\n", 1)[0]

    assert set(re.findall(r"`(\w+)`", sentence)) == set(GrokVideoGenerateOperator.template_fields)


def test_sensor_arguments_and_defaults_are_documented() -> None:
    rows = table("sensor.md", "## The sensor")

    assert set(rows) == set(parameters(GrokVideoSensor))
    assert_defaults(rows, GrokVideoSensor)


def test_trigger_arguments_and_statuses_are_documented() -> None:
    assert set(table("sensor.md", "## The trigger")) == set(parameters(GrokVideoTrigger))
    text = (DOCS / "sensor.md").read_text()
    assert all(f"`{status}`" in text for status in STATUSES)


def test_every_key_of_the_result_is_documented() -> None:
    from airflow_provider_grokvideo.api.generation import Generation

    keys = set(to_result(Generation("id", "done"), None, model="model", elapsed_seconds=0))
    assert set(table("results.md", "## The result object", "Key")) == keys
    assert set(table("README.md", "## The result", "Key")) == keys


def test_every_argument_in_the_readme_has_its_default() -> None:
    rows = table("README.md", "Other arguments:")
    known = parameters(GrokVideoOperator)

    assert set(rows) <= set(known)


def test_every_field_of_the_connection_is_documented() -> None:
    from airflow_provider_grokvideo.connection_form import FIELDS

    text = (DOCS / "connection.md").read_text()
    for name, field in FIELDS.items():
        assert f"| {field['label']} | extra `{name}` |" in text


def test_every_option_of_the_configuration_is_documented() -> None:
    text = "".join(page.read_text() for page in DOCS.glob("*.md"))

    for option in get_provider_info()["config"]["grokvideo"]["options"]:
        assert re.search(rf"^{option} = ", text, re.MULTILINE), option


def test_every_metric_is_documented() -> None:
    source = (PACKAGE / "utils" / "metrics.py").read_text()
    used = set(re.findall(r"Stats\.\w+\(f?\"([^\"]+)\"", source))
    documented = set(table("metrics.md", "", "Name"))

    assert {re.sub(r"finished\.\w+", "finished.", name) for name in documented} == {
        re.sub(r"\{.*\}", "", name) for name in used
    }
    assert {f"grokvideo.finished.{state}" for state in ("done", "failed", "expired", "moderated")} <= documented


def test_sandbox_options_and_faults_are_documented() -> None:
    options = {option for action in _parser()._actions for option in action.option_strings} - {"-h", "--help"}
    assert set(table("sandbox.md", "## As a program", "Option")) == options

    text = (DOCS / "sandbox.md").read_text().split("## Faults", 1)[1]
    for on, names in FAULTS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{on}` "))
        documented = set(re.findall(r"`(\w+)`", row)) - {on}
        documented |= set(FAULTS["outcome"]) if "outcome" in documented else set()
        assert documented - {"outcome"} == set(names)


def public_objects(path: Path) -> list[ast.AST]:
    """The module, and its public classes, functions, methods and properties."""
    module = ast.parse(path.read_text())
    found: list[ast.AST] = [module]
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            found.append(node)
            if isinstance(node, ast.ClassDef):
                kinds = ast.FunctionDef | ast.AsyncFunctionDef
                found += [one for one in node.body if isinstance(one, kinds) and not one.name.startswith("_")]
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_public_object_has_a_docstring(path: Path) -> None:
    if path.stat().st_size == 0 or path.name == "__init__.py":
        return
    for node in public_objects(path):
        assert ast.get_docstring(node), f"{path.name}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', '')}"  # type: ignore[arg-type]


PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_have_a_target(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("#"):
            continue
        path = (page.parent / target.partition("#")[0]).resolve()
        assert path.exists(), target


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built documentation."""
    pytest.importorskip("sphinx", reason="the documentation's tools are not installed (group docs)")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(out)]
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path_factory.mktemp("home")), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_pages_fetch_nothing_from_other_hosts(site: Path) -> None:
    fetched = re.compile(r"<(?:script|img|iframe|video|source|link)\b[^>]*?(?:src|href)=\"(?:https?:)?//[^\"]*\"")
    for page in site.rglob("*.html"):
        assert not [tag for tag in fetched.findall(page.read_text()) if 'rel="canonical"' not in tag], page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()), style.name


def test_reference_lists_every_public_class(site: Path) -> None:
    text = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    for name in ("GrokVideoHook", "GrokVideoEditOperator", "GrokVideoSensor", "GrokVideoTrigger", "VideoRequest",
                 "Generation", "SubmissionUnknownError", "Sandbox", "grokvideo_sandbox"):  # fmt: skip
        assert re.search(rf'id="[\w.]*\.{name}"', text), name


def test_kill_table_of_the_readme_is_the_measured_one() -> None:
    rows = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(("| worker |", "| trig"))]
    measured = (DOCS / "kill-table.md").read_text().splitlines()
    assert len(rows) > 10
    assert [row for row in rows if row not in measured] == []


def test_attempts_to_reach_the_api_are_documented() -> None:
    waits = [_submission_pauses(share) for share in (0, 1)]
    assert {len(pauses) for pauses in waits} == {MAX_UNREACHED_ATTEMPTS - 1}
    least, most = (sum(pauses) for pauses in waits)

    [row] = [line for line in (DOCS / "failures.md").read_text().splitlines() if line.startswith("| could not connect")]
    assert f"{MAX_UNREACHED_ATTEMPTS} attempts, {least:.0f} to {most:.0f} s of pauses in total" in row


def _submission_pauses(jitter: float) -> list[float]:
    """Return the pauses between the attempts to reach the API, with this share of the most jitter."""
    error, pauses = TransportError("unreachable", delivered=False), []
    while (
        pause := submit_retry_delay(
            error, attempt=len(pauses) + 1, now=0, deadline=600, uniform=lambda low, high: low + jitter * (high - low)
        )
    ) is not None:
        pauses.append(pause)
    return pauses


def test_tolerance_for_failed_polls_is_documented() -> None:
    minutes = {"README.md": f"{FAILURE_TOLERANCE / 60:.0f} minutes", "docs/failures.md": "ten minutes"}
    assert FAILURE_TOLERANCE == 600
    for page, words in minutes.items():
        assert f"fails after {words} without a response" in (ROOT / page).read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/versions.md"])
def test_table_of_versions_has_no_failure(page: str) -> None:
    rows = [line for line in (ROOT / page).read_text().splitlines() if re.match(r"\| \d+\.\d+\.\d+ \|", line)]
    assert rows
    assert [row for row in rows if "failed" in row or "| none" in row] == []


def test_kill_table_shows_no_double_cost_and_no_lost_video() -> None:
    rows = [line for line in (DOCS / "kill-table.md").read_text().splitlines() if re.match(r"\| (?!Killed|---)", line)]
    ours = [row for row in rows if "without a ledger" not in row]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in ours]
    assert cells
    assert [row for row in cells if int(row[2]) > 1 or (row[4].startswith("success") and row[3] != "1 of 1")] == []
