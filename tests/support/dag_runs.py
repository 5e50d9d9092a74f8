"""Run a folder of DAGs with ``dag.test()`` in a process with an Airflow home of its own.

``python -m tests.support.dag_runs OUTPUT`` is that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run_dags(home: Path, folder: Path, **environment: str) -> dict[str, dict[str, Any]]:
    """Run the DAGs of a folder; return, by DAG and task instance, state, rendered fields and XComs.

    :param home: an empty folder for Airflow's own files.
    :param environment: further environment variables.
    """
    output = home / "runs.json"
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        # Nobody shares this database, and an inline trigger uses another connection to it.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "PYTHONWARNINGS": "ignore",
        **environment,
    }
    for command in (
        ["-m", "airflow", "db", "migrate"],
        ["-m", "airflow", "dags", "reserialize"],
        ["-m", "tests.support.dag_runs", str(output)],
    ):
        done = subprocess.run(
            [sys.executable, *command], env=env, cwd=home, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    (home / "log.txt").write_text(done.stdout + done.stderr)
    return json.loads(output.read_text())


def main(output: Path) -> None:
    """Run all DAGs of Airflow's folder."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session

    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert not bag.import_errors, bag.import_errors
    runs: dict[str, dict[str, Any]] = {}
    for dag_id, dag in sorted(bag.dags.items()):
        run = dag.test()
        with create_session() as session:
            runs[dag_id] = {
                f"{ti.task_id}[{ti.map_index}]": {
                    "state": str(ti.state),
                    "fields": RenderedTaskInstanceFields.get_templated_fields(ti, session=session),
                    "result": ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index, session=session),
                }
                for ti in run.get_task_instances(session=session)
            }
    output.write_text(json.dumps(runs, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
