"""DAG runs with one video each, read through Airflow's API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from dev.airflow_stack import AirflowStack, SandboxProcess, StackError

FINISHED = ("success", "failed")


@dataclass(frozen=True)
class VideoRun:
    """One run of a DAG of ``dags/tasks.py``.

    :param name: the run's id; the prompt carries it, so that its submissions can be told apart.
    :param asked: the rest of the prompt.
    :param conf: what else the run is asked for.
    """

    airflow: AirflowStack
    sandbox: SandboxProcess
    name: str
    dag_id: str = "video"
    asked: str = ""
    conf: dict[str, Any] = field(default_factory=dict)
    task_id: str = "video"

    @property
    def mark(self) -> str:
        return f"Run {self.name}."

    def start(self, *faults: dict[str, Any]) -> VideoRun:
        """Start the run; the faults are for it alone."""
        for fault in faults:
            self.sandbox.fault({**fault, "prompt_contains": self.mark})
        conf = {"prompt": f"{self.mark} {self.asked}".strip(), **self.conf}
        self.airflow.client.trigger(self.dag_id, conf=conf, run_id=self.name)
        return self

    def wait(self, timeout: float = 400) -> dict[str, Any]:
        """Wait for the run's end and return its task instance."""
        self.airflow.client.wait_for_run(self.dag_id, self.name, timeout=timeout)
        return self.task()

    def wait_for(self, state: str, timeout: float = 240) -> None:
        self.airflow.client.wait_for_task(self.dag_id, self.name, self.task_id, state, timeout=timeout)

    def task(self) -> dict[str, Any]:
        return self.airflow.client.task_instance(self.dag_id, self.name, self.task_id)

    def clear(self) -> None:
        self.airflow.client.clear(self.dag_id, self.name, [self.task_id])

    def log(self, try_number: int = 1, task_id: str | None = None) -> str:
        return self.airflow.client.logs(self.dag_id, self.name, task_id or self.task_id, try_number)

    def xcom(self, key: str = "return_value", task_id: str | None = None) -> Any:
        return self.airflow.client.xcom(self.dag_id, self.name, task_id or self.task_id, key)

    def submissions(self) -> list[dict[str, Any]]:
        return [entry for entry in self.sandbox.requests() if self.mark in entry["body"]["prompt"]]

    def ids(self) -> list[str]:
        return [entry["request_id"] for entry in self.submissions()]

    def finish(self) -> None:
        """End the generations of this run at the API."""
        for entry in self.submissions():
            if entry["state"] == "pending":
                self.sandbox.finish(entry["request_id"])


class VideoRuns(Mapping[str, VideoRun]):
    """Runs that go on at the same time, by name; to look one up is to wait for its end.

    A run that does not start or end as it should fails the tests that look it up, and no others.

    :param runs: each with the faults that are for it alone.
    """

    def __init__(self, runs: Iterable[tuple[VideoRun, list[dict[str, Any]]]]) -> None:
        self._runs: dict[str, VideoRun] = {}
        self._errors: dict[str, Exception] = {}
        self._ends: dict[str, tuple[str, int, int]] = {}
        for run, faults in runs:
            self._runs[run.name] = run
            try:
                run.start(*faults)
            except (StackError, requests.RequestException) as error:
                self._errors[run.name] = error

    def __getitem__(self, name: str) -> VideoRun:
        run = self._runs[name]
        if error := self._errors.get(name):
            raise error
        if name not in self._ends:
            try:
                task = run.wait()
                self._ends[name] = (task["state"], task["try_number"], len(run.submissions()))
            except (StackError, requests.RequestException) as error:
                self._errors[name] = error
                raise
        return run

    def first_end(self, name: str) -> tuple[str, int, int]:
        """Return state, attempts and submissions of the task as they were before anybody cleared it."""
        self[name]
        return self._ends[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)

    def ended(self) -> list[VideoRun]:
        """Wait for all runs and return those that have ended."""
        for name in self:
            try:
                self[name]
            except (StackError, requests.RequestException):
                continue
        return [self._runs[name] for name in self._runs if name in self._ends]


def add_dag_file(source: Path | str, folder: Path, name: str = "") -> None:
    """Put a file, or the text of one, into a DAGs folder atomically: Airflow never parses half of it."""
    text = source.read_text() if isinstance(source, Path) else source
    target = folder / (name or Path(source).name)
    target.parent.mkdir(exist_ok=True)
    unseen = target.with_name(f"{target.name}.unfinished")
    unseen.write_text(text)
    unseen.replace(target)
