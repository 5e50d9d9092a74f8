"""Values that one worker of pytest-xdist makes once for the whole run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the temporary folder of this run, which all of its workers share and no other run does."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def once_per_run(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], None]) -> Path:
    """Return a folder of this run that ``fill`` has filled once; other workers wait until it is complete.

    What a ``fill`` that failed has left is kept apart, and the next who needs the folder tries again.
    """
    folder = run_folder(factory) / name
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = factory.mktemp(f"{name}-unfinished")
            fill(unfinished)
            unfinished.rename(folder)
    return folder
