"""A client for the REST API of a local Airflow: 2.11 (/api/v1) and 3.x (/api/v2)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import requests

from dev.processes import StackError, T, wait_until

CALL_TIMEOUT = 120
"""Seconds for one call: a busy machine makes the API server slow, not wrong."""
REPEAT_FOR = 120
"""Seconds for which a call is repeated that the API server refuses for a moment."""
DAG_TIMEOUT = 120
"""Seconds until a new DAG file is parsed and stored, on a busy machine."""
REPEAT_PAUSE = 0.5
# A locked SQLite is answered with 500 "Database error"; the transaction is rolled back.
BUSY = {500, 502, 503, 504}
FINISHED = ("success", "failed")
# fmt: off
REPEATED = {"timestamp", "level", "event", "error_detail", "logger", "filename", "lineno",
            "dag_id", "run_id", "task_id", "map_index", "try_number", "ti_id"}
# fmt: on


class AirflowApiError(StackError):
    """The REST API refused a call or gave an answer that is not one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class AirflowClient:
    """Triggers runs, waits for them and looks at what they left behind."""

    def __init__(self, base_url: str, username: str, password: str, *, major: int = 3) -> None:
        self.base_url = base_url.rstrip("/")
        self.major = major
        self._api = f"{self.base_url}/api/v{major - 1}"
        self._credentials = (username, password)
        self._http = requests.Session()
        # A proxy of the surroundings has no business between this machine and itself.
        self._http.trust_env = False

    def login(self) -> None:
        """Get a token (3.x) or set the basic credentials (2.x)."""
        if self.major < 3:
            self._http.auth = self._credentials
            return
        username, password = self._credentials
        answer = self._http.post(
            f"{self.base_url}/auth/token", json={"username": username, "password": password}, timeout=30
        )
        if answer.status_code != 201:
            raise AirflowApiError(f"login as {username} refused: {answer.text[:500]}", answer.status_code)
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Call the API below /api/vN and return the JSON.

        What the server refuses for a moment is repeated. Any other answer than 2xx raises AirflowApiError.
        """
        deadline = time.monotonic() + REPEAT_FOR
        while True:
            try:
                return self._call_once(method, path, **kwargs)
            except AirflowApiError as error:
                if error.status not in BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(REPEAT_PAUSE)

    def _call_once(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self._http.request(method, f"{self._api}{path}", timeout=CALL_TIMEOUT, **kwargs)
        if answer.status_code == 401 and self.major >= 3:
            self.login()
            answer = self._http.request(method, f"{self._api}{path}", timeout=CALL_TIMEOUT, **kwargs)
        if not answer.ok:
            raise AirflowApiError(f"{method} {path}: {answer.status_code} {answer.text[:1000]}", answer.status_code)
        return answer.json() if answer.content else None

    def health(self) -> dict[str, Any]:
        return self.call("GET", "/monitor/health" if self.major >= 3 else "/health")

    def job_ids(self, job_type: str, *, since: datetime) -> set[int]:
        """Return the jobs of a type (SchedulerJob, TriggererJob, …) that started since then (3.x)."""
        jobs = self.call("GET", "/jobs", params={"job_type": job_type, "limit": 100})["jobs"]
        return {job["id"] for job in jobs if job["start_date"] and datetime.fromisoformat(job["start_date"]) >= since}

    def wait_until(self, predicate: Callable[[], T | None], timeout: float, what: str = "condition") -> T:
        """Poll ``predicate`` until it is truthy and return its answer; raise after ``timeout``."""
        return wait_until(predicate, timeout=timeout, what=what)

    def wait_for_dag(self, dag_id: str, timeout: float = DAG_TIMEOUT) -> None:
        """Wait until the dag processor has stored the DAG; if it does not, raise with the import errors."""

        def known() -> bool:
            try:
                dag = self.call("GET", f"/dags/{quote(dag_id)}")
            except AirflowApiError as error:
                if error.status != 404:
                    raise
                return False
            return bool(dag.get("is_active", True))

        try:
            self.wait_until(known, timeout, f"DAG {dag_id} to appear")
        except AirflowApiError:
            raise
        except StackError as error:
            errors = self.call("GET", "/importErrors")["import_errors"]
            raise StackError(f"{error}; import errors: {_import_errors(errors) or 'none'}") from None

    def trigger(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        run_id: str | None = None,
        logical_date: datetime | None = None,
    ) -> str:
        """Start a run and return its run_id. The DAG is waited for if it is not known yet.

        The run is named here, so that a repeated call cannot start a second one.
        """
        self.wait_for_dag(dag_id)
        now = datetime.now(UTC)
        run_id = run_id or f"manual__{now.isoformat()}"
        body: dict[str, Any] = {"conf": conf or {}, "dag_run_id": run_id}
        if self.major >= 3 or logical_date:
            body["logical_date"] = (logical_date or now).isoformat()
        refusals: list[AirflowApiError] = []

        def started() -> bool:
            try:
                self._call_once("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body)
            except AirflowApiError as error:
                if error.status == 409 and refusals:
                    # What was answered with an error has started the run after all.
                    return True
                # 404: the DAG is listed, but its serialized form is not stored yet.
                if error.status not in {404, *BUSY}:
                    raise
                refusals.append(error)
                return False
            return True

        try:
            self.wait_until(started, DAG_TIMEOUT, f"a run of {dag_id} to start")
        except AirflowApiError:
            raise
        except StackError as error:
            raise StackError(f"{error}; the last answer: {refusals[-1]}") from None
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        return self.call("GET", _run(dag_id, run_id))["state"]

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = 60) -> str:
        """Wait until the run has ended and return its state, ``success`` or ``failed``."""

        def ended() -> str | None:
            state = self.run_state(dag_id, run_id)
            return state if state in FINISHED else None

        try:
            return self.wait_until(ended, timeout, f"run {run_id} of {dag_id} to end")
        except AirflowApiError:
            raise
        except StackError as error:
            states = {f"{ti['task_id']}[{ti['map_index']}]": ti["state"] for ti in self.task_instances(dag_id, run_id)}
            raise StackError(f"{error}; task instances: {states}") from None

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all task instances of a run: task_id, map_index, state, try_number, pid, hostname …"""
        found: list[dict[str, Any]] = []
        while True:
            page = self.call(
                "GET", f"{_run(dag_id, run_id)}/taskInstances", params={"limit": 100, "offset": len(found)}
            )
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        for ti in self.task_instances(dag_id, run_id):
            if (ti["task_id"], ti["map_index"]) == (task_id, map_index):
                return ti
        raise StackError(f"run {run_id} of {dag_id} has no task instance {task_id}[{map_index}]")

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, states: str | Iterable[str], *, map_index: int = -1,
        timeout: float = 60,
    ) -> dict[str, Any]:  # fmt: skip
        """Wait until a task instance is in one of the states; raise when it ends in another."""
        wanted = {states} if isinstance(states, str) else set(states)

        def reached() -> dict[str, Any] | None:
            ti = self.task_instance(dag_id, run_id, task_id, map_index)
            if ti["state"] in wanted:
                return ti
            if ti["state"] in {*FINISHED, "upstream_failed", "skipped", "removed"}:
                raise StackError(f"{task_id}[{map_index}] of {run_id} ended as {ti['state']}, not as {wanted}")
            return None

        return self.wait_until(reached, timeout, f"{task_id}[{map_index}] of {run_id} to be {wanted}")

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return a deserialized XCom value; an XCom that is not there raises with status 404."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key)}"
        params: dict[str, Any] = {"map_index": map_index}
        if self.major < 3:
            params |= {"deserialize": "true", "stringify": "false"}
        return self.call("GET", path, params=params)["value"]

    def logs(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of one attempt as text, one event a line."""
        answer = self.call(
            "GET",
            f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}",
            params={"map_index": map_index, "full_content": "true"},
            headers={"Accept": "application/json"},
        )
        content = answer["content"]
        return content if isinstance(content, str) else "\n".join(_log_line(event) for event in content)

    def clear(self, dag_id: str, run_id: str, task_ids: Iterable[str] = (), *, downstream: bool = False) -> None:
        """Clear task instances (all of the run by default), as a person does in the UI."""
        body: dict[str, Any] = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": run_id,
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        if names := list(task_ids):
            body["task_ids"] = names
        self.call("POST", f"/dags/{quote(dag_id)}/clearTaskInstances", json=body)


def _run(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _log_line(event: Any) -> str:
    """Write a structured log event as a line; what every event of the task repeats is left out."""
    if not isinstance(event, dict):
        return str(event)
    line = f"{event.get('timestamp') or ''} {event.get('level') or ''} {event.get('event', '')}".strip()
    if extra := {key: value for key, value in event.items() if key not in REPEATED}:
        line += f" {json.dumps(extra, default=str)}"
    for error in event.get("error_detail") or ():
        line += f"\n    {error['exc_type']}: {error['exc_value']}"
        for frame in (error.get("frames") or ())[-2:]:
            line += f"\n        {frame['filename']}:{frame['lineno']} in {frame['name']}"
    return line


def _import_errors(errors: list[dict[str, Any]]) -> str:
    return "\n".join(f"{error['filename']}: {error['stack_trace']}" for error in errors)
