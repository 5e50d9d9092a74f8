"""OpenLineage events of a task, by the extractor of Airflow's OpenLineage provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from airflow_provider_grokvideo.utils.openlineage import dataset_name, lineage_of
from tests.support.task_run import MemoryStore, TaskRun

LAKE = Path(__file__).parents[2] / "example_dags" / "images" / "lake.png"


@pytest.fixture(autouse=True)
def openlineage() -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("airflow.providers.openlineage", reason="the extra openlineage is not installed")


class Reported:
    """Runs a task and asks its last process what it reports."""

    def __init__(self, kind: type = GrokVideoGenerateOperator, *, store: Any = None, **kwargs: Any) -> None:
        from airflow.providers.openlineage.extractors.base import DefaultExtractor

        self.last: Any = None
        fields = {"task_id": "task", "poll_interval": 0.05, "timeout": 20, **kwargs}

        def make() -> Any:
            self.last = kind(**fields)
            return self.last

        self.task = TaskRun(make, store=store or MemoryStore()).run()
        ti = SimpleNamespace(task_id="task")
        extractor = DefaultExtractor(self.last)
        ended_well = self.task.state == "success"
        self.lineage = extractor.extract_on_complete(ti) if ended_well else extractor.extract_on_failure(ti)
        self.inputs = [(one.namespace, one.name) for one in self.lineage.inputs]
        self.outputs = [(one.namespace, one.name) for one in self.lineage.outputs]

    @property
    def facet(self) -> dict[str, Any]:
        """The run facet as it is sent."""
        from openlineage.client.serde import Serde

        sent = json.loads(Serde.to_json(self.lineage.run_facets["grokVideo"]))
        return {key: value for key, value in sent.items() if not key.startswith("_")}


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("/data/lake.png", ("file", "/data/lake.png")),
        ("file:///data/lake.png", ("file", "/data/lake.png")),
        ("s3://bucket/a/b.mp4", ("s3://bucket", "a/b.mp4")),
        ("s3://my_aws@bucket/a/b.mp4", ("s3://bucket", "a/b.mp4")),
        ("gs://bucket/b.mp4", ("gs://bucket", "b.mp4")),
        ("https://example.com/v/b.mp4?signature=secret", ("https://example.com", "v/b.mp4")),
        ("https://user:password@example.com/b.mp4", ("https://example.com", "b.mp4")),
        ("HTTPS://user:password@example.com:8443/v/b.mp4?sig=s#f", ("https://example.com:8443", "v/b.mp4")),
        ("https://example.com?sig=secret", ("https://example.com", "")),
        ("https://example.com/b.mp4#secret", ("https://example.com", "b.mp4")),
        ("  https://example.com/b.mp4?sig=secret ", ("https://example.com", "b.mp4")),
        ("https://[::1/b.mp4?sig=secret", ("https://[::1", "b.mp4")),
        ("S3://bucket/a.png", ("s3://bucket", "a.png")),
        ("abfss://me@lake/a.png?sv=1&sig=secret", ("abfss://lake", "a.png")),
        ("s3://bucket/What is love? #1.mp4", ("s3://bucket", "What is love? #1.mp4")),
        ("file:///data/What is love? #1.mp4", ("file", "/data/What is love? #1.mp4")),
        ("/data/What is love? #1.mp4", ("file", "/data/What is love? #1.mp4")),
    ],
)
def test_datasets_are_named_without_secrets(uri: str, named: tuple[str, str]) -> None:
    assert dataset_name(uri) == named


@pytest.mark.parametrize("deferrable", [True, False])
def test_saved_video_is_reported_with_its_image(deferrable: bool, sandbox: Any, tmp_path: Path) -> None:
    reported = Reported(
        prompt="A lake", image=str(LAKE), duration=1, deferrable=deferrable, output_path=f"file://{tmp_path}/"
    )

    result = reported.task.result
    assert reported.inputs == [("file", str(LAKE))]
    assert reported.outputs == [("file", str(tmp_path / f"{result['request_id']}.mp4"))]
    assert reported.lineage.outputs[0].outputFacets["outputStatistics"].size == result["size_bytes"]
    assert reported.facet == {key: result[key] for key in ("request_id", "status", "model", "duration", "cost_usd")}


def test_data_uris_are_no_datasets(sandbox: Any) -> None:
    uri = "data:image/png;base64,iVBORw0KGgo="
    reported = Reported(prompt="A lake", reference_images=[uri, str(LAKE)], duration=1)

    assert reported.inputs == [("file", str(LAKE))]
    assert reported.outputs == []


@pytest.mark.parametrize(
    ("media", "named"),
    [
        ("DATA:image/png;base64,iVBORw0KGgo=", []),
        ("  Data:image/png;base64,iVBORw0KGgo=", []),
        ({"url": "DATA:image/png;base64,iVBORw0KGgo="}, []),
        ({"file_id": "file-1"}, []),
        ({"url": " HTTPS://u:p@example.com/a.png?sig=secret"}, [("https://example.com", "a.png")]),
        (Path("/data/a.png"), [("file", "/data/a.png")]),
        (None, []),
        (5, []),
    ],
)
def test_input_datasets_hold_no_content_or_secret(media: Any, named: list[tuple[str, str]]) -> None:
    operator = SimpleNamespace(image=media, reference_images=[media], video=None)

    assert [(one.namespace, one.name) for one in lineage_of(operator, {}).inputs] == named * 2


def test_edit_reports_its_source_video(sandbox: Any) -> None:
    made = Reported(prompt="A lake", duration=1)
    video = made.task.result["video_url"]
    reported = Reported(GrokVideoEditOperator, prompt="Let it snow", video=video)

    assert reported.task.state == "success"
    assert reported.inputs == [dataset_name(video)]


@pytest.mark.parametrize(("tag", "status"), [("#moderated", "moderated"), ("#failed", "failed")])
def test_failure_reports_its_cost(tag: str, status: str, sandbox: Any) -> None:
    reported = Reported(prompt=f"A crowd {tag}", duration=1)

    assert reported.outputs == []
    assert reported.facet["status"] == status
    assert reported.facet["request_id"] == reported.task.xcoms["request_id"]
    assert reported.facet.get("cost_usd") == reported.task.xcoms["outcome"]["cost_usd"]


def test_pending_and_refused_tasks_are_reported(sandbox: Any) -> None:
    assert Reported(prompt="A lake", duration=1, wait_for_completion=False).facet["status"] == "pending"
    refused = Reported(prompt="A lake", duration=99)
    assert (refused.task.state, refused.lineage.run_facets) == ("failed", {})


def test_returned_result_is_reported_again(sandbox: Any, tmp_path: Path) -> None:
    store = MemoryStore()
    first = Reported(prompt="A lake again", duration=1, output_path=f"file://{tmp_path}/", store=store)
    again = Reported(prompt="A lake again", duration=1, output_path=f"file://{tmp_path}/", store=store)

    assert again.task.deferrals == []
    assert (again.outputs, again.facet) == (first.outputs, first.facet)


def test_sensor_reports_its_saved_video(sandbox: Any, tmp_path: Path) -> None:
    submitted = Reported(prompt="A lake", duration=1, wait_for_completion=False)
    reported = Reported(
        GrokVideoSensor, request_id=submitted.task.result["request_id"], output_path=f"file://{tmp_path}/lake.mp4"
    )

    assert reported.inputs == []
    assert reported.outputs == [("file", f"{tmp_path}/lake.mp4")]
    assert reported.facet["request_id"] == submitted.task.result["request_id"]


def test_openlineage_is_imported_on_demand_only() -> None:
    code = (
        "import sys, airflow_provider_grokvideo.operators.grokvideo, airflow_provider_grokvideo.sensors.grokvideo;"
        "print([name for name in sys.modules if name.startswith(('openlineage', 'airflow.providers.openlineage.e'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
