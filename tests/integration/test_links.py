"""Extra links of a task: each exists as soon as it has a target."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_grokvideo.links import grokvideo as links
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor
from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_1_PLUS
from tests.integration.conftest import KEY
from tests.support.task_run import TaskRun
from tests.support.video_tasks import video_task

REQUEST, VIDEO = links.GrokVideoRequestLink(), links.GrokVideoLink()
KEYS = {"_link_GrokVideoRequestLink", "_link_GrokVideoLink"}


def links_of(run: TaskRun) -> dict[str, Any]:
    return {key: value for key, value in run.xcoms.items() if key.startswith("_link")}


def test_both_links_exist_while_the_task_waits(sandbox: Any) -> None:
    run = video_task()
    seen: list[dict[str, Any]] = []
    make = run.make

    def watched() -> Any:
        if run.deferrals:
            seen.append(links_of(run))
        return make()

    run.make = watched
    run.run()

    request_id = run.result["request_id"]
    assert seen[0][REQUEST.xcom_key] == f"{sandbox.base_url}/videos/{request_id}"
    assert (VIDEO.xcom_key in seen[0]) == AIRFLOW_V_3_1_PLUS


def test_finished_task_links_to_its_preview_or_video(sandbox: Any) -> None:
    run = video_task().run()

    found = links_of(run)
    assert set(found) == KEYS
    if AIRFLOW_V_3_1_PLUS:
        assert found[VIDEO.xcom_key] == "/grokvideo/dags/dag/runs/manual__1/tasks/task/-1"
    else:
        assert found[VIDEO.xcom_key] == run.result["video_url"]


def test_mapped_task_links_to_its_own_preview(sandbox: Any) -> None:
    if not AIRFLOW_V_3_1_PLUS:
        pytest.skip("there is no preview before Airflow 3.1")
    run = video_task()
    run.map_index = 7
    run.run_id = "scheduled__2026-01-01T00:00:00+00:00"
    run.run()

    url = links_of(run)[VIDEO.xcom_key]
    assert url == "/grokvideo/dags/dag/runs/scheduled__2026-01-01T00%3A00%3A00%2B00%3A00/tasks/task/7"


def test_preview_link_has_the_base_path(sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/air/flow/")
    monkeypatch.setattr(links, "AIRFLOW_V_3_1_PLUS", True)
    context = {"ti": SimpleNamespace(dag_id="dag", run_id="run", task_id="task", map_index=-1)}

    assert links.preview_url(context) == "/air/flow/grokvideo/dags/dag/runs/run/tasks/task/-1"


def test_airflow_before_3_1_links_the_finished_video(sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "AIRFLOW_V_3_1_PLUS", False)

    done, refused = video_task().run(), video_task(prompt="A crowd #moderated").run()

    assert links_of(done)[VIDEO.xcom_key] == done.result["video_url"]
    assert set(links_of(refused)) == {REQUEST.xcom_key}


def test_sensor_has_both_links(sandbox: Any) -> None:
    request_id = video_task(wait_for_completion=False).run().result["request_id"]

    run = video_task(GrokVideoSensor, request_id=request_id).run()

    assert links_of(run)[REQUEST.xcom_key] == f"{sandbox.base_url}/videos/{request_id}"
    assert set(links_of(run)) == KEYS


def test_task_without_submission_has_no_link(sandbox: Any) -> None:
    run = video_task(duration=99).run()

    assert run.state == "failed"
    assert links_of(run) == {}


@pytest.mark.parametrize("link", [REQUEST, VIDEO], ids=lambda link: link.name)
def test_link_without_a_stored_url_is_empty(link: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for stored, url in ((None, ""), ("https://example.com/v", "https://example.com/v"), ({"odd": 1}, "")):
        monkeypatch.setattr(links, "XCom", SimpleNamespace(get_value=lambda stored=stored, **_: stored))
        assert link.get_link(SimpleNamespace(), ti_key=SimpleNamespace()) == url


@pytest.mark.parametrize(
    "stored", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "/\\evil.example", "x"]
)
def test_unsafe_link_is_empty(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "XCom", SimpleNamespace(get_value=lambda **_: stored))
    assert VIDEO.get_link(SimpleNamespace(), ti_key=SimpleNamespace()) == ""


def test_links_hold_no_secret(sandbox: Any) -> None:
    assert KEY not in str(links_of(video_task().run()))
