"""``make demo``: one video through a real local Airflow, told line by line.

Uses the sandbox; with GROKVIDEO_API_KEY set, the real API (of CometAPI, or of GROKVIDEO_HOST).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from dev.airflow_stack import AirflowApiError, AirflowStack, SandboxProcess, StackError
from dev.processes import SignalsAsExceptions, wait_until

ROOT = Path(__file__).resolve().parent.parent
DAG_ID, TASK_ID, DAG_FILE = "grokvideo_quickstart", "generate", "quickstart.py"
KEPT_RUNS = 3
# Airflow may take long to notice a lost task; the real API may take minutes to render.
SANDBOX_TIMEOUT, REAL_TIMEOUT = 300, 900
STATES = {
    "queued": "the scheduler has queued the task",
    "running": "a worker runs the task",
    "deferred": "deferred: the triggerer waits now, no worker slot is held",
    "up_for_retry": "this attempt failed, Airflow will try again",
}
STATES_AFTER_THE_WAIT = {
    "queued": "the wait is over, the task is queued again",
    "running": "a worker has the task again: it fetches and checks the video",
}


# How the lines begin that the trigger and the saving write.
TOLD = ("Generation ", "Saved ")


class Narrator:
    """Prints one line for each thing that happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._start:5.1f} s] {text}", flush=True)


def real_connection() -> str:
    """Return the connection to the real API, as Airflow reads it from the environment."""
    conn = {"conn_type": "grokvideo", "password": os.environ["GROKVIDEO_API_KEY"]}
    if host := os.environ.get("GROKVIDEO_HOST"):
        conn["host"] = host
    return json.dumps(conn)


def fresh_home(base: Path) -> Path:
    """Return a new folder for this run and drop all but the last few."""
    base.mkdir(exist_ok=True)
    for old in sorted(path for path in base.iterdir() if path.is_dir())[: -KEPT_RUNS + 1 or None]:
        shutil.rmtree(old)
    home = base / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S-%f")
    home.mkdir()
    return home


class Run:
    """One run of the quickstart DAG, followed through what Airflow's API and the task's log show."""

    def __init__(self, airflow: AirflowStack, narrator: Narrator) -> None:
        self.airflow = airflow
        self.client = airflow.client
        self.say = narrator.say
        self.run_id = self.client.trigger(DAG_ID)
        self._last_state: str | None = None
        self._states = STATES
        self._request_id: str | None = None
        self._told_log: set[str] = set()

    def follow(self, timeout: float) -> dict[str, Any]:
        """Tell what happens until the run has ended, and return the task's result."""
        state = wait_until(self._step, timeout=timeout, what=f"run {self.run_id} to end", interval=0.3)
        if state != "success":
            raise StackError(f"the run ended as {state}; the end of the task's log:\n{self.log_tail()}")
        return self.client.xcom(DAG_ID, self.run_id, TASK_ID)

    def log_tail(self, lines: int = 40) -> str:
        ti = self.client.task_instance(DAG_ID, self.run_id, TASK_ID)
        return "\n".join(self._log(ti["try_number"]).splitlines()[-lines:])

    def _step(self) -> str | None:
        self.airflow.check()
        run_state = self.client.run_state(DAG_ID, self.run_id)
        ti = self.client.task_instance(DAG_ID, self.run_id, TASK_ID)
        if ti["state"] not in {None, "scheduled", "queued", "running"}:
            self._tell_request_id()
        if ti["state"] != self._last_state:
            self._last_state = ti["state"]
            if told := self._states.get(ti["state"]):
                self.say(told)
        if ti["state"] == "running":
            self._tell_request_id()
        if ti["state"] == "deferred":
            self._states = STATES | STATES_AFTER_THE_WAIT
        ended = run_state in {"success", "failed"}
        if ended or ti["state"] == "deferred":
            self._tell_log(ti["try_number"])
        return run_state if ended else None

    def _tell_request_id(self) -> None:
        if self._request_id:
            return
        with contextlib.suppress(AirflowApiError):
            self._request_id = self.client.xcom(DAG_ID, self.run_id, TASK_ID, key="request_id")
            self.say(f"submitted, request_id {self._request_id} is in XCom")

    def _tell_log(self, try_number: int) -> None:
        """Pass on what the provider writes into the task's log about the generation and the file."""
        for line in self._log(try_number).splitlines():
            if line not in self._told_log:
                self._told_log.add(line)
                text = line.split(" ", 2)[-1]
                if text.startswith(TOLD):
                    self.say(f"    {text}")

    def _log(self, try_number: int) -> str:
        try:
            return self.client.logs(DAG_ID, self.run_id, TASK_ID, max(try_number, 1))
        except AirflowApiError as error:
            return f"(no log: {error})"


def tell_result(result: dict[str, Any], *, real: bool) -> None:
    cost = result.get("cost_usd")
    price = f"{float(cost):.2f} US dollars" if cost else "not told by the API"
    print(
        f"\nYour video:  {result['path'].removeprefix('file://')}\n"
        f"             {result['duration']} s, {result['size_bytes'] / 1024:.0f} KiB, {result['model']}\n"
        f"It cost:     {price if real else f'nothing: the sandbox made it (the real one: {price})'}\n\n"
        "What to do next:\n"
        "  make ui                                 click through all example DAGs in Airflow\n"
        "  GROKVIDEO_API_KEY=<your key> make demo  the same with the real API (this costs money)\n"
        "  example_dags/quickstart.py              the DAG that has just run: copy it into your own Airflow",
        flush=True,
    )


def main() -> int:
    narrator = Narrator()
    home = fresh_home(ROOT / ".demo")
    dags, videos = home / "dags", home / "videos"
    dags.mkdir()
    videos.mkdir()
    shutil.copy(ROOT / "example_dags" / DAG_FILE, dags)
    real = bool(os.environ.get("GROKVIDEO_API_KEY"))
    try:
        with SignalsAsExceptions(), contextlib.ExitStack() as stack:
            sandbox = None if real else stack.enter_context(SandboxProcess(home / "sandbox.log"))
            narrator.say(f"API: {sandbox.base_url + ' (sandbox)' if sandbox else 'the real one, with your key'}")
            narrator.say("starting Airflow: scheduler, triggerer, dag processor, api-server (about 20 s)")
            env = {
                "AIRFLOW_CONN_GROKVIDEO_DEFAULT": sandbox.connection if sandbox else real_connection(),
                "GROKVIDEO_OUTPUT": f"file://{videos}/",
            }
            airflow = stack.enter_context(AirflowStack(home / "airflow", dags, env))
            narrator.say(f"Airflow is up; triggering {DAG_ID}")
            run = Run(airflow, narrator)
            result = run.follow(REAL_TIMEOUT if real else SANDBOX_TIMEOUT)
            narrator.say("success: the video has saved; stopping Airflow")
        narrator.say("everything is stopped")
        tell_result(result, real=real)
    except StackError as error:
        print(f"\nThe demo failed: {error}\n\nAll logs are under {home}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        narrator.say("interrupted; everything is stopped")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
