"""Saving a large file: throughput against curl, memory over the idle process."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.harness import ROOT, Bar, Table

MEBIBYTE = 1024**2


class Peak:
    """The highest resident memory of this process during a ``with`` block, sampled."""

    def __enter__(self) -> Peak:
        self.idle = self.highest = psutil.Process().memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stop.wait(0.01):
            self.highest = max(self.highest, process.memory_info().rss)


def ours(url: str, ca: str, folder: Path, name: str) -> tuple[float, float, float]:
    """Seconds, CPU seconds and MiB over idle of one saved video."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    from airflow_provider_grokvideo.api.client import GrokVideoClient
    from airflow_provider_grokvideo.api.generation import Generation
    from airflow_provider_grokvideo.api.settings import Settings
    from airflow_provider_grokvideo.storage import save

    # What counts is the video, not the code that is imported first.
    ObjectStoragePath(f"file://{folder}").exists()
    client = GrokVideoClient(Settings(api_key="bench-key", verify=ca))
    target = folder / name
    generation = Generation("saving", "done", video_url=url)
    with Peak() as peak:
        cpu, began = time.process_time(), time.monotonic()
        save(client, generation, f"file://{target}")
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    target.unlink()
    return seconds, cpu, (peak.highest - peak.idle) / MEBIBYTE


def curl(url: str, ca: str, folder: Path) -> tuple[float, float]:
    """Seconds and CPU seconds of curl into a file."""
    target = folder / "curl.mp4"
    before = os.times()
    began = time.monotonic()
    subprocess.run(["curl", "-sS", "--cacert", ca, "-o", str(target), url], check=True)
    seconds, after = time.monotonic() - began, os.times()
    target.unlink()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu


def run(quick: bool) -> Table:
    """Save and curl in turn, over HTTP and over TLS."""
    size = (64 if quick else 1024) * MEBIBYTE
    home = os.environ["BENCH_HOME"]
    table = Table(
        f"Saving {size // MEBIBYTE:,} MiB: ObjectStoragePath file://, checked and hashed, against curl -o",
        ["over", "with", "seconds", "MiB/s", "CPU seconds", "MiB over idle", "x curl's throughput"],
    )
    with tempfile.TemporaryDirectory(prefix="grokvideo-saving-") as folder:
        if not shutil.which("curl"):
            raise RuntimeError("this benchmark compares with curl, which is not installed")
        for scheme in ("http", "https"):
            command = [sys.executable, "-m", "benchmarks.file_server", scheme, home, str(size)]
            server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            try:
                assert server.stdout is not None
                url = f"{scheme}://localhost:{int(server.stdout.readline())}/video.mp4"
                _contest(table, scheme, url, f"{home}/ca.pem", Path(folder), size, 2 if quick else 5)
            finally:
                server.terminate()
                server.wait(10)
    return table


def _contest(table: Table, scheme: str, url: str, ca: str, folder: Path, size: int, rounds: int) -> None:
    first = ours(url, ca, folder, "first.mp4")
    saved, curls = [], []
    for number in range(rounds):
        curls.append(curl(url, ca, folder))
        saved.append(ours(url, ca, folder, f"{number}.mp4"))
    ratio = statistics.median(theirs[0] / mine[0] for theirs, mine in zip(curls, saved, strict=True))
    memory = max(one[2] for one in [first, *saved])
    for name, found in (("curl", curls), ("grokvideo", saved)):
        seconds, cpu = (statistics.median(one[at] for one in found) for at in (0, 1))
        mine = name != "curl"
        rate = size / MEBIBYTE / seconds
        table.rows.append((scheme, name, seconds, rate, cpu, memory if mine else "", ratio if mine else 1))
    table.bars += [
        Bar(f"{scheme}: MiB over idle", memory, 64),
        Bar(f"{scheme}: throughput against curl", ratio, 0.7, at_least=True),
    ]
