"""Tests that share something run on one worker of pytest-xdist."""

from __future__ import annotations

import pytest

scheduling = pytest.importorskip("tests.support.scheduling", reason="pytest-xdist is not installed")


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/e2e/test_waits.py::test_a", "tests/e2e/"),
        ("tests/e2e/test_endings.py::test_b[tests/docs/x::y]", "tests/e2e/"),
        ("tests/unit/test_ledger.py::test_a[b::c]", "tests/unit/test_ledger.py"),
        ("tests/docs/test_pages.py::test_a[docs/index.md]", "tests/docs/test_pages.py"),
        ("tests/docs/test_code_blocks.py::test_a[README.md]", "tests/docs/test_code_blocks.py::test_a[README.md]"),
    ],
)
def test_scope_is_what_tests_share(nodeid: str, scope: str) -> None:
    assert scheduling.scope_of(nodeid) == scope
