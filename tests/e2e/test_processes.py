"""All processes of the local stack can be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from dev.processes import Child, StackError, session_members, tail, wait_until

# A parent whose child has its own process group, and which can be told to ignore SIGTERM.
FAMILY = """
import os, signal, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
    time.sleep(600)
print("born", flush=True)
time.sleep(600)
"""


def start_family(tmp_path: Path, *args: str) -> Child:
    child = Child("family", [sys.executable, "-c", FAMILY, *args], os.environ, tmp_path / "log", tmp_path)
    wait_until(lambda: "born" in tail(child.log), timeout=10, what="the family to be born")
    return child


def test_killing_reaches_a_grandchild_in_its_own_group(tmp_path: Path) -> None:
    child = start_family(tmp_path)
    assert len(session_members(child.pid)) == 2

    child.kill()

    assert session_members(child.pid) == []


def test_orphan_process_is_killed(tmp_path: Path) -> None:
    child = start_family(tmp_path)
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: not child.is_running(), timeout=10, what="the parent to end")

    child.kill()

    assert session_members(child.pid) == []


def test_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = start_family(tmp_path, "stubborn")

    child.stop(timeout=0.2)

    assert session_members(child.pid) == []


def test_dead_component_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('out of cheese'); raise SystemExit(3)"]
    child = Child("cheese", command, os.environ, tmp_path / "log", tmp_path)
    wait_until(lambda: not child.is_running(), timeout=10, what="cheese to end")

    with pytest.raises(StackError, match=r"(?s)cheese ended with exit code 3.*out of cheese"):
        child.check()


def test_children_of_a_killed_process_end(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        from dev.processes import Child

        print(Child("sleep", ["sleep", "600"], os.environ, Path(sys.argv[1]), Path.cwd()).pid, flush=True)
        time.sleep(600)
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout
        child = psutil.Process(int(starter.stdout.readline()))
        starter.kill()

    psutil.wait_procs([child], timeout=20)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_sigterm_stops_all_children(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        from dev.processes import Child, SignalsAsExceptions

        with SignalsAsExceptions():
            child = Child("sleep", ["sleep", "600"], os.environ, Path(sys.argv[1]), Path.cwd())
            try:
                print(child.pid, flush=True)
                time.sleep(600)
            finally:
                child.stop()
    """)
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert starter.stdout
    child_pid = int(starter.stdout.readline())

    starter.send_signal(signal.SIGTERM)
    starter.wait(20)
    starter.stdout.close()

    assert not psutil.pid_exists(child_pid)
