"""One real ``airflow triggerer`` whose triggers are rows of its database, as deferred tasks make them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psutil

from benchmarks.harness import ROOT, Server

CAPACITY = 6000


class Triggerer:
    """The processes, the database and the probe on the event loop.

    :param home: an empty folder.
    :param server: what the connection ``grokvideo_bench`` points to.
    :param rate: the connection's ``max_requests_per_second``.
    """

    def __init__(self, home: Path, server: Server, rate: float) -> None:
        self.home = home
        self.probe = home / "probe.jsonl"
        database = f"sqlite:///{home}/airflow.db"
        os.environ |= {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "AIRFLOW__TRIGGERER__CAPACITY": str(CAPACITY),
            # All at once: by default it takes fifty per second.
            "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": str(CAPACITY),
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        }
        self._migrate()
        from airflow.models.connection import Connection
        from airflow.utils.session import create_session

        with create_session() as session:
            document = json.loads(server.connection(max_requests_per_second=rate))
            session.add(Connection(conn_id="grokvideo_bench", **document | {"extra": json.dumps(document["extra"])}))
            self._version = _add_run(session)
        self.add([("benchmarks.probe.LagProbe", {"path": str(self.probe)})])

    def __enter__(self) -> Self:
        log = (self.home / "triggerer.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"], cwd=ROOT, stdout=log, stderr=log
        )
        self.wait_for(self.samples, 90)
        children = psutil.Process(self._process.pid).children(recursive=True)
        (self.runner,) = children
        return self

    def __exit__(self, *exc: object) -> None:
        mine = [*psutil.Process(self._process.pid).children(recursive=True), self._process]
        for process in mine:
            process.kill()
        self._process.wait()

    def add(self, triggers: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Defer one task per trigger."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.trigger import Trigger
        from airflow.utils.session import create_session

        with create_session() as session:
            rows = [Trigger(classpath, kwargs) for classpath, kwargs in triggers]
            session.add_all(rows)
            session.flush()
            values = {
                "dag_id": "bench", "run_id": "bench", "try_number": 1, "state": "deferred", "pool": "default_pool",
                "pool_slots": 1, "queue": "default", "priority_weight": 1, "dag_version_id": self._version,
                "max_tries": 0, "operator": "GrokVideoSensor",
            }  # fmt: skip
            session.execute(
                TaskInstance.__table__.insert(),
                [
                    values | {"id": key, "task_id": f"wait-{key}", "map_index": -1, "trigger_id": row.id}
                    for row in rows
                    for key in [uuid4()]
                ],
            )

    def samples(self, since: float = 0.0) -> list[dict[str, Any]]:
        """What the probe has written."""
        if not self.probe.exists():
            return []
        lines = [json.loads(line) for line in self.probe.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["at"] >= since]

    def wait_for_tasks(self, enough: Any, timeout: float) -> None:
        """Wait until the number of tasks on the loop is as ``enough`` says."""
        self.wait_for(lambda: enough(self.samples()[-1]["tasks"]), timeout)

    def wait_for(self, probe: Any, timeout: float) -> None:
        """Wait until something is true, while the triggerer lives."""
        until = time.monotonic() + timeout
        while not probe():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.home / "triggerer.log").read_text(errors="replace")[-4000:])
            time.sleep(0.2)

    def _migrate(self) -> None:
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, cwd=ROOT)


def _add_run(session: Any) -> Any:
    """A Dag with one run, as little as the triggerer asks for; returns the version's id."""
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun

    now = datetime.now(UTC)
    session.execute(DagBundleModel.__table__.insert().values(name="bench"))
    session.execute(
        DagModel.__table__.insert().values(
            dag_id="bench", is_paused=False, is_stale=False, bundle_name="bench", max_active_tasks=10_000,
            max_consecutive_failed_dag_runs=0, has_task_concurrency_limits=False, timetable_type="", fileloc="bench.py",
        )
    )  # fmt: skip
    version = uuid4()
    session.execute(
        DagVersion.__table__.insert().values(
            id=version, version_number=1, dag_id="bench", bundle_name="bench", created_at=now, last_updated=now
        )
    )
    session.execute(
        DagRun.__table__.insert().values(
            dag_id="bench", run_id="bench", run_type="manual", run_after=now, state="running", logical_date=now,
            queued_at=now, start_date=now, created_dag_version_id=version, log_template_id=2, clear_number=0,
        )
    )  # fmt: skip
    return version
