"""A store with a temporary fault, before and after the submission: the retry succeeds and pays once."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.storage import open_path, replace_file
from tests.support.task_run import TaskRun

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)


class Faulty(MemoryFileSystem):
    """A store that refuses to open files, that many times."""

    cachable = False

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error
        self.times = 0

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if self.times:
            self.times -= 1
            raise self.error
        return super()._open(path, mode, **kwargs)


@pytest.mark.parametrize("where", ["output_path", "image"])
@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (TimeoutError("timed out"), 2),
        (ConnectionResetError("reset"), 2),
        (RuntimeError("503"), 2),
        (PermissionError("no"), 1),
    ],
    ids=["timeout", "reset", "unknown", "forbidden"],
)
def test_temporary_store_fault_allows_a_retry(
    error: Exception, attempts: int, where: str, sandbox: Any, attached: Callable[..., str]
) -> None:
    faulty = Faulty(error)
    url = f"{attached(faulty)}{uuid.uuid4().hex}/"
    replace_file(open_path(f"{url}cat.png"), PNG)
    faulty.times = 1
    given = {"output_path": f"{url}videos/"} if where == "output_path" else {"image": f"{url}cat.png"}
    arguments = {"task_id": "task", "prompt": "p", "duration": 1, "poll_interval": 0.05, "timeout": 20, **given}
    submissions = len(sandbox.submissions)

    task = TaskRun(lambda: GrokVideoGenerateOperator(**arguments), retries=3).run()

    assert task.attempts == attempts, task.error
    assert task.state == ("success" if attempts == 2 else "failed")
    assert len(sandbox.submissions) - submissions == attempts - 1
