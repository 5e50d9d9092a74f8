"""Every example DAG runs unchanged."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowClient, AirflowStack, StackError
from tests.e2e.video_runs import add_dag_file

EXAMPLES = Path(__file__).parents[2] / "example_dags"
DAG_IDS = {
    path.name: re.findall(r'\bDAG\(\s*"(\w+)"|@dag\(\s*(?:dag_id=)?"(\w+)"', path.read_text())
    for path in sorted(EXAMPLES.glob("*.py"))
}


@pytest.fixture(scope="module")
def ends(airflow: AirflowStack, dags_folder: Path) -> Callable[[str], str]:
    """Return what waits for the run of an example and returns its state; all of them are triggered together."""
    shutil.copytree(EXAMPLES / "images", dags_folder / "images", dirs_exist_ok=True)
    for file in DAG_IDS:
        add_dag_file(EXAMPLES / file, dags_folder)
    names = {file: next(filter(None, ids[0])) for file, ids in DAG_IDS.items() if ids}
    runs: dict[str, str] = {}
    errors: dict[str, StackError] = {}
    for file, dag_id in names.items():
        try:
            runs[file] = airflow.client.trigger(dag_id)
        except StackError as error:
            errors[file] = error

    def end(file: str) -> str:
        if file in errors:
            raise errors[file]
        state = airflow.client.wait_for_run(names[file], runs[file], timeout=400)
        if state == "success":
            return state
        return f"{state}: {failed_tasks(airflow.client, names[file], runs[file])}"

    return end


def failed_tasks(client: AirflowClient, dag_id: str, run_id: str) -> str:
    """Return the end of the log of each task that failed."""
    failed = [task for task in client.task_instances(dag_id, run_id) if task["state"] == "failed"]
    logs = [
        client.logs(dag_id, run_id, task["task_id"], max(task["try_number"], 1), task["map_index"])[-2000:]
        for task in failed
    ]
    return "\n".join(f"{task['task_id']}[{task['map_index']}]:\n{log}" for task, log in zip(failed, logs, strict=True))


@pytest.mark.parametrize("file", DAG_IDS)
def test_example_runs_to_success(file: str, ends: Callable[[str], str]) -> None:
    assert ends(file) == "success"


@pytest.mark.parametrize(("file", "folder", "count"), [("mapped.py", "animals", 3), ("decorator.py", "seasons", 2)])
def test_example_saves_its_videos(file: str, folder: str, count: int, ends: Callable[[str], str], videos: Path) -> None:
    ends(file)
    assert len(list(videos.glob(f"{folder}/*.mp4"))) == count


def test_daily_example_saves_a_video_each_day(ends: Callable[[str], str], videos: Path) -> None:
    ends("daily.py")
    # The schedule may have made a run of its own beside the test's.
    assert list(videos.glob("weather/*.mp4"))
