"""Content of wheel and sdist, and their installation beside other providers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from airflow_provider_grokvideo import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow_provider_grokvideo"
INFO = f"{PACKAGE}-{__version__}.dist-info"
# Providers whose own requirements are the likeliest to meet ours.
NEIGHBOURS = (
    "amazon", "google", "microsoft-azure", "snowflake", "databricks", "openai", "http", "celery", "cncf-kubernetes",
    "postgres", "dbt-cloud", "common-ai", "common-io", "standard",
)  # fmt: skip


def command(*args: str) -> str:
    """Run a tool of this environment and return what it says."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which(args[0], path=beside)
    assert program, f"{args[0]} is not installed"
    env = {**os.environ, "UV_NATIVE_TLS": "1"}
    done = subprocess.run(
        [program, *args[1:]], capture_output=True, text=True, env=env, cwd=ROOT, timeout=250, check=False
    )
    assert done.returncode == 0, f"{' '.join(args)}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # The wheel is made from the sdist, as for whoever has only that.
    command("uv", "build", "--quiet", "--out-dir", str(folder))
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    (file,) = built.glob("*.tar.gz")
    return file


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return message_from_bytes(archive.read(f"{INFO}/METADATA"))


def test_wheel_holds_only_the_package(wheel: Path) -> None:
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith(f"{INFO}/")}

    tracked = command("git", "ls-files", PACKAGE).split()
    assert in_wheel == set(tracked)
    assert f"{PACKAGE}/py.typed" in in_wheel


def test_wheel_is_for_any_python_3(wheel: Path) -> None:
    assert wheel.name == f"{PACKAGE}-{__version__}-py3-none-any.whl"


def test_sdist_holds_what_the_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}

    assert names >= {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "example_dags/quickstart.py"}
    assert any(name.startswith("tests/unit/") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", "build/", "dist/"))]


def test_metadata_describes_the_package(metadata: Message) -> None:
    assert metadata["Name"] == "airflow-provider-grokvideo"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra") or []) == {"sandbox", "openlineage", "socks"}
    assert {"Framework :: Apache Airflow :: Provider", "Typing :: Typed"} <= set(metadata.get_all("Classifier") or [])


def test_entry_points_can_be_loaded(wheel: Path) -> None:
    text = zipfile.ZipFile(wheel).read(f"{INFO}/entry_points.txt").decode()

    assert "[apache_airflow_provider]\nprovider_info = " in text
    assert "grokvideo-sandbox = " in text


def test_twine_and_check_wheel_find_nothing(wheel: Path, sdist: Path) -> None:
    command("check-wheel-contents", str(wheel))
    command("twine", "check", "--strict", str(wheel), str(sdist))


def test_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_wheel_installs_with_current_providers(wheel: Path, tmp_path: Path) -> None:
    wanted = [f"apache-airflow-providers-{name}" for name in NEIGHBOURS]
    (tmp_path / "in.txt").write_text("\n".join(["apache-airflow", *wanted, str(wheel)]))

    resolved = command("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", str(tmp_path / "in.txt"))

    # A conflict would show as an old release chosen to avoid it.
    names = {line.split("==")[0].split(" @")[0] for line in resolved.splitlines()}
    assert {"apache-airflow", *wanted} <= names
    alone = command("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", str(_without(wheel, tmp_path)))
    ours = {line for line in resolved.splitlines() if not line.startswith("airflow-provider-grokvideo")}
    assert set(alone.splitlines()) - ours == set()


def _without(wheel: Path, folder: Path) -> Path:
    text = (folder / "in.txt").read_text().replace(f"\n{wheel}", "")
    alone = folder / "alone.txt"
    alone.write_text(text)
    return alone
