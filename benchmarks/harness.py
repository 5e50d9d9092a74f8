"""What the single benchmarks share: the server's process, the table, the bars."""

from __future__ import annotations

import http.client
import importlib
import json
import multiprocessing
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Bar:
    """A number to reach."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it is reached."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{'met   ' if self.is_met else 'MISSED'}  {self.what}: {self.value:.3g} ({sign} {self.limit:g})"


@dataclass
class Table:
    """The figures of one benchmark.

    :param title: what was measured.
    :param columns: names of the columns; the first one names the contestant.
    :param rows: one per contestant.
    :param bars: the numbers to reach.
    :param notes: what a reader must know to judge.
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        cells = [[_text(cell) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(len(row[at]) for row in cells) for at in range(len(self.columns))]
        lines = [
            "  ".join(
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        rule = "  ".join("-" * width for width in widths)
        body = [line.rstrip() for line in (lines[0], rule, *lines[1:])]
        return "\n".join([self.title, "", *body, *([""] if self.bars else []), *map(str, self.bars), *self.notes])

    def as_json(self) -> dict[str, Any]:
        """JSON primitives, with whether each bar is met."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        bars = [asdict(bar) | {"is_met": bar.is_met} for bar in self.bars]
        return {"title": self.title, "rows": rows, "bars": bars, "notes": self.notes}


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


class Server:
    """The server of :mod:`benchmarks.server`, as a process, for the length of a ``with`` block.

    The authority is in ``SSL_CERT_FILE``, so that every client trusts it without being told.
    """

    def __init__(self) -> None:
        folder = Path(os.environ["BENCH_HOME"])
        self.ca = folder / "ca.pem"
        self._command = [
            sys.executable,
            "-m",
            "benchmarks.server",
            str(folder / "localhost.pem"),
            str(folder / "localhost.key"),
        ]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.origin = f"https://localhost:{self.port}"
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def control(self, action: str, **given: float) -> Any:
        """Tell the server something, or ask it."""
        query = "&".join(f"{name}={value}" for name, value in given.items())
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection("localhost", self.port, context=context, timeout=60)
        try:
            connection.request("GET", f"/control/{action}?{query}")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def connection(self, **extra: Any) -> str:
        """The Airflow connection to this server, as JSON."""
        return json.dumps(
            {
                "conn_type": "grokvideo",
                "host": f"{self.origin}/grok/v1",
                "password": "bench-key",
                "extra": {"verify": str(self.ca), **extra},
            }
        )


@contextmanager
def variables(**given: str) -> Any:
    """Environment variables for the length of a ``with`` block."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def measure(name: str, quick: bool) -> Table:
    """Run one benchmark; it lives here because a spawned process cannot import ``__main__``."""
    table: Table = importlib.import_module(f"benchmarks.{name}").run(quick)
    return table


def in_own_process(function: Callable[..., T], *arguments: Any) -> T:
    """Call it where it inherits nobody's memory, imports or settings."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
