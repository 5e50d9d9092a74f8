"""Child processes that can be watched, stopped and killed together with everything they started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import psutil

T = TypeVar("T")


class StackError(RuntimeError):
    """Something of the local stack did not do what it was asked to; the message says what."""


def wait_until(probe: Callable[[], T | None], *, timeout: float, what: str, interval: float = 0.2) -> T:
    """Return the first truthy answer of ``probe``; after ``timeout`` seconds raise, naming ``what``."""
    deadline = time.monotonic() + timeout
    while True:
        if answer := probe():
            return answer
        if time.monotonic() >= deadline:
            raise StackError(f"{what}: not within {timeout:g} s")
        time.sleep(interval)


class SignalsAsExceptions:
    """Let SIGTERM and SIGHUP unwind this process like Ctrl-C, so that ``with`` blocks stop what they started.

    Not as SystemExit, which pytest takes for the failure of one test and goes on.
    """

    def __enter__(self) -> None:
        self._old: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Whoever has a handler of his own knows why.
            if signal.getsignal(number) == signal.SIG_DFL:
                self._old[number] = signal.signal(number, _interrupt)

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old = {}


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {signal.Signals(number).name}")


def free_port() -> int:
    """Choose a port on the loopback that nobody listens on.

    Not one that the kernel may give to somebody else's connection or to a server on port 0 before ours has started.
    """
    while True:
        # Not from the module's own generator, which a test may have seeded in two processes alike.
        port = secrets.choice(range(10_000, 32_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def tail(path: Path, lines: int = 40) -> str:
    """Return the last lines of a log, or say that there are none."""
    if not path.exists():
        return f"({path} was never written)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) or f"({path} is empty)"


def session_members(leader: int) -> list[psutil.Process]:
    """Return every live process of a session.

    Airflow gives task processes their own process group, and a killed parent hands its children to init:
    neither the group nor the family tree finds them all, the session does.
    """
    members = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == leader:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return members


def process_title(process: psutil.Process) -> str:
    """Return the command line or the title set in its place, with the words set apart by single spaces."""
    try:
        text = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
    # Airflow 2 writes a whole command in Python's notation into a title.
    words = re.sub(r"[][',]", " ", text).split()
    return f" {' '.join(words)} "


def kill_all(processes: Iterable[psutil.Process], *, timeout: float = 10) -> None:
    """SIGKILL these processes and wait until they are gone. psutil guards against reused process ids."""
    victims = list(processes)
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()

    def gone() -> bool:
        return not any(_alive(process) for process in victims)

    wait_until(gone, timeout=timeout, what=f"killed processes {[p.pid for p in victims]} to end", interval=0.02)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Let the kernel send SIGTERM to this process when the one that started it is gone, however it ended (Linux).

    Whoever is killed stops nothing: a worker of pytest-xdist, for example, when the tests are interrupted.
    """
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One command, running in a session of its own with its output in a log file."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            self._popen = subprocess.Popen(
                self.command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - nothing but one call of the kernel
            )
        self.pid = self._popen.pid

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def check(self) -> None:
        """Raise, with the end of the log, when the process has ended by itself."""
        if not self.is_running():
            raise StackError(
                f"{self.name} ended with exit code {self._popen.returncode}; the end of {self.log}:\n{tail(self.log)}"
            )

    def wait(self, timeout: float) -> int:
        """Return the exit code; raise when the process does not end in time."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise StackError(
                f"{self.name} still runs after {timeout:g} s; the end of {self.log}:\n{tail(self.log)}"
            ) from None

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM), without waiting."""
        if self.is_running():
            self._popen.send_signal(signal.SIGTERM)

    def stop(self, timeout: float = 15) -> None:
        """Ask the process to end, and kill whatever is left of its session after ``timeout``."""
        self.terminate()
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill_descendants(self) -> None:
        """SIGKILL everything that the process started, and leave itself to notice."""
        for process in session_members(self.pid):
            if process.pid != self.pid:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def kill(self) -> None:
        """SIGKILL the process and everything it started."""
        kill_all(session_members(self.pid))
        self._popen.wait()
