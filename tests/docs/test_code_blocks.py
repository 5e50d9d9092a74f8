"""Run every code block of README.md and docs/."""

from __future__ import annotations

import argparse
import configparser
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.get_provider_info import get_provider_info
from airflow_provider_grokvideo.hooks.connection import settings_of
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.sandbox import Sandbox
from airflow_provider_grokvideo.sandbox.__main__ import _parser
from dev.processes import free_port
from tests.docs.blocks import Block, blocks_of
from tests.support.once import once_per_run

pytest.importorskip("airflow.sdk", reason="the documentation is written for Airflow 3")


ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PORT = "8765"
"""What the pages say; the tests take a free one."""
PROSE = {"text", ""}
SHELLS = {"shell", "bash", "sh"}


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an Airflow database, made once and copied for each page that needs one."""
    return once_per_run(tmp_path_factory, "docs-database", _migrate) / "airflow.db"


def _migrate(home: Path) -> None:
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=surroundings(home), check=True, stdout=2)


def surroundings(home: Path) -> dict[str, str]:
    """The environment of a reader who follows a page."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")}
    bins = Path(sys.executable).parent
    return env | {
        "PATH": f"{bins}{os.pathsep}{env.get('PATH', os.defpath)}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")])),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "GROKVIDEO_API_KEY": "a-key",
        "XAI_API_KEY": "another-key",
        "KEY": "a-key",
        "no_proxy": "127.0.0.1,localhost",
    }


class Reader:
    """Follows one page from top to bottom, in a directory of its own.

    :param folder: where it works.
    :param port: of the sandbox.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = str(port)
        self.home = folder / "airflow"
        self.home.mkdir()
        self.env = surroundings(self.home)
        self.servers: list[subprocess.Popen[str]] = []

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        text = block.text.replace(PORT, self.port)
        if block.mark == "not run":
            self._check_words(text)
        elif block.mark == "background":
            self._serve(text)
        elif block.mark == "file":
            self._save(block.value, text)
        elif block.info == "python":
            self._python(text, block)
        elif block.info in SHELLS:
            self._shell(text)
        elif block.info == "ini":
            self._check_ini(text)
        elif block.info == "json":
            json.loads(text)
        else:
            raise AssertionError(f"no test knows what to do with a block of {block.info!r}")
        self._check_connection(block)

    def close(self) -> None:
        """End what the page has started."""
        for server in self.servers:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(10)
            assert server.stdout is not None
            server.stdout.close()

    def _shell(self, text: str) -> None:
        after = self.folder / "environment"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{text}\nenv -0 > {shlex.quote(str(after))}"],
            cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        self.env = dict(pair.split("=", 1) for pair in after.read_text().split("\0") if pair)

    def _serve(self, text: str) -> None:
        server = subprocess.Popen(
            ["bash", "-euc", text], cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == f"sandbox ready: http://127.0.0.1:{self.port}/grok/v1\n"

    def _save(self, name: str, text: str) -> None:
        path = (self.home if name.startswith("dags/") else self.folder) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        compile(text, name, "exec")
        if tests := sorted(self.folder.glob("test_*.py")):
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
            done = subprocess.run(
                [*command, *(test.name for test in tests)], cwd=self.folder, env=self.env, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=600,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout

    def _python(self, text: str, block: Block) -> None:
        from airflow.sdk import DAG

        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                if name.startswith("AIRFLOW_CONN_"):
                    patch.setenv(name, value)
            patch.chdir(self.folder)
            with DAG("page", schedule=None, start_date=datetime(2026, 1, 1)):
                exec(compile(text, block.place, "exec"), {"__name__": "__page__"})

    def _check_ini(self, text: str) -> None:
        from airflow.configuration import conf

        own = get_provider_info()["config"]["grokvideo"]["options"]
        parsed = configparser.ConfigParser(interpolation=None)
        parsed.read_string(text)
        for section in parsed.sections():
            for option in parsed.options(section):
                if section == "grokvideo":
                    assert option in own
                else:
                    assert option in conf.configuration_description[section]["options"]
                assert parsed.get(section, option)

    def _check_connection(self, block: Block) -> None:
        if block.mark == "connection":
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", self.env["AIRFLOW_CONN_GROKVIDEO_DEFAULT"])
                settings = GrokVideoHook().settings
                assert (settings.base_url, settings.api_key) == (block.value, "KEY")
        elif block.mark == "stores":
            from airflow.providers.common.compat.sdk import Connection

            conn_id, _, base_url = block.value.partition(" ")
            shown = subprocess.run(
                [sys.executable, "-m", "airflow", "connections", "get", conn_id, "--output", "json"],
                env={key: value for key, value in self.env.items() if not key.startswith("AIRFLOW_CONN_")},
                stdout=subprocess.PIPE, text=True, check=True, timeout=120,
            )  # fmt: skip
            stored = json.loads(shown.stdout[shown.stdout.index("[") :])[0]
            extra = stored["extra_dejson"]
            connection = Connection(
                conn_id=conn_id,
                conn_type=stored["conn_type"],
                host=stored["host"],
                password=stored["password"],
                extra=extra if isinstance(extra, str) else json.dumps(extra),
            )
            assert stored["conn_type"] == "grokvideo"
            assert settings_of(connection).base_url == base_url.replace(PORT, self.port)
            assert stored["password"]

    def _check_words(self, text: str) -> None:
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words = words[1:]
            if words:
                CHECKS[words[0]](words[1:])


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words) <= set(targets)


def check_pip(words: list[str]) -> None:
    """No package index serves this package yet: it is installed from a clone or from its wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    if words[0] == "wheel":
        words = ["install", *(word for word in words[1:] if word not in {"--no-deps", "--wheel-dir", "dist"})]
    assert words[0] == "install"
    for requirement in words[1:]:
        name, _, extras = requirement.partition("[")
        if name == ".":
            assert set(filter(None, extras.rstrip("]").split(","))) <= set(project["optional-dependencies"])
        elif name.endswith(".whl"):
            assert name == f"dist/{project['name'].replace('-', '_')}-*.whl"
        else:
            assert re.match(r"apache-airflow\b", name)


def check_airflow(words: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    parser: Any = get_parser()
    subcommands = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    assert words[0] in subcommands.choices


def check_sandbox(words: list[str]) -> None:
    _parser().parse_args(words)


def check_nothing(_: list[str]) -> None:
    """A command of the shell or of Python itself."""


CHECKS = {
    "make": check_make,
    "pip": check_pip,
    "airflow": check_airflow,
    "grokvideo-sandbox": check_sandbox,
    "python3": check_nothing,
    "source": check_nothing,
    "git": check_nothing,
    "cd": check_nothing,
}


def runnable(path: Path) -> list[Block]:
    """The blocks of a page that are no plain text and no directive of Sphinx."""
    return [block for block in blocks_of(path) if block.info not in PROSE and not block.info.startswith("{")]


@pytest.fixture
def reader(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Return who follows the page, with a sandbox where the page does not start one itself."""
    blocks = request.node.callspec.params["blocks"]
    port = free_port()
    reader = Reader(tmp_path, port)
    if any("airflow " in block.text for block in blocks if block.info in SHELLS and block.mark != "not run"):
        shutil.copy(request.getfixturevalue("database"), reader.home)
    try:
        if any(block.mark == "background" for block in blocks):
            yield reader
        else:
            with Sandbox(port=port) as sandbox:
                connection = {"conn_type": "grokvideo", "host": sandbox.base_url, "password": sandbox.api_key}
                reader.env["AIRFLOW_CONN_GROKVIDEO_DEFAULT"] = json.dumps(connection)
                yield reader
    finally:
        reader.close()


@pytest.mark.parametrize(
    "blocks", [pytest.param(found, id=str(path.relative_to(ROOT))) for path in PAGES if (found := runnable(path))]
)
def test_every_block_of_the_page_works(blocks: list[Block], reader: Reader) -> None:
    for block in blocks:
        try:
            reader.follow(block)
        except BaseException as error:
            error.add_note(f"in the block at {block.place}:\n{block.text}")
            raise


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_included_files_exist(path: Path) -> None:
    for block in blocks_of(path):
        if block.info.startswith("{literalinclude}"):
            assert (path.parent / block.info.split()[1]).is_file()
