"""Tables with a failure are not published: versions of Airflow, and kills."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dev import versions
from dev.versions import COLUMNS, Environment
from tests.e2e.kill_harness import Outcome, defects
from tests.e2e.kill_points import KillPoint

PASSED = {column: {"passed": 3, "skipped": 1} for column in COLUMNS}
README = f"Before\n{versions.BEGIN}\nthe old table\n{versions.END}\nAfter\n"


def environment(outcomes: dict[str, dict[str, int]], *, failed: bool = False, problem: str = "") -> Environment:
    counts = {column: Counter(count) for column, count in outcomes.items()}
    return Environment("3.3.2", "3.11", Path("lock"), counts, failed=failed, problem=problem, full_python="3.11.7")


GOOD = environment(PASSED)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "versions.md").write_text("the old document")
    (tmp_path / "README.md").write_text(README)
    return tmp_path


@pytest.mark.parametrize(
    ("checked", "reason", "code"),
    [
        pytest.param([GOOD, environment(PASSED | {"unit": {"passed": 9, "failed": 1}}, failed=True)],
                     "1 failed in unit", 1, id="a-failure"),
        pytest.param([environment(PASSED | {"unit": {"passed": 9, "failed": 1}})], "1 failed in unit", 1,
                     id="a-failure-that-pytest-did-not-report"),
        pytest.param([GOOD, environment(PASSED, failed=True)], "pytest did not end well", 1, id="a-crash"),
        pytest.param([GOOD, environment({}, failed=True, problem="Command failed\nmore")], "Command failed", 1,
                     id="no-environment"),
        pytest.param([GOOD, environment({}, failed=True)], "nothing passed in unit", 1, id="no-report"),
        pytest.param([GOOD, environment({}, problem="no Python 3.13 here")], "no Python 3.13 here", 0, id="no-python"),
        pytest.param([environment({}, problem="no Python 3.13 here")], "no Python 3.13 here", 1, id="only-no-python"),
        pytest.param([GOOD, environment(PASSED | {"metadata": {"skipped": 7}})], "nothing passed in metadata", 0,
                     id="all-skipped"),
        pytest.param([], "no version was tested", 1, id="nothing"),
    ],
)  # fmt: skip
def test_failed_run_keeps_the_documents(
    checked: list[Environment], reason: str, code: int, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert versions.publish(checked, "0.1.0", root) is False

    assert reason in capsys.readouterr().out
    assert versions.exit_code(checked) == code
    assert (root / "docs" / "versions.md").read_text() == "the old document"
    assert (root / "README.md").read_text() == README


def test_table_is_written_if_all_passed(root: Path) -> None:
    assert versions.publish([GOOD], "0.1.0", root) is True

    row = f"| 3.3.2 | 3.11.7 | {' | '.join(['3 passed, 1 skipped'] * len(COLUMNS))} |"
    assert versions.exit_code([GOOD]) == 0
    for name in ("docs/versions.md", "README.md"):
        assert row in (root / name).read_text()
    assert "the old table" not in (root / "README.md").read_text()
    assert (root / "README.md").read_text().startswith("Before\n")
    assert (root / "README.md").read_text().endswith("\nAfter\n")


ROW = KillPoint("row", "somewhere")
UNKNOWN = KillPoint("row", "somewhere", submissions=0, known=False)


@pytest.mark.parametrize(
    ("point", "submissions", "saved", "state", "defect"),
    [
        pytest.param(ROW, 1, 1, "success", None, id="resumed"),
        pytest.param(ROW, 2, 1, "success", "2 submissions instead of 1", id="paid-twice"),
        pytest.param(ROW, 1, 0, "success", "success with 0 videos", id="success-without-video"),
        pytest.param(ROW, 1, 1, "failed", "failed with 1 video", id="failed-with-video"),
        pytest.param(UNKNOWN, 0, 0, "failed", None, id="unknown-outcome"),
        pytest.param(UNKNOWN, 0, 0, "success", "success instead of failed", id="unknown-outcome-taken-for-success"),
        pytest.param(UNKNOWN, 1, 0, "failed", "1 submissions instead of 0", id="unknown-outcome-submitted-again"),
    ],
)
def test_bad_row_of_the_kill_table_is_named(
    point: KillPoint, submissions: int, saved: int, state: str, defect: str | None
) -> None:
    found = defects(Outcome(point, submissions, saved, state, tries=2, result=None, log=""))

    assert len(found) == (defect is not None)
    assert defect is None or defect in found[0]
