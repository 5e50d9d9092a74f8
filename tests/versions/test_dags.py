"""Every example DAG with ``dag.test()``: Airflow's own runner, deferral and XCom."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from airflow.models.dagbag import DagBag

from airflow_provider_grokvideo.sandbox import Sandbox
from tests.versions.conftest import VIDEOS

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
HAS_STATE_STORE = AIRFLOW >= (3, 3)
VIDEOS_OF = {
    "grokvideo_asset_consumer": 0,
    "grokvideo_asset_producer": 1,
    "grokvideo_daily": 1,
    "grokvideo_decorator": 2,
    "grokvideo_image_to_video": 1,
    "grokvideo_mapped": 3,
    "grokvideo_quickstart": 1,
    "grokvideo_submit_then_sense": 1,
}


@pytest.fixture(scope="module")
def dags() -> DagBag:
    # What the dag processor does: Airflow must know assets and aliases before a task may announce them.
    subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "reserialize"], check=True, timeout=300, capture_output=True
    )
    return DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


def saved() -> set[Path]:
    return set(VIDEOS.rglob("*.mp4"))


def states(run: Any) -> dict[str, str]:
    return {f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in run.get_task_instances()}


def test_every_example_is_tested_here(dags: DagBag) -> None:
    assert dags.import_errors == {}
    assert set(dags.dags) == {*VIDEOS_OF, "grokvideo_failure_handling"}


@pytest.mark.parametrize("dag_id", VIDEOS_OF)
def test_example_succeeds(dag_id: str, dags: DagBag, sandbox: Sandbox) -> None:
    files, submissions = saved(), len(sandbox.submissions)

    run = dags.dags[dag_id].test()

    assert str(run.state) == "success", states(run)
    assert set(states(run).values()) == {"success"}
    assert len(sandbox.submissions) - submissions == VIDEOS_OF[dag_id]
    assert len(saved() - files) == VIDEOS_OF[dag_id]


def test_asset_events_hold_the_result(dags: DagBag, sandbox: Sandbox) -> None:
    run = dags.dags["grokvideo_asset_producer"].test()

    (task,) = run.get_task_instances()
    events = _asset_events(run)
    result = events.pop("grokvideo://videos/trailer")
    assert result["request_id"] in {one["request_id"] for one in sandbox.submissions}
    assert events == {result["path"]: result}
    assert (task.state, result["status"]) == ("success", "done")


def test_moderated_prompt_runs_the_failure_branch(dags: DagBag, sandbox: Sandbox) -> None:
    submissions = len(sandbox.submissions)

    run = dags.dags["grokvideo_failure_handling"].test()

    assert states(run) == {
        "generate[-1]": "failed",
        "publish[-1]": "upstream_failed",
        "explain[-1]": "success",
        "finish[-1]": "success",
    }
    assert len(sandbox.submissions) - submissions == 1


def test_ledger_is_in_the_expected_store(
    dags: DagBag, sandbox: Sandbox, record_property: Callable[[str, object], None]
) -> None:
    before = set(VIDEOS.rglob("grokvideo-*.json"))

    run = dags.dags["grokvideo_quickstart"].test()

    files = set(VIDEOS.rglob("grokvideo-*.json")) - before
    record_property("ledger", "task state store" if HAS_STATE_STORE else "file")
    if HAS_STATE_STORE:
        assert files == set()
        entry = _stored_state(run)
    else:
        (file,) = files
        entry = json.loads(file.read_text())
    assert entry["state"] == "finished"
    assert entry["request_id"] in {one["request_id"] for one in sandbox.submissions}


def _asset_events(run: Any) -> dict[str, dict[str, Any]]:
    """The extras of the events that a run has caused, by the URI of their asset."""
    from airflow.utils.session import create_session

    if AIRFLOW >= (3, 0):
        from airflow.models.asset import AssetEvent as Event
        from airflow.models.asset import AssetModel as Named
    else:
        from airflow.models.dataset import DatasetEvent as Event
        from airflow.models.dataset import DatasetModel as Named

    with create_session() as session:
        events = session.query(Event).filter(Event.source_run_id == run.run_id, Event.source_dag_id == run.dag_id).all()
        named = {one.id: one.uri for one in session.query(Named).all()}
        return {named[event.asset_id if AIRFLOW >= (3, 0) else event.dataset_id]: event.extra for event in events}


def _stored_state(run: Any) -> Any:
    from airflow.models.task_state_store import TaskStateStoreModel
    from airflow.utils.session import create_session

    with create_session() as session:
        row = session.query(TaskStateStoreModel).filter_by(run_id=run.run_id, dag_id=run.dag_id).one()
        return json.loads(row.value) if isinstance(row.value, str) else row.value


def test_task_has_its_links(dags: DagBag, sandbox: Sandbox, record_property: Callable[[str, object], None]) -> None:
    run = dags.dags["grokvideo_quickstart"].test()

    operator = dags.dags["grokvideo_quickstart"].get_task("generate")
    assert {link.name for link in operator.operator_extra_links} == {"Request", "Video"}
    request, video = _xcom(run, "_link_GrokVideoRequestLink"), _xcom(run, "_link_GrokVideoLink")
    assert request == f"{sandbox.base_url}/videos/{sandbox.submissions[-1]['request_id']}"
    previewed = AIRFLOW >= (3, 1)
    assert video.startswith("/grokvideo/dags/grokvideo_quickstart/" if previewed else "http")
    record_property("video link", "preview in Airflow" if previewed else "the API's URL")


def _xcom(run: Any, key: str) -> str:
    """Read from the database as it is: each version of Airflow has another way to read an XCom outside a task."""
    database = sqlite3.connect(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db")
    rows = database.execute("select value from xcom where run_id = ? and dag_id = ? and key = ?",
                            (run.run_id, run.dag_id, key)).fetchall()  # fmt: skip
    database.close()
    ((value,),) = rows
    while value[:1] in {'"', b'"'}:
        value = json.loads(value)
    return str(value)
