"""Whole DAGs in a real Airflow: rendered fields, sent prompts, and every mode of the sensor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_grokvideo.sandbox import Sandbox
from tests.support.connections import connection
from tests.support.dag_runs import run_dags

pytestmark = pytest.mark.timeout(900)
DAGS = Path(__file__).parent / "dags"
SIGNATURE = "deadbeef0123456789"
SIGNED = f"https://store.example.com/lake.png?X-Amz-Signature={SIGNATURE}"
MASKED = "https://store.example.com/lake.png?***"
HOSTILE = "50 {% off {{ conn.grokvideo_default.password }} {# no #}"
MODES = ("deferred", "ended", "backoff", "poke", "reschedule")


class Runs(dict[str, dict[str, Any]]):
    """What came of the DAGs.

    :param home: the folder in which they ran.
    :param prompts: what the API was asked for.
    """

    def __init__(self, home: Path, prompts: list[str], runs: dict[str, dict[str, Any]]) -> None:
        super().__init__(runs)
        self.seen = [json.loads(line) for line in (home / "seen.txt").read_text().splitlines()]
        self.log = (home / "log.txt").read_text()
        self.prompts = prompts

    def states(self, dag_id: str) -> set[str]:
        """Return the states of the tasks of a DAG."""
        return {task["state"] for task in self[dag_id].values()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Return what came of all DAGs."""
    home = tmp_path_factory.mktemp("airflow")
    with Sandbox(api_key="sandbox-key", render_seconds=1) as sandbox:
        default = connection(sandbox.base_url, sandbox.api_key)
        found = run_dags(home, DAGS, AIRFLOW_CONN_GROKVIDEO_DEFAULT=default, SEEN=str(home / "seen.txt"))
        yield Runs(home, [one["body"]["prompt"] for one in sandbox.submissions], found)


def test_returned_prompt_is_sent_and_shown_unchanged(runs: Runs) -> None:
    assert runs.states("verbatim") == {"success"}
    for name, task in runs["verbatim"].items():
        prompt = f"{name.split('_')[0]} {HOSTILE}"
        assert task["fields"]["prompt"] == prompt
        assert runs.prompts.count(prompt) == 2


def test_only_templates_of_the_author_are_rendered(runs: Runs) -> None:
    tasks = runs["upstream"]
    described = f"{HOSTILE} in upstream {HOSTILE}"

    assert runs.states("upstream") == {"success"}
    assert runs.prompts.count(described) == 1
    assert runs.prompts.count(HOSTILE) == 3
    assert tasks["described[-1]"]["fields"]["prompt"] == described
    assert tasks["described[-1]"]["fields"]["user"] == "upstream"
    for name in ("mapped[0]", "plain[-1]", "expanded[0]"):
        assert tasks[name]["fields"]["prompt"] == HOSTILE
    assert MASKED in json.dumps(tasks["described[-1]"]["fields"])
    for name in ("joined[0]", "by_kwargs[0]", "by_list[0]"):
        assert tasks[name]["fields"]["prompt"] == f"nested {HOSTILE}"
    for name in ("by_kwargs[0]", "by_list[0]", "by_field[0]"):
        assert tasks[name]["fields"]["extra"] == {"deep": [HOSTILE]}
        assert tasks[name]["fields"]["reference_images"] in (None, ["https://store.example.com/{{x}}.png"])
    assert tasks["by_field[0]"]["fields"]["prompt"] == "nested upstream"


def test_rendered_fields_hold_no_key_or_signature(runs: Runs) -> None:
    shown = json.dumps([task["fields"] for tasks in runs.values() for task in tasks.values()])

    assert len(shown) > 10_000
    assert SIGNATURE not in shown
    assert "sandbox-key" not in shown


def test_signed_urls_are_masked_in_all_fields(runs: Runs) -> None:
    tasks = runs["signed"]

    assert runs.states("signed") == {"success"}
    assert len(tasks) == 6
    for task in tasks.values():
        fields = task["fields"]
        assert (fields["image"], fields["prompt"]) == (MASKED, f"Like {MASKED}")
        assert fields["extra"] == {"x": [MASKED]}


def test_hooks_and_callbacks_see_plain_values(runs: Runs) -> None:
    assert {(what, name.split("_")[0]) for what, name, *_ in runs.seen} >= {
        ("pre_execute", "single"),
        ("pre_execute", "mapped"),
        ("pre_execute", "decorated"),
        ("execute", "single"),
        ("execute", "mapped"),
        ("callback", "single"),
    }
    assert [values for *_, image, extra in runs.seen if (values := (image, extra)) != (SIGNED, {"x": [SIGNED]})] == []


def test_prompt_is_shown_after_a_failure(runs: Runs) -> None:
    assert runs.states("moderated") == {"failed"}
    for task in runs["moderated"].values():
        assert task["fields"]["prompt"] == "A film in vain #moderated"


def test_sensor_result_is_the_same_in_every_mode(runs: Runs) -> None:
    tasks = {name.removesuffix("[-1]"): task for name, task in runs["senses"].items()}
    submitted = tasks.pop("submit")["result"]["request_id"]

    assert set(tasks) == set(MODES)
    assert {name: task["state"] for name, task in tasks.items()} == dict.fromkeys(MODES, "success")
    results = [task["result"] for task in tasks.values()]
    assert [result.pop("elapsed_seconds") > 0 for result in results] == [True] * len(MODES)
    assert {result["request_id"] for result in results} == {submitted}
    # A video's URL is signed anew by each poll.
    assert all(result.pop("video_url").startswith("http") for result in results)
    assert results == [results[0]] * len(MODES)


@pytest.mark.parametrize(
    ("dag_id", "state"),
    [("senses_failed", "failed"), ("senses_soft_fail", "skipped"), ("senses_never_fail", "skipped")],
)
def test_empty_id_follows_soft_fail(dag_id: str, state: str, runs: Runs) -> None:
    assert {name: task["state"] for name, task in runs[dag_id].items()} == {f"{mode}[-1]": state for mode in MODES}


def test_log_says_why_and_how_long(runs: Runs) -> None:
    assert "the XCom that it comes from was not found" in runs.log
    assert "in the triggerer, 60 s at most" in runs.log
    assert "in mode reschedule: 0.5 s between polls" in runs.log
