"""A DAG that runs when another has made a video, and takes the result from the asset's event."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dev.airflow_stack import AirflowStack

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "asset.py"
PRODUCER, CONSUMER = "grokvideo_asset_producer", "grokvideo_asset_consumer"


@pytest.fixture(autouse=True)
def dag_file(dags_folder: Path) -> None:
    shutil.copy(EXAMPLE, dags_folder)


def test_the_consumer_runs_on_the_producers_result(airflow: AirflowStack, videos: Path) -> None:
    client = airflow.client
    client.wait_for_dag(CONSUMER)
    run_id = client.trigger(PRODUCER)
    assert client.wait_for_run(PRODUCER, run_id, timeout=90) == "success"
    result = client.xcom(PRODUCER, run_id, "generate")

    (consumed,) = client.wait_until(
        lambda: client.call("GET", f"/dags/{CONSUMER}/dagRuns")["dag_runs"], 60, "the consumer to be started"
    )
    assert client.wait_for_run(CONSUMER, consumed["dag_run_id"], timeout=60) == "success"
    assert client.xcom(CONSUMER, consumed["dag_run_id"], "publish") == [result["path"]]

    kind = "asset" if client.major >= 3 else "dataset"
    events = client.call("GET", f"/{kind}s/events", params={"source_dag_id": PRODUCER})[f"{kind}_events"]
    extras = {event.get("uri") or event.get("dataset_uri"): event["extra"] for event in events}
    # The asset that the task names, and the landed file in place of the alias.
    assert set(extras) == {"grokvideo://videos/trailer", result["path"]}
    for extra in extras.values():
        assert {**extra, "from_rest_api": None} == {**result, "from_rest_api": None}
    assert videos in Path(result["path"].removeprefix("file://")).parents
