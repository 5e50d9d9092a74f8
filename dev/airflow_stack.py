"""A whole local Airflow for the length of a ``with`` block: real processes, own home, own ports.

with AirflowStack(home, dags_folder) as airflow:
    run_id = airflow.client.trigger("my_dag")
    airflow.client.wait_for_run("my_dag", run_id)
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import psutil
import requests

from dev.airflow_client import AirflowApiError, AirflowClient
from dev.airflow_config import USERNAME, airflow_environment, surroundings
from dev.processes import (
    Child,
    SignalsAsExceptions,
    StackError,
    free_port,
    kill_all,
    process_title,
    session_members,
    wait_until,
)
from dev.sandbox_process import SandboxProcess

__all__ = [
    "AirflowApiError",
    "AirflowClient",
    "AirflowStack",
    "SandboxProcess",
    "StackError",
    "template_database",
    "wait_until",
]

JOB_TYPES = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob", "dag-processor": "DagProcessorJob"}
# The words in its log that tell that a component is at work which the database does not list.
READY_WORDS = {"celery-worker": " ready."}
WORKER_CONCURRENCY = 4
START_TIMEOUT = 180
STOP_TIMEOUT = 2.5

TaskProcess = Literal["runner", "supervisor"]


def template_database(folder: Path) -> Path:
    """Return where a folder keeps the migrated database of this interpreter's Airflow."""
    return folder / f"airflow-{version('apache-airflow')}.db"


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database; the target exists completely or not at all."""
    part = target.with_suffix(".part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(part)) as new:
        old.backup(new)
    part.replace(target)


class AirflowStack:
    """Scheduler, triggerer, dag processor and api-server of the Airflow that this interpreter has."""

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        env: Mapping[str, str] | None = None,
        *,
        api_server: bool = True,
        database_url: str | None = None,
        executor: str | None = None,
        password: str = "admin",
        port: int | None = None,
        template: Path | None = None,
        on_wait: Callable[[str], None] = lambda what: None,
        niceness: int = 0,
    ) -> None:
        """:param template: a migrated SQLite database to copy; where there is none yet, it is kept there.
        :param on_wait: is told what is awaited.
        :param niceness: of all components but the API server, which takes longest to start.
        """
        self.home = home.resolve()
        self.dags_folder = dags_folder.resolve()
        self.major = int(version("apache-airflow").split(".")[0])
        self.password = password
        if executor is None:
            # Airflow 2 lets SQLite be used by one process only, which runs one task at a time.
            executor = "SequentialExecutor" if self.major < 3 and database_url is None else "LocalExecutor"
        ports = {"api": port or free_port(), "worker_logs": free_port(), "trigger_logs": free_port()}
        self.base_url = f"http://127.0.0.1:{ports['api']}"
        self.env = {
            **surroundings(),
            **airflow_environment(
                self.home,
                self.dags_folder,
                major=self.major,
                executor=executor,
                # A busy machine makes the processes wait for each other's transactions for longer than SQLite's 5 s.
                database_url=database_url or f"sqlite:///{self.home}/airflow.db?timeout=60",
                ports=ports,
            ),
            **(env or {}),
        }
        self.client = AirflowClient(self.base_url, USERNAME, password, major=self.major)
        self.children: dict[str, Child] = {}
        self._api_server = api_server
        self._template = template
        self._on_wait = on_wait
        self._niceness = niceness
        self._signals = SignalsAsExceptions()

    # -- the life of the stack

    def __enter__(self) -> AirflowStack:
        self._signals.__enter__()
        try:
            self._prepare()
            self._start_all()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything. Whatever does not end by itself in time, or a second Ctrl-C, is killed.

        A triggerer can take ten seconds to stop its runner, and a scheduler waits for its tasks: when their
        children are gone they end at once, and tidy up after themselves still.
        """
        try:
            for child in self.children.values():
                child.terminate()
            if not self._ended_within(STOP_TIMEOUT):
                for child in self.children.values():
                    child.kill_descendants()
                self._ended_within(STOP_TIMEOUT)
        finally:
            for child in self.children.values():
                child.kill()
            self.children.clear()
            self._signals.__exit__(None, None, None)

    def _ended_within(self, timeout: float) -> bool:
        try:
            return wait_until(self._all_ended, timeout=timeout, what="the components to stop", interval=0.05)
        except StackError:
            return False

    def _all_ended(self) -> bool:
        return not any(child.is_running() for child in self.children.values())

    def _prepare(self) -> None:
        for folder in (self.home / "logs", self.home / "plugins", self.dags_folder):
            folder.mkdir(parents=True, exist_ok=True)
        if self.major >= 3:
            passwords = self.home / "passwords.json"
            passwords.touch(mode=0o600)
            passwords.write_text(json.dumps({USERNAME: self.password}))
        self._migrate()
        if self.major < 3 and self._api_server:
            # fmt: off
            self.run("users", "create", "-u", USERNAME, "-p", self.password, "-r", "Admin",
                     "-f", "Local", "-l", "Admin", "-e", "admin@localhost")
            # fmt: on

    def _migrate(self) -> None:
        database = self.home / "airflow.db"
        if self._template and self._template.exists():
            copy_database(self._template, database)
            return
        self._on_wait(
            "airflow db migrate, once for this version of Airflow" if self._template else "airflow db migrate"
        )
        self.run("db", "migrate")
        if self._template:
            copy_database(database, self._template)

    def _start_all(self) -> None:
        since = datetime.now(UTC)
        names = ["scheduler", "triggerer"] if self.major < 3 else list(JOB_TYPES)
        if self._api_server:
            names.insert(0, "api-server")
        for name in names:
            self._spawn(name, name)
        if not self._api_server:
            return
        self._wait_for(self._api_answers, "the API server to answer")
        if self.major >= 3:
            # It is built by the first call, which takes seconds: not a task's.
            self._wait_for(self._execution_api_answers, "the API for tasks to be built")
        for name in names[1:]:
            self._wait_for(lambda name=name: self._jobs(name, since), f"{name} to report itself")

    def check(self) -> None:
        """Raise, with the end of its log, when a component has ended by itself."""
        for child in self.children.values():
            child.check()

    # -- single components

    def start(self, component: str, *, name: str | None = None) -> None:
        """Start a component (again), or a second one under another name, and wait until it is at work."""
        name = name or component
        since = datetime.now(UTC)
        self._spawn(component, name)
        if component == "api-server":
            self._wait_for(self._api_answers, "the API server to answer")
        elif words := READY_WORDS.get(component):
            log = self.children[name].log
            self._wait_for(lambda: words in log.read_text(errors="replace"), f"{name} to be ready")
        elif self._api_server:
            self._wait_for(lambda: self._jobs(component, since), f"{name} to report itself")

    def stop(self, name: str, timeout: float = 30) -> None:
        """SIGTERM: the component ends as in an orderly shutdown, and is killed if it does not."""
        self._child(name).stop(timeout)
        del self.children[name]

    def kill(self, name: str) -> None:
        """SIGKILL the component and everything it started. The scheduler's workers and tasks are among it."""
        self._child(name).kill()
        del self.children[name]

    def freeze(self, name: str) -> None:
        """SIGSTOP the component and everything it started, as a machine that swaps or a paused container does."""
        for process in session_members(self._child(name).pid):
            process.suspend()

    def thaw(self, name: str) -> None:
        """Let a frozen component go on."""
        for process in session_members(self._child(name).pid):
            process.resume()

    def run(self, *args: str, timeout: float = 120) -> str:
        """Run an ``airflow`` command to its end and return what it printed."""
        log = self.home / "logs" / f"{'-'.join(args[:2])}.log"
        log.unlink(missing_ok=True)
        child = Child(f"airflow {' '.join(args[:2])}", self._command(*args), self.env, log, self.home)
        try:
            code = child.wait(timeout)
        finally:
            child.kill()
        output = log.read_text(errors="replace")
        if code:
            raise StackError(f"airflow {' '.join(args[:2])} ended with exit code {code}:\n{output[-4000:]}")
        return output

    def _command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *args]

    def _child(self, name: str) -> Child:
        if name not in self.children:
            raise StackError(f"{name} does not run; running are: {', '.join(self.children) or 'none'}")
        return self.children[name]

    def _spawn(self, component: str, name: str) -> None:
        if name in self.children:
            raise StackError(f"{name} runs already")
        env = dict(self.env)
        if name != component:
            # Two components of a kind on one machine would fight for the port that serves their logs.
            env["AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT"] = str(free_port())
            env["AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT"] = str(free_port())
        log = self.home / "logs" / f"{name}.log"
        command = self._command(*self._component(component, name))
        if self._niceness and component != "api-server":
            command = ["nice", "-n", str(self._niceness), *command]
        self.children[name] = Child(name, command, env, log, self.home)

    def _component(self, component: str, name: str) -> list[str]:
        if component == "api-server" and self.major < 3:
            return ["webserver"]
        if component != "celery-worker":
            return [component]
        # Several workers on one machine need names and files of their own.
        return [
            "celery", "worker", "--celery-hostname", f"{name}@%h", "--pid", str(self.home / f"{name}.pid"),
            "--concurrency", str(WORKER_CONCURRENCY), "--skip-serve-logs", "--without-mingle", "--without-gossip",
        ]  # fmt: skip

    def _wait_for(self, probe: Any, what: str) -> None:
        self._on_wait(f"waiting for {what}")

        def checked() -> Any:
            self.check()
            try:
                return probe()
            except (requests.ConnectionError, requests.Timeout):
                return None

        wait_until(checked, timeout=START_TIMEOUT, what=what, interval=0.1)

    def _api_answers(self) -> bool:
        self.client.login()
        return self.client.health()["metadatabase"]["status"] == "healthy"

    def _execution_api_answers(self) -> bool:
        http = requests.Session()
        http.trust_env = False
        with http:
            return http.get(f"{self.base_url}/execution/health", timeout=START_TIMEOUT).ok

    def _jobs(self, component: str, since: datetime) -> bool:
        """Whether a component of this kind has written its first heartbeat since then."""
        if self.major >= 3:
            return bool(self.client.job_ids(JOB_TYPES[component], since=since))
        beat = self.client.health()[component][f"latest_{component}_heartbeat"]
        return bool(beat) and datetime.fromisoformat(beat) >= since

    # -- the processes of one task instance

    def task_processes(
        self, dag_id: str, run_id: str, task_id: str, map_index: int = -1
    ) -> dict[TaskProcess, list[psutil.Process]]:
        """Find the live processes that work on a task instance, by the titles that Airflow gives them.

        The *runner* executes the operator; its parent, the *supervisor*, heartbeats and talks to the API.
        """
        marks = self._title_marks(dag_id, run_id, task_id, map_index)
        found: dict[TaskProcess, list[psutil.Process]] = {"runner": [], "supervisor": []}
        for child in list(self.children.values()):
            for process in session_members(child.pid):
                title = process_title(process)
                if all(f" {mark} " in title for mark in marks):
                    found[self._kind(title)].append(process)
        return found

    def _title_marks(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[str]:
        if self.major >= 3:
            return [str(self.client.task_instance(dag_id, run_id, task_id, map_index)["id"])]
        if map_index >= 0:
            raise StackError("Airflow 2 does not tell the processes of mapped task instances apart")
        return [dag_id, task_id, run_id]

    def _kind(self, title: str) -> TaskProcess:
        if self.major < 3:
            return "runner" if "airflow task runner" in title else "supervisor"
        # LocalExecutor's worker is itself the supervisor of its task; other executors name theirs so.
        return "supervisor" if "LocalExecutor" in title or "supervisor" in title else "runner"

    def wait_until_no_process(
        self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, *, timeout: float = 10
    ) -> None:
        """Wait until nothing runs the task instance: its processes end a moment after its state changes."""

        def gone() -> bool:
            return not any(self.task_processes(dag_id, run_id, task_id, map_index).values())

        wait_until(gone, timeout=timeout, what=f"the processes of {task_id}[{map_index}] to end")

    def kill_task(
        self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, *, only: TaskProcess | None = None
    ) -> int:
        """SIGKILL the processes of a running task instance and return how many there were.

        All of them is what a machine that dies does: Airflow learns of it from the missing heartbeat. Only
        the runner is what the kernel's out-of-memory killer does: the supervisor reports it at once.
        """
        found = self.task_processes(dag_id, run_id, task_id, map_index)
        victims = [process for kind in found if only in {None, kind} for process in found[kind]]
        if not victims:
            raise StackError(f"no process runs {task_id}[{map_index}] of {run_id}")
        kill_all(victims)
        return len(victims)
