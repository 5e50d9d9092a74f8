"""Runs the kill harness on an Airflow of its own and writes the table to docs/kill-table.md.

python -m tests.e2e.kill_table
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from dev.airflow_stack import AirflowStack, SandboxProcess
from tests.e2e.kill_harness import KillHarness, Outcome, defects
from tests.e2e.kill_points import Victim

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "kill-table.md"
VICTIMS: dict[Victim, str] = {
    "machine": "worker",
    "runner": "task process",
    "triggerer": "triggerer",
    "nobody": "(timeout)",
    "cleared": "(clear)",
}
TITLE = """# The kill table

Each row is one run on a real Airflow, with a task that has `retries=2`. At the named moment, the process is killed with
SIGKILL. *worker* means the task's process together with its supervisor, as if the machine fails. *Submissions* is the
number of submissions that the API accepted and bills. If the response to a submission is lost, its id is unknown: the
task stops, and its error explains how to look the generation up and how to continue. `make kill-table` repeats the
measurement.
"""


def markdown(rows: Sequence[Outcome]) -> str:
    """Write the table."""
    lines = ["| Killed | When | Submissions | Video saved | The task ended as |", "|---|---|---|---|---|"]
    for row in rows:
        tries = f"{row.state}, attempt {row.tries}"
        saved = f"{row.saved} of {row.submissions}" if row.submissions else "nothing to save"
        lines.append(f"| {VICTIMS[row.point.victim]} | {row.point.where} | {row.submissions} | {saved} | {tries} |")
    return "\n".join(lines) + "\n"


def section(rows: Sequence[Outcome], seconds: float) -> str:
    """Write the table of the Airflow at hand, under its own heading."""
    airflow = version("apache-airflow")
    home = "the task state store" if tuple(map(int, airflow.split(".")[:2])) >= (3, 3) else "a file"
    return f"## Airflow {airflow}: the ledger is in {home}\n\n{markdown(rows)}\nMeasured in {seconds:.0f} s.\n"


def update(text: str, new: str) -> str:
    """Replace the section with the same heading, or add one."""
    heading = new.splitlines()[0]
    parts = [part for part in re.split(r"(?m)^(?=## )", text) if part.startswith("## ")]
    kept = [part.strip() + "\n" for part in parts if not part.startswith(heading)]
    return "\n".join([TITLE, *sorted([*kept, new], reverse=True)])


def measure(folder: Path) -> tuple[list[Outcome], float]:
    """Run all rows below ``folder``."""
    videos, holds, dags = folder / "videos", folder / "holds", folder / "dags"
    for path in (videos, holds, dags):
        path.mkdir()
    shutil.copy(Path(__file__).parent / "dags" / "kill.py", dags)
    with SandboxProcess(folder / "sandbox.log", render_seconds=86400) as sandbox:
        env = {"AIRFLOW_CONN_GROKVIDEO_PATIENT": sandbox.connection, "GROKVIDEO_OUTPUT": f"file://{videos}/"}
        with AirflowStack(folder / "airflow", dags, env) as airflow:
            began = time.monotonic()
            rows = KillHarness(airflow, sandbox, videos, holds).run()
            return rows, time.monotonic() - began


def main() -> int:
    """Measure, print, and write where every row is as it has to be."""
    with tempfile.TemporaryDirectory(prefix="grokvideo-kill-") as folder:
        rows, seconds = measure(Path(folder))
    new = section(rows, seconds)
    print(new)
    if problems := [f"{row.point.run_id}: {defect}" for row in rows for defect in defects(row)]:
        print(f"{FILE.relative_to(ROOT)} is left as it is:", *problems, sep="\n  ")
        return 1
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(update(FILE.read_text() if FILE.exists() else "", new))
    print(f"written to {FILE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
