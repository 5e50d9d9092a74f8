"""Every example DAG runs as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack

pytestmark = pytest.mark.timeout(400)
EXAMPLES = Path(__file__).parents[2] / "example_dags"
DAG_IDS = {
    path.name: re.findall(r'\bDAG\(\s*"(\w+)"|@dag\(\s*(?:dag_id=)?"(\w+)"', path.read_text())
    for path in sorted(EXAMPLES.glob("*.py"))
}


@pytest.fixture(scope="module")
def ends(airflow: AirflowStack, dags_folder: Path) -> dict[str, str]:
    """Return the state in which the run of each example ended; all of them were triggered together."""
    shutil.copytree(EXAMPLES, dags_folder / "examples")
    names = {file: next(filter(None, ids[0])) for file, ids in DAG_IDS.items() if ids}
    runs = {file: airflow.client.trigger(dag_id) for file, dag_id in names.items()}
    return {file: airflow.client.wait_for_run(names[file], run_id, timeout=240) for file, run_id in runs.items()}


@pytest.mark.parametrize("file", DAG_IDS)
def test_an_example_runs_to_success(file: str, ends: dict[str, str]) -> None:
    assert ends[file] == "success"


def test_the_examples_land_videos(ends: dict[str, str], videos: Path) -> None:
    assert len(list(videos.glob("animals/*.mp4"))) == 3
    assert len(list(videos.glob("seasons/*.mp4"))) == 2
    assert len(list(videos.glob("weather/*.mp4"))) >= 1
