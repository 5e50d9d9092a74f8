"""Print the score of the last run of mutmut: per module, in all, and the mutants that no test kills."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mutmut.stats import status_by_exit_code

MUTANTS = Path("mutants")
_COLUMNS = ("killed", "survived", "timeout", "other")


def read_statuses(root: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each mutated module and the status of its mutants, by name."""
    for path in sorted(root.rglob("*.meta")):
        exit_codes = json.loads(path.read_text())["exit_code_by_key"]
        if exit_codes:
            module = str(path.relative_to(root)).removesuffix(".meta")
            yield module, {name: status_by_exit_code[code] for name, code in exit_codes.items()}


def format_row(name: str, counts: Counter[str]) -> str:
    """Return one line of the table. ``other`` is what has no result: no tests, skipped, suspicious, not checked."""
    known = {column: counts[column] for column in _COLUMNS[:-1]}
    values = [*known.values(), counts.total() - sum(known.values()), counts.total()]
    return f"{name:48}" + "".join(f"{value:>10}" for value in values)


def print_scores(root: Path) -> bool:
    """Print the scores and the mutants that are not killed; return whether there are any mutants."""
    total: Counter[str] = Counter()
    left: list[str] = []
    print(f"{'module':48}" + "".join(f"{column:>10}" for column in (*_COLUMNS, "total")))
    for module, statuses in read_statuses(root):
        counts = Counter(statuses.values())
        total += counts
        left += [f"{status}: {name}" for name, status in statuses.items() if status != "killed"]
        print(format_row(module, counts))
    print(format_row("all", total), *left, sep="\n")
    return bool(total)


def main() -> int:
    """Run mutmut with the arguments of the command line and print the scores."""
    code = subprocess.call([sys.executable, "-m", "mutmut", "run", *sys.argv[1:]])
    if code:
        return code
    return 0 if print_scores(MUTANTS) else 1


if __name__ == "__main__":
    sys.exit(main())
