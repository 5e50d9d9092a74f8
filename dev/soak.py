"""``make soak``: the tutorial's DAG again and again under ``airflow standalone``, and how often it failed.

Airflow's defaults and the sandbox's, because what fails at random depends on them: how soon a video is done, how
often the scheduler looks, when a worker notices that its task has ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests

from dev.airflow_client import AirflowApiError, AirflowClient
from dev.airflow_config import QUIET, USERNAME, surroundings
from dev.demo import ROOT
from dev.processes import Child, SignalsAsExceptions, StackError, free_port, tail, wait_until
from dev.sandbox_process import SandboxProcess

TUTORIAL = ROOT / "docs" / "tutorial.md"
DAG_ID, DAG_MARK = "first_video", "<!-- file: dags/first_video.py -->\n```python\n"
START_TIMEOUT, RUN_TIMEOUT = 900, 300
PASSWORD = "admin"  # of an Airflow on the loopback that lives as long as this process
FINISHED = {"success", "failed"}
NO_PROXIES = {"http": "", "https": ""}


def tutorial_dag() -> str:
    """Return the DAG file of the tutorial, without retries: a retry would hide a failure."""
    _, mark, rest = TUTORIAL.read_text().partition(DAG_MARK)
    if not mark:
        raise StackError(f"{TUTORIAL} holds no block after {DAG_MARK!r}")
    return re.sub(r"^ *retries=.*\n", "", rest.partition("```")[0], flags=re.MULTILINE)


class Standalone:
    """``airflow standalone`` with its own home and free ports, for the length of a ``with`` block."""

    def __init__(self, home: Path, connection: str) -> None:
        self.home = home
        self.log = home / "standalone.log"
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        options = {
            **QUIET,
            "API__HOST": "127.0.0.1",
            "API__PORT": str(port),
            "API__BASE_URL": url,
            "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }
        self.env = {
            **surroundings(),
            **{f"AIRFLOW__{name}": value for name, value in options.items()},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_GROKVIDEO_DEFAULT": connection,
        }
        self.client = AirflowClient(url, USERNAME, PASSWORD)
        self._workers_api = f"{url}/execution/health"

    def __enter__(self) -> Standalone:
        passwords = self.home / "passwords.json"
        passwords.touch(mode=0o600)
        passwords.write_text(json.dumps({USERNAME: PASSWORD}))
        self._child = Child(
            "airflow standalone", [sys.executable, "-m", "airflow", "standalone"], self.env, self.log, self.home
        )
        try:
            wait_until(self._is_ready, timeout=START_TIMEOUT, what="airflow standalone to be ready")
            self.client.wait_for_dag(DAG_ID, START_TIMEOUT)
        except BaseException as error:
            self._child.kill()
            if isinstance(error, StackError):
                raise StackError(f"{error}; the end of its log:\n{tail(self.log)}") from None
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.stop()

    def _is_ready(self) -> bool:
        self._child.check()
        try:
            self.client.login()
            health = self.client.health()
            # The workers' API is built at its first request, for which a task on a busy machine does not wait.
            requests.get(self._workers_api, timeout=START_TIMEOUT, proxies=NO_PROXIES).raise_for_status()
        except (AirflowApiError, requests.RequestException):
            return False
        return all(health[part]["status"] == "healthy" for part in ("scheduler", "triggerer", "dag_processor"))

    def run(self, run_id: str) -> str:
        """Run the DAG and return how the run ended."""
        wait_until(lambda: self._trigger(run_id), timeout=RUN_TIMEOUT, what=f"{run_id} to be accepted")
        return wait_until(lambda: self._ending(run_id), timeout=RUN_TIMEOUT, what=f"{run_id} to end", interval=0.5)

    def _trigger(self, run_id: str) -> bool:
        self._child.check()
        with contextlib.suppress(requests.RequestException):
            try:
                self.client.trigger(DAG_ID, run_id=run_id)
            except AirflowApiError as error:
                # A call that failed may have made the run, and a busy API server has a locked database for a moment.
                if error.status != 409:
                    return False
            return True
        return False

    def _ending(self, run_id: str) -> str | None:
        self._child.check()
        try:
            state = self.client.run_state(DAG_ID, run_id)
        except (AirflowApiError, requests.RequestException):
            return None
        return state if state in FINISHED else None

    def evidence(self, run_id: str) -> Iterator[str]:
        """Yield the logs of a run's tasks, and what Airflow's processes wrote about it."""
        for ti in self.client.task_instances(DAG_ID, run_id):
            yield f"--- log of {ti['task_id']}, which ended as {ti['state']}"
            with contextlib.suppress(AirflowApiError):
                yield self.client.logs(DAG_ID, run_id, ti["task_id"], max(ti["try_number"], 1))
        yield "--- Airflow's own lines"
        yield from (line for line in self.log.read_text(errors="replace").splitlines() if run_id in line)


def soak(airflow: Standalone, runs: int) -> int:
    """Run the DAG ``runs`` times, one after another, and return how many of them failed."""
    failures = 0
    for number in range(1, runs + 1):
        run_id = f"soak_{number:04}"
        began = time.monotonic()
        try:
            ending = airflow.run(run_id)
        except StackError as error:
            ending = str(error)
        failures += ending != "success"
        print(f"[{number}/{runs}] {ending} after {time.monotonic() - began:.1f} s", flush=True)
        if ending != "success":
            with contextlib.suppress(StackError, requests.RequestException):
                print(*airflow.evidence(run_id), sep="\n", flush=True)
    return failures


def positive(text: str) -> int:
    """Read a number of runs."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def summarize(runs: int, failures: int) -> int:
    """Print how the soak ended, alone on a line, and return the exit code."""
    print(f"{runs - failures} passed, {failures} failed", flush=True)
    return 1 if failures else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make soak", description="Run the tutorial's DAG again and again.")
    parser.add_argument("--runs", type=positive, default=100)
    runs = parser.parse_args(arguments).runs
    try:
        with SignalsAsExceptions(), contextlib.ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grokvideo-soak-"))).resolve()
            (home / "dags").mkdir()
            (home / "dags" / f"{DAG_ID}.py").write_text(tutorial_dag())
            sandbox = stack.enter_context(SandboxProcess(home / "sandbox.log"))
            print("starting airflow standalone (about 30 s)", flush=True)
            airflow = stack.enter_context(Standalone(home, sandbox.connection))
            failures = soak(airflow, runs)
    except StackError as error:
        print(f"\nThe soak could not run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything is stopped")
        return 130
    return summarize(runs, failures)


if __name__ == "__main__":
    sys.exit(main())
