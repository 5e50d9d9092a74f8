"""``make test-versions``: the built wheel in every version of Airflow that has a lock in dev/constraints.

Writes what it measured into docs/versions.md and README.md, but only where every test passed in every version.
With arguments, e.g. ``3.0.6``, it tests only those versions and writes nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venvs"
WORK = ROOT / "build" / "versions"
# Two at a time: much of a run waits, for triggerers and for renderings.
PARALLEL = int(os.environ.get("VERSIONS_PARALLEL", "2"))
TIMEOUT = 2400
# Two runs of pytest, since example DAGs need settings that are read when Airflow is imported. The sandbox's own tests
# and those of HTTP have nothing of Airflow.
NOTHING_OF_AIRFLOW = (
    *("delivery", "delivery_tls", "exchange", "fault_scripts", "hostile_answers", "private_hosts", "routes"),
    "video_download",
)
# dag.test() of Airflow 3.2.2 can stand still in its own API when it is called for many runs in one process.
STANDS_STILL = ("dag_runs",)
# Lists of the project's own files, which are not there, and of extras, which the locks lack.
OF_THE_PROJECT = ("dependencies", "soak")
RUNS = {
    "package": ["tests/unit", "tests/integration", "tests/e2e/test_generate.py",
                "--ignore-glob=*/integration/test_sandbox_*",
                *(f"--ignore=tests/unit/test_{name}.py" for name in OF_THE_PROJECT),
                *(f"--ignore=tests/integration/test_{name}.py" for name in (*NOTHING_OF_AIRFLOW, *STANDS_STILL))],
    "airflow": ["tests/versions"],
}  # fmt: skip
COLUMNS = {
    "unit": "tests.unit.",
    "integration": "tests.integration.",
    "metadata": "tests.versions.test_provider",
    "example DAGs": "tests.versions.test_dags",
    "real triggerer": "tests.e2e.",
}


@dataclass
class Environment:
    """One version of Airflow on one version of Python, and what the tests said there."""

    airflow: str
    python: str
    lock: Path
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    failed: bool = False
    problem: str = ""
    full_python: str = ""
    seconds: float = 0

    @property
    def name(self) -> str:
        return f"airflow-{self.airflow}-py{self.python}"

    @property
    def executable(self) -> Path:
        return ENVIRONMENTS / self.name / "bin" / "python"


def environments(wanted: list[str]) -> list[Environment]:
    found = []
    for lock in sorted((ROOT / "dev" / "constraints").glob("airflow-*-py*.txt")):
        match = re.fullmatch(r"airflow-(.+)-py(.+)", lock.stem)
        assert match, lock
        found.append(Environment(match[1], match[2], lock))
    found.sort(key=lambda one: [int(part) for part in f"{one.airflow}.{one.python}".split(".")])
    return [one for one in found if not wanted or one.airflow in wanted or one.name in wanted]


def interpreter(version: str) -> str | None:
    """A Python of this version: this one, one on PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    for candidate in (sys.executable, shutil.which(f"python{version}"), *map(str, installed)):
        if candidate and _version_of(candidate) == version:
            return candidate
    return None


def _version_of(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


def uv(*args: str, **env: str) -> None:
    binary = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert binary, "uv is needed: pip install uv"
    # uv does not know of pip's own configuration: certificates.
    command = [binary, *args]
    done = subprocess.run(
        command, env={**os.environ, "UV_NATIVE_TLS": "1", **env}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-3000:]}")


def prepare() -> Path:
    """Build the wheel, and a tree of the tests without the package, so that only the wheel can be imported."""
    shutil.rmtree(WORK, ignore_errors=True)
    for folder in ("tests", "dev", "example_dags"):
        shutil.copytree(ROOT / folder, WORK / folder, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copy(ROOT / "pyproject.toml", WORK)
    uv("build", "--quiet", "--wheel", "--out-dir", str(WORK / "dist"), str(ROOT))
    (wheel,) = (WORK / "dist").glob("*.whl")
    return wheel


def install(environment: Environment, wheel: Path) -> bool:
    """Make the environment of the lock, with the wheel; keep one that is there."""
    python = interpreter(environment.python)
    if python is None:
        environment.problem = f"no Python {environment.python} here"
        return False
    home = environment.executable.parent.parent
    if not environment.executable.exists():
        uv("venv", "--quiet", "--python", python, str(home))
    uv("pip", "sync", "--quiet", str(environment.lock), VIRTUAL_ENV=str(home))
    uv("pip", "install", "--quiet", "--no-deps", str(wheel), VIRTUAL_ENV=str(home))
    uv("pip", "check", VIRTUAL_ENV=str(home))
    return True


def test(environment: Environment) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_", "PYTHONPATH"))}
    for name, args in RUNS.items():
        stem = WORK / f"{environment.name}-{name}"
        command = [str(environment.executable), "-m", "pytest", *args, "-q", "-p", "no:cacheprovider"]
        command += [f"--junitxml={stem}.xml", "-o", "junit_family=xunit1"]
        with Path(f"{stem}.log").open("w") as log:
            done = subprocess.run(
                command, cwd=WORK, env=env, stdout=log, stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False
            )
        if done.returncode:
            environment.failed = True
        read_report(environment, Path(f"{stem}.xml"))


def read_report(environment: Environment, report: Path) -> None:
    """Add a JUnit report to the outcomes, and the facts that tests recorded to the facts."""
    if not report.exists():
        environment.failed = True
        return
    for case in ET.parse(report).iter("testcase"):
        where = f"{case.get('classname')}."
        column = next((name for name, prefix in COLUMNS.items() if where.startswith(prefix)), "unit")
        tags = {child.tag for child in case}
        outcome = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        environment.outcomes.setdefault(column, Counter())[outcome] += 1
        for prop in case.iter("property"):
            environment.facts[str(prop.get("name"))] = str(prop.get("value"))


def check(environment: Environment, wheel: Path) -> None:
    began = time.monotonic()
    try:
        if install(environment, wheel):
            environment.full_python = _full_python(environment)
            test(environment)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        environment.failed, environment.problem = True, str(error)
    environment.seconds = time.monotonic() - began
    outcome = "FAILED" if environment.failed else environment.problem or "passed"
    print(f"{environment.name}: {outcome} in {environment.seconds:.0f} s", flush=True)
    for name in RUNS if environment.failed else ():
        log = WORK / f"{environment.name}-{name}.log"
        if log.exists():
            print(f"--- the end of {log}\n" + "\n".join(log.read_text().splitlines()[-60:]), flush=True)


def table(checked: list[Environment]) -> str:
    facts = ["connection form", "ledger", "video link"]
    head = ["Airflow", "Python", *COLUMNS, *facts]
    rows = [head, ["---"] * len(head)]
    for one in checked:
        if not one.outcomes:
            rows.append(
                [one.airflow, one.python, *(one.problem.splitlines()[:1] or ["no report"]), *[""] * (len(head) - 3)]
            )
            continue
        cells = [_cell(one.outcomes.get(column, Counter())) for column in COLUMNS]
        rows.append([one.airflow, one.full_python, *cells, *(one.facts.get(fact, "") for fact in facts)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(outcomes: Counter[str]) -> str:
    return ", ".join(f"{outcomes[word]} {word}" for word in ("passed", "failed", "skipped") if outcomes[word]) or "none"


def _full_python(environment: Environment) -> str:
    return subprocess.run(
        [environment.executable, "-c", "import platform; print(platform.python_version())"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


BEGIN, END = "<!-- make test-versions writes this table -->", "<!-- the end of that table -->"
DOCUMENT = """# Tested versions of Airflow

`make test-versions` wrote this on {date}, from the wheel of release {release}. Each row is a separate
environment with the exact packages of its lock in `dev/constraints`.

{table}

- *metadata*: Airflow finds the package through its entry point, accepts its metadata as valid, and shows its connection
  form.
- *example DAGs*: `dag.test()` runs every file of `example_dags`; the DAG whose generation fails ends as expected.
- *real triggerer*: real processes make a video: scheduler, worker, triggerer, and a worker again.

Before Airflow 3.1, the connection form needs `apache-airflow-providers-fab`, like Airflow's own connection types.
"""


def objections(checked: list[Environment]) -> list[str]:
    """Return why a table of these environments must not be published; none if every test passed in each."""
    found = []
    for one in checked:
        if one.problem:
            found.append(f"{one.name}: {one.problem.splitlines()[0]}")
            continue
        outcomes = one.outcomes.items()
        failures = [f"{count['failed']} failed in {column}" for column, count in outcomes if count["failed"]]
        failures += [
            f"nothing passed in {column}" for column in COLUMNS if not one.outcomes.get(column, {}).get("passed")
        ]
        if one.failed and not failures:
            failures = ["pytest did not end well"]
        found += [f"{one.name}: {failure}" for failure in failures]
    return found or ([] if checked else ["no version was tested"])


def write_down(result: str, release: str, root: Path = ROOT) -> None:
    """Write the table into the documentation, and between the marks in the README."""
    text = DOCUMENT.format(date=f"{datetime.now(UTC):%Y-%m-%d}", release=release, table=result)
    (root / "docs" / "versions.md").write_text(text)
    readme = root / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if mark:
        readme.write_text(f"{before}{BEGIN}\n{result}\n{END}{after}")


def publish(checked: list[Environment], release: str, root: Path = ROOT) -> bool:
    """Write the table down, unless there is an objection, which is printed. Return whether it was written."""
    if reasons := objections(checked):
        print("docs/versions.md and README.md are left as they are:", *reasons, sep="\n  ", flush=True)
        return False
    write_down(table(checked), release, root)
    return True


def exit_code(checked: list[Environment]) -> int:
    """Return 1 if a test failed, or if nothing was tested. A Python that is not installed here is no failure."""
    failed = any(one.failed or any(count["failed"] for count in one.outcomes.values()) for one in checked)
    return int(failed or not any(one.outcomes for one in checked))


def main() -> int:
    wanted = sys.argv[1:]
    checked = environments(wanted)
    wheel = prepare()
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(lambda one: check(one, wheel), checked))
    print(f"\n{table(checked)}\n")
    if not wanted:
        publish(checked, release=wheel.name.split("-")[1])
    return exit_code(checked)


if __name__ == "__main__":
    sys.exit(main())
