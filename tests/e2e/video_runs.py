"""A DAG run that asks for one video, and what can be seen of it from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dev.airflow_stack import AirflowStack, SandboxProcess

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

    def wait(self, timeout: float = 180) -> dict[str, Any]:
        """Wait for the run's end and return its task instance."""
        self.airflow.client.wait_for_run(self.dag_id, self.name, timeout=timeout)
        return self.task()

    def wait_for(self, state: str, timeout: float = 120) -> None:
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
