"""Two processes of one task instance that start at the same moment: at most one of them may submit.

Each round is one task instance. The processes meet at a barrier, read the ledger, pause for a random time, and record
their intent, after which they would submit. What the ledger lets through is counted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.distributed.services import Postgres, missing

if TYPE_CHECKING:
    from airflow_provider_grokvideo.ledger_stores import LedgerStore

pytestmark = pytest.mark.timeout(900)
ROUNDS = 200
MAX_PAUSE = 0.003
CONNECTION = DAG = "two_processes"
STATE_STORE = "state"


class StateOfTask:
    """Airflow's task state store of one task instance, straight on the database."""

    def __init__(self, task_id: str) -> None:
        from airflow._shared.state import TaskScope
        from airflow.state import get_state_backend

        self._scope = TaskScope(dag_id=DAG, run_id=DAG, task_id=task_id, map_index=-1)
        self._backend = get_state_backend()

    def get(self, key: str) -> Any:
        """Return the value, as the API server reads it."""
        value = self._backend.get(self._scope, key)
        return None if value is None else json.loads(value)

    def set(self, key: str, value: Any) -> None:
        """Write the value, as the API server does."""
        self._backend.set(self._scope, key, json.dumps(value))


def open_stores(place: str) -> Callable[[int], LedgerStore]:
    """Return what opens the store of a round, after the slow part of opening is done."""
    from airflow_provider_grokvideo.ledger_stores import FileStore, TaskStateStore

    if place.startswith(STATE_STORE):
        StateOfTask("warm-up").get("x")
        return lambda each: TaskStateStore(StateOfTask(f"{place}-{each}"))
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    root = ObjectStoragePath(place)
    root.fs.exists(root.path)
    return lambda each: FileStore(root / f"round-{each}.json")


def compete(place: str, barrier: Barrier, rounds: int, number: int, results: Any) -> None:
    """Compete for each round's submission, and report the rounds that were won."""
    from airflow_provider_grokvideo.api.summary import RequestSummary
    from airflow_provider_grokvideo.exceptions import LedgerError
    from airflow_provider_grokvideo.ledger import Attempt, FailUnknown, Submit, next_step
    from airflow_provider_grokvideo.ledger_stores import Ledger

    draw = random.Random(number)
    store_of = open_stores(place)
    won = []
    for each in range(rounds):
        attempt = Attempt(try_number=number + 1)
        ledger = Ledger(store_of(each), attempt)
        barrier.wait(300)
        time.sleep(draw.uniform(0, MAX_PAUSE))
        step = next_step(ledger.read(), now=attempt, fingerprint="f", address="a", on_unknown="fail")
        if isinstance(step, FailUnknown):
            continue
        assert isinstance(step, Submit)
        time.sleep(draw.uniform(0, MAX_PAUSE))
        try:
            ledger.record_intent("f", "a", RequestSummary("grok-imagine-video"))
        except LedgerError:
            continue
        won.append(each)
    results.put((number, won))


def winners(place: str, processes: int, rounds: int = ROUNDS) -> list[int]:
    """Return how many processes won each round.

    :param place: the URL of a directory, or ``STATE_STORE`` and anything.
    """
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(processes), spawn.Queue()
    started = [
        spawn.Process(target=compete, args=(place, barrier, rounds, number, results), daemon=True)
        for number in range(processes)
    ]
    for process in started:
        process.start()
    reports = [results.get(timeout=800) for _ in started]
    for process in started:
        process.join(30)
        assert process.exitcode == 0
    return [sum(each in won for _, won in reports) for each in range(rounds)]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a bucket of an S3 server of one's own.

    It handles one request at a time: S3 decides on the conditions of two writes one after the other, moto's threads
    do not. The bucket has a name of its own, because all servers of a process share moto's memory.
    """
    import boto3

    name = f"ledgers-{uuid.uuid4().hex}"

    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=name)
        made = {
            "conn_type": "aws",
            "login": "testing",
            "password": "testing",
            "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
        }
        monkeypatch.setitem(os.environ, f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(made))
        yield f"s3://{CONNECTION}@{name}/ledger"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.mark.parametrize("processes", [2, 8])
def test_one_process_submits_on_a_local_disk(processes: int, tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    assert winners(f"file://{tmp_path}/ledger", processes) == [1] * ROUNDS


@pytest.mark.parametrize("processes", [2, 4])
def test_one_process_submits_on_s3(processes: int, bucket: str) -> None:
    assert winners(bucket, processes) == [1] * ROUNDS


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the started processes use an Airflow on PostgreSQL that has one DAG run."""
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(f"CI must run this test, but {reason}")
        pytest.skip(reason)
    with Postgres() as server, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", server.url)
        subprocess.run([sys.executable, "-c", MAKE_RUN], check=True, capture_output=True, text=True, timeout=300)
        yield


MAKE_RUN = f"""
from airflow.utils.db import initdb
from airflow.utils.session import create_session
initdb()
from airflow.models.dagrun import DagRun
from airflow.utils.types import DagRunType
with create_session() as session:
    session.add(DagRun(dag_id="{DAG}", run_id="{DAG}", run_type=DagRunType.MANUAL))
"""


@pytest.mark.parametrize("processes", [2, 8])
def test_one_process_submits_on_the_task_state_store(processes: int, database: None) -> None:
    assert winners(f"{STATE_STORE} {processes}", processes) == [1] * ROUNDS
