"""``max_cost_usd`` and prices of the operators."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import KEY
from tests.support.connections import connection
from tests.support.task_run import MemoryStore, TaskRun
from tests.support.video_tasks import video_task


def run(**kwargs: Any) -> TaskRun:
    return video_task(retries=2, **{"duration": 4, **kwargs}).run()


@pytest.fixture
def with_prices(sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what puts prices into the connection's extra."""

    def put(prices: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_GROKVIDEO_DEFAULT", connection(sandbox.base_url, KEY, prices=prices))

    return put


@pytest.mark.parametrize("ceiling", [0.2, "0.20", 1])
def test_request_below_max_cost_is_submitted(ceiling: Any, sandbox: Any) -> None:
    assert run(max_cost_usd=ceiling).state == "success"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_cost_usd": 0.19}, "Not sent: this request costs up to 0.20 USD, more than max_cost_usd=0.19."),
        ({"max_cost_usd": "0"}, "costs up to 0.20 USD"),
        ({"max_cost_usd": 0.2, "image": "https://example.com/a.png"}, "costs up to 0.202 USD"),
        ({"max_cost_usd": 9, "extra": {"n": 2}}, "The price is unknown: extra['n'] may change it."),
        ({"max_cost_usd": "a little"}, "a number of US dollars"),
        ({"max_cost_usd": 9, "model": "a-model"}, "No list price is known for model 'a-model'"),
    ],
    ids=str,
)
def test_request_above_max_cost_is_refused(fields: dict[str, Any], said: str, sandbox: Any) -> None:
    before = (len(sandbox.submissions), len(sandbox.refusals))

    task = run(**fields)

    assert (task.state, task.attempts) == ("failed", 1)
    assert said in str(task.error)
    assert (len(sandbox.submissions), len(sandbox.refusals)) == before


def test_resume_ignores_max_cost(sandbox: Any) -> None:
    store, before = MemoryStore(), len(sandbox.submissions)
    sandbox.fault("poll", "bare_id", times=None)
    assert "is not done after 0.3 s" in str(run(store=store, timeout=0.3).error)
    sandbox.clear_faults()

    task = run(store=store, max_cost_usd=0)

    assert task.state == "success", task.error
    assert len(sandbox.submissions) == before + 1


def test_connection_prices_override_the_list(with_prices: Any, sandbox: Any) -> None:
    with_prices({"grok-imagine-video": {"480p": 0.01}})
    assert run(max_cost_usd=0.04).state == "success"

    with_prices({"grok-imagine-video": {"480p": 1}})
    task = run(prompt="Another lake", max_cost_usd=0.2)
    assert "up to 4.00 USD" in str(task.error)


def test_configured_prices_override_the_list(sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__GROKVIDEO__PRICES", '{"grok-imagine-video": {"480p": 0.01}}')

    assert run(max_cost_usd=0.04).state == "success"


@pytest.mark.parametrize("prices", ["cheap", "[1]", {"model": {}}], ids=str)
def test_invalid_prices_are_refused(prices: Any, with_prices: Any, sandbox: Any) -> None:
    before = len(sandbox.submissions)
    with_prices(prices)

    task = run(max_cost_usd=1)

    assert (task.state, task.attempts) == ("failed", 1)
    assert "prices" in str(task.error)
    assert len(sandbox.submissions) == before
