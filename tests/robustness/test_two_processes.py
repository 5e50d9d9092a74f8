"""Two processes of one task instance that start at the same moment: at most one of them may submit.

Each round is one task instance. The processes meet at a barrier, read the ledger, pause for a random time, and record
their intent, after which they would submit. What the ledger lets through is counted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

pytestmark = pytest.mark.timeout(900)
ROUNDS = 200
MAX_PAUSE = 0.003
CONNECTION = "two_processes"


def compete(directory: str, barrier: Barrier, rounds: int, number: int, results: Any) -> None:
    """Compete for each round's submission, and report the rounds that were won."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_grokvideo.api.summary import RequestSummary
    from airflow_provider_grokvideo.exceptions import LedgerError
    from airflow_provider_grokvideo.ledger import Attempt, FailUnknown, Submit, next_step
    from airflow_provider_grokvideo.ledger_stores import FileStore, Ledger

    draw = random.Random(number)
    root = ObjectStoragePath(directory)
    root.fs.exists(root.path)
    won = []
    for each in range(rounds):
        attempt = Attempt(try_number=number + 1)
        ledger = Ledger(FileStore(root / f"round-{each}.json"), attempt)
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


def winners(directory: str, processes: int, rounds: int = ROUNDS) -> list[int]:
    """Return how many processes won each round."""
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(processes), spawn.Queue()
    started = [
        spawn.Process(target=compete, args=(directory, barrier, rounds, number, results), daemon=True)
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
