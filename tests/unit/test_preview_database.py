"""The preview reads records with few queries, and without loading code of the DAG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_1_PLUS
from tests.support.preview_database import DAG_ID, OPERATOR, RUN_ID, SENSOR, create_run, recorded_queries


@pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="reads Airflow 3's database models")
def test_operators_are_read_from_the_serialized_dag() -> None:
    from airflow_provider_grokvideo.plugins.preview.database import parse_operators

    template = {"task_id": "a", "_task_module": OPERATOR, "prompt": "p", "output_path": "{{ x }}", "extra": {}}
    mapped = {"task_id": "m", "_task_module": OPERATOR, "_is_mapped": True, "partial_kwargs": {"model": "g"}}
    other = {"task_id": "z", "_task_module": "other", "output_path": "/etc/"}

    operators = parse_operators({"dag": {"tasks": [{"__var": task} for task in (template, mapped, other)]}})

    assert operators["a"][0] == OPERATOR
    assert operators["a"][1]["prompt"] == "p"
    assert "output_path" not in operators["a"][1]
    assert operators["m"][1]["model"] == "g"
    assert operators["z"] == ("other", {})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return an empty SQLite database in memory, which the preview reads."""
    if not AIRFLOW_V_3_1_PLUS:
        pytest.skip("reads Airflow 3's database models")
    from airflow_provider_grokvideo.plugins.preview import database

    engine = create_engine("sqlite://", poolclass=StaticPool)

    @contextmanager
    def create_session(scoped: bool) -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    monkeypatch.setattr(database, "create_session", create_session)
    yield engine
    engine.dispose()


def mapped_and_sensors(count: int) -> list[dict[str, Any]]:
    """Return a mapped task that submits, and a mapped sensor that waits for each of its generations."""
    made = [
        {"task_id": "make", "map_index": index, "state": "success", "fields": {"prompt": f"Scene {index}"},
         "xcoms": {"request_id": f"r-{index}", "return_value": {"request_id": f"r-{index}", "status": "pending"}}}
        for index in range(count)
    ]  # fmt: skip
    waiting = [
        {"task_id": "await", "map_index": index, "state": "deferred", "fields": {"request_id": f"r-{index}"}}
        for index in range(count)
    ]
    return [*made, *waiting, {"task_id": "other", "state": "success"}]


TASKS = {"make": OPERATOR, "await": SENSOR, "other": "other.module"}


@pytest.mark.parametrize("count", [3, 300])
def test_number_of_queries_is_the_same_for_any_number_of_tasks(engine: Any, count: int) -> None:
    from airflow_provider_grokvideo.plugins.preview import database

    create_run(engine, TASKS, mapped_and_sensors(count))

    with recorded_queries(engine) as queries:
        database.check_run(DAG_ID, RUN_ID)
        records, more = database.list_records(DAG_ID, RUN_ID)

    assert more == (count == 300)
    # The sensors' submitters are beyond the page.
    assert len(records) == (2 * count if count == 3 else 2 * database.PAGE_SIZE)
    assert len(queries) <= 8


def test_pages_are_cut_and_hold_whole_cards(engine: Any) -> None:
    from airflow_provider_grokvideo.plugins.preview import database
    from airflow_provider_grokvideo.plugins.preview.cards import build_cards

    create_run(engine, TASKS, mapped_and_sensors(6))

    first, more = database.list_records(DAG_ID, RUN_ID, 4)
    whole, no_more = database.list_records(DAG_ID, RUN_ID, 12)

    assert (more, no_more) == (True, False)
    assert [card["prompt"] for card in build_cards(first, [])] == [f"Scene {index}" for index in range(4)]
    assert [card["prompt"] for card in build_cards(whole, [])] == [f"Scene {index}" for index in range(6)]
    assert {card["state"] for card in build_cards(whole, [])} == {"rendering"}


def test_submitter_of_a_sensor_is_found(engine: Any) -> None:
    from airflow_provider_grokvideo.plugins.preview import database

    create_run(engine, TASKS, mapped_and_sensors(3))

    submitter = database.find_submitter(DAG_ID, RUN_ID, "r-1")

    assert submitter is not None
    assert (submitter.task_id, submitter.map_index, submitter.fields["prompt"]) == ("make", 1, "Scene 1")
    assert database.find_submitter(DAG_ID, RUN_ID, "r-9") is None


def test_task_whose_trigger_has_fired_is_resuming(engine: Any) -> None:
    from airflow_provider_grokvideo.plugins.preview import database

    states = [{"task_id": "make", "map_index": index, "state": "queued", "resuming": index == 1} for index in range(2)]
    create_run(engine, TASKS, states)

    assert [record.is_under_way for record in database.list_records(DAG_ID, RUN_ID)[0]] == [False, True]


def test_one_more_query_polls_a_card(engine: Any) -> None:
    from airflow_provider_grokvideo.plugins.preview import database

    create_run(engine, TASKS, mapped_and_sensors(1))
    database.list_records(DAG_ID, RUN_ID)

    with recorded_queries(engine) as queries:
        assert database.get_record(DAG_ID, RUN_ID, "await", 0).request_id == "r-0"

    assert len(queries) == 1


def test_missing_run_or_task_instance_is_not_found(engine: Any) -> None:
    from airflow_provider_grokvideo.plugins.preview import database

    create_run(engine, TASKS, mapped_and_sensors(1))

    with pytest.raises(database.NotFound, match="run"):
        database.list_records(DAG_ID, "another")
    with pytest.raises(database.NotFound, match="task instance"):
        database.get_record(DAG_ID, RUN_ID, "make", 7)
    with pytest.raises(database.NotFound):
        database.get_record(DAG_ID, "another", "make", 0)
    assert not database.get_record(DAG_ID, RUN_ID, "other", -1).is_own
