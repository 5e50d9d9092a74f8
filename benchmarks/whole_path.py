"""The whole path on a real Airflow: worker-slot seconds per video, and from "done" at the API to the task's success."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.harness import Bar, Table
from dev.airflow_stack import AirflowStack, SandboxProcess

RENDER_SECONDS = 20.0
POLL_INTERVAL = 2.0
VIDEOS = 4
DAGS = """
from datetime import UTC, datetime
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

for name, deferrable in (("deferrable", True), ("on_worker", False)):
    with DAG(name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        GrokVideoGenerateOperator.partial(
            task_id="video", duration=1, deferrable=deferrable, poll_interval=POLL_INTERVAL, output_path="OUTPUT"
        ).expand(prompt=[f"{name} {number}" for number in range(VIDEOS)])
"""


class Slots:
    """Seconds for which tasks held a worker slot during a ``with`` block: sampled from their states."""

    def __init__(self, airflow: AirflowStack, dag_id: str, run_id: str) -> None:
        self._ask = lambda: airflow.client.task_instances(dag_id, run_id)
        self.seconds = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Slots:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(0.25):
            running = sum(ti["state"] == "running" for ti in self._ask())
            now = time.monotonic()
            self.seconds += running * (now - before)
            before = now


def observe(airflow: AirflowStack, sandbox: SandboxProcess, dag_id: str, render: float) -> dict[str, Any]:
    """Run one DAG to its end."""
    run_id = airflow.client.trigger(dag_id)
    with Slots(airflow, dag_id, run_id) as slots:
        airflow.client.wait_for_run(dag_id, run_id, timeout=300)
    ends = {}
    for ti in airflow.client.task_instances(dag_id, run_id):
        assert ti["state"] == "success", ti
        result = airflow.client.xcom(dag_id, run_id, "video", map_index=ti["map_index"])
        ends[result["request_id"]] = datetime.fromisoformat(ti["end_date"]).timestamp()
    noticed, succeeded = [], []
    for entry in sandbox.requests():
        if entry["request_id"] in ends:
            done = entry["accepted_at"] + render
            seen = min(
                poll["at"] for poll in sandbox.entries("polls")
                if poll["request_id"] == entry["request_id"] and poll["at"] >= done
            )  # fmt: skip
            noticed.append(seen - done)
            succeeded.append(ends[entry["request_id"]] - done)
    return {"slots": slots.seconds / VIDEOS, "noticed": noticed, "succeeded": succeeded}


def run(quick: bool) -> Table:
    """Both ways, one after the other, on one Airflow."""
    render = 5.0 if quick else RENDER_SECONDS
    table = Table(
        f"Whole path on a real Airflow with the sandbox: {VIDEOS} mapped videos, {render:g} s to render, "
        f"poll_interval {POLL_INTERVAL:g} s",
        ["mode", "worker-slot s per video", "done -> noticed, median (s)", "done -> success, median (s)", "max (s)"],
    )
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="grokvideo-stack-")))
        dags = home / "dags"
        dags.mkdir()
        source = DAGS.replace("POLL_INTERVAL", str(POLL_INTERVAL)).replace("VIDEOS", str(VIDEOS))
        (dags / "bench.py").write_text(source.replace("OUTPUT", f"file://{home}/videos/"))
        sandbox = stack.enter_context(SandboxProcess(home / "sandbox.log", render_seconds=render))
        env = {"AIRFLOW_CONN_GROKVIDEO_DEFAULT": sandbox.connection}
        airflow = stack.enter_context(AirflowStack(home / "airflow", dags, env))
        seen = {dag_id: observe(airflow, sandbox, dag_id, render) for dag_id in ("deferrable", "on_worker")}
    for dag_id, found in seen.items():
        middle = [statistics.median(found[name]) for name in ("noticed", "succeeded")]
        table.rows.append((dag_id, found["slots"], *middle, max(found["succeeded"])))
    for dag_id, found in seen.items():
        noticed = statistics.median(found["noticed"])
        table.bars.append(Bar(f"{dag_id}: seconds from done to noticed, median", noticed, POLL_INTERVAL + 1))
    return table
