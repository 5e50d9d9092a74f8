"""A DAG that an asset triggers reads the result from the asset event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dev.airflow_stack import AirflowStack
from tests.e2e.video_runs import add_dag_file

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "asset.py"
PRODUCER, CONSUMER = "grokvideo_asset_producer", "grokvideo_asset_consumer"


@pytest.fixture(autouse=True)
def dag_file(dags_folder: Path) -> None:
    add_dag_file(EXAMPLE, dags_folder)


def test_consumer_gets_the_result_of_the_producer(airflow: AirflowStack, videos: Path) -> None:
    client = airflow.client
    client.wait_for_dag(CONSUMER)
    run_id = client.trigger(PRODUCER)
    assert client.wait_for_run(PRODUCER, run_id, timeout=400) == "success"
    result = client.xcom(PRODUCER, run_id, "generate")
    kind = "asset" if client.major >= 3 else "dataset"

    def events() -> list[dict[str, Any]]:
        params = {"source_dag_id": PRODUCER, "source_run_id": run_id}
        return client.call("GET", f"/{kind}s/events", params=params)[f"{kind}_events"]

    def started() -> list[str]:
        # Another run of the producer starts its own run of the consumer.
        return sorted(
            {one.get("run_id") or one["dag_run_id"] for event in events() for one in event["created_dagruns"]}
        )

    (consumed,) = client.wait_until(started, 240, "the consumer to be started")
    assert client.wait_for_run(CONSUMER, consumed, timeout=240) == "success"
    assert client.xcom(CONSUMER, consumed, "publish") == [result["path"]]

    extras = {event.get("uri") or event.get("dataset_uri"): event["extra"] for event in events()}
    # The asset that the task names, and the saved file in place of the alias.
    assert set(extras) == {"grokvideo://videos/trailer", result["path"]}
    for extra in extras.values():
        assert {**extra, "from_rest_api": None} == {**result, "from_rest_api": None}
    assert videos in Path(result["path"].removeprefix("file://")).parents
