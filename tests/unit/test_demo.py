"""The decisions of ``make demo`` and ``make ui``."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_grokvideo.api.settings import COMETAPI_URL, Settings
from airflow_provider_grokvideo.sandbox import Sandbox
from dev import demo, ui
from dev.airflow_stack import StackError


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, COMETAPI_URL),
        ("", COMETAPI_URL),
        ("api.x.ai", "https://api.x.ai/v1"),
        ("api.cometapi.com", COMETAPI_URL),
        ("http://127.0.0.1:8765/grok/v1", "http://127.0.0.1:8765/grok/v1"),
    ],
)
def test_demo_reads_key_and_host_as_a_connection_does(host: str | None, url: str) -> None:
    settings = demo.real_settings(" a-key ", host)
    assert (settings.base_url, settings.api_key) == (url, "a-key")


def test_wrong_host_ends_the_demo_with_a_message() -> None:
    with pytest.raises(StackError, match="host='ftp://x' is not valid"):
        demo.real_settings("a-key", "ftp://x")


def test_key_is_checked_without_cost() -> None:
    with Sandbox(api_key="a-key") as sandbox:
        assert "accepts the key" in demo.check_key(Settings(base_url=sandbox.base_url, api_key="a-key"))
        with pytest.raises(StackError, match="rejected the key"):
            demo.check_key(Settings(base_url=sandbox.base_url, api_key="another"))
        assert sandbox.submissions == []


def test_price_is_shown_before_the_submission() -> None:
    assert demo.price_line(demo.REQUEST, real=False) == (
        "8 s in 480p with grok-imagine-video is free here; the real API would charge up to 0.40 USD"
    )
    assert demo.price_line(demo.REQUEST, real=True) == (
        "8 s in 480p with grok-imagine-video will cost up to 0.40 USD. Press Ctrl-C now to stop"
    )


def test_only_the_last_runs_are_kept(tmp_path: Path) -> None:
    (tmp_path / "pycache").mkdir()
    homes = [demo.fresh_home(tmp_path) for _ in range(demo.KEPT_RUNS + 2)]
    assert [home.exists() for home in homes] == [False, False, *[True] * demo.KEPT_RUNS]
    assert (tmp_path / "pycache").exists()


def test_bytecode_is_kept_where_python_may_not_write_it() -> None:
    environ = {"PYTHONDONTWRITEBYTECODE": "1"}
    demo.keep_bytecode(environ, Path("/cache"))
    assert environ == {"PYTHONPYCACHEPREFIX": "/cache"}
    untouched: dict[str, str] = {}
    demo.keep_bytecode(untouched, Path("/cache"))
    assert untouched == {}


@pytest.mark.parametrize(
    ("timetable", "timed"),
    [(None, False), ("None", False), ("Never", False), ("Asset", False), ("0 6 * * *", True)],
)
def test_only_a_clock_keeps_a_dag_paused(timetable: str | None, timed: bool) -> None:
    assert ui.is_timed(timetable) == timed


def test_every_example_dag_is_found() -> None:
    files = list(ui.EXAMPLES.glob("*.py"))
    assert len(ui.dag_ids(ui.EXAMPLES)) >= len(files) > 5


def test_connection_of_the_ui_has_a_port_for_the_test_button() -> None:
    body = ui.connection_body("http://127.0.0.1:8765/grok/v1", "a-key")
    assert (body["host"], body["port"]) == ("http://127.0.0.1:8765/grok/v1", 8765)
