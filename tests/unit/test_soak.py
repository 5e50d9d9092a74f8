"""Counts and output of make soak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dev import soak
from dev.processes import StackError


class Airflow:
    """Stands in for ``airflow standalone``: its runs end as told."""

    def __init__(self, *endings: str | Exception) -> None:
        self.endings = iter(endings)
        self.run_ids: list[str] = []

    def run(self, run_id: str) -> str:
        self.run_ids.append(run_id)
        ending = next(self.endings)
        if isinstance(ending, Exception):
            raise ending
        return ending

    def evidence(self, run_id: str) -> Iterator[str]:
        yield f"evidence of {run_id}"


def test_failed_and_stuck_runs_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    airflow: Any = Airflow("success", "failed", StackError("soak_0003 to end: not within 300 s"), "success")

    failures = soak.soak(airflow, 4)

    printed = capsys.readouterr().out
    assert failures == 2
    assert len(set(airflow.run_ids)) == 4
    assert [id for id in airflow.run_ids if f"evidence of {id}" in printed] == airflow.run_ids[1:3]


@pytest.mark.parametrize(
    ("runs", "failures", "line", "code"), [(100, 0, "100 passed, 0 failed", 0), (20, 1, "19 passed, 1 failed", 1)]
)
def test_last_line_and_exit_code_show_the_outcome(
    capsys: pytest.CaptureFixture[str], runs: int, failures: int, line: str, code: int
) -> None:
    assert soak.summarize(runs, failures) == code
    assert capsys.readouterr().out == f"{line}\n"


def test_soak_runs_the_dag_of_the_tutorial() -> None:
    dag = soak.tutorial_dag()
    compile(dag, "first_video.py", "exec")
    assert f'DAG("{soak.DAG_ID}"' in dag
    assert "```" not in dag


def test_dag_has_no_retries() -> None:
    assert "retries=" in soak.TUTORIAL.read_text()
    assert "retries" not in soak.tutorial_dag()


@pytest.mark.parametrize("runs", ["0", "-1", "many"])
def test_number_of_runs_is_checked(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        soak.main(["--runs", runs])
    assert ended.value.code == 2
    assert "--runs" in capsys.readouterr().err
