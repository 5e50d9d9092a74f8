"""How pytest-xdist distributes the tests over its workers."""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

ONE_AIRFLOW = ("tests/e2e/", "tests/browser/", "tests/distributed/")
"""Folders whose tests share an Airflow, which takes half a minute to start: one worker has all of them."""
APART = ("tests/docs/test_code_blocks.py",)
"""Files whose tests are long and share nothing."""


class SuiteScheduling(LoadScopeScheduling):
    """Gives a worker all tests that share something: those of a folder with one Airflow, or of a file."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def scope_of(nodeid: str) -> str:
    """Return what a test shares with others; tests of one scope run on one worker, in their order."""
    for folder in ONE_AIRFLOW:
        if nodeid.startswith(folder):
            return folder
    file = nodeid.split("::", 1)[0]
    return nodeid if file in APART else file


def make_scheduler(config: Any, log: Any) -> SuiteScheduling | None:
    """Return the scheduler for ``--dist loadscope``, none for another choice."""
    return SuiteScheduling(config, log) if config.getvalue("dist") == "loadscope" else None
