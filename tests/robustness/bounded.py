"""Run one call of the hook in a process of its own, with limited memory and time.

    outcome = run("poll", url)
    assert outcome.kind == "TransportError"

The processes are forked from one that has imported everything, so that each costs milliseconds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from airflow_provider_grokvideo.api import download
from airflow_provider_grokvideo.api.generation import Generation
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.exceptions import GrokVideoError
from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook
from airflow_provider_grokvideo.utils import retries
from tests.support.connections import connection

KEY = "sk-Zq81xTopSecretKey0042"
ID = "4b2cd27e-0b0d-3dec-c31c-7572daf74bb3"
REQUEST_TIMEOUT = 1
MEMORY = 64 * 1024**2
"""Bytes that a call may use beyond what the process has at its start."""
SECONDS = 30
"""Seconds after which a call is killed: far more than its own timeout."""
SPEED_WINDOW = 1.0
"""Seconds over which the speed of a download is measured here."""
OUT_OF_MEMORY, OUT_OF_TIME = "out of memory", "out of time"


@dataclass(frozen=True)
class Outcome:
    """What became of a call.

    :param kind: what it returned in one word, or the class of the error.
    :param text: what it returned, or the error's text.
    :param saved: files that a download has left.
    """

    kind: str
    text: str
    saved: tuple[str, ...] = ()


def run(call: str, url: str, *, environ: dict[str, str] | None = None) -> Outcome:
    """Run a call and return what became of it.

    :param call: a key of ``CALLS``.
    :param url: the API's base URL without its path; of a download, the video's.
    """
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_child, args=(call, url, environ or {}, sender), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(SECONDS):
            return Outcome(OUT_OF_TIME, f"not ended after {SECONDS} s")
        return Outcome(**receiver.recv())
    except EOFError:
        process.join(10)
        return Outcome("died", f"exit code {process.exitcode}")
    finally:
        process.kill()
        process.join(10)
        receiver.close()


def _child(call: str, url: str, environ: dict[str, str], sender: Pipe) -> None:
    os.environ.update(environ)
    download.SPEED_WINDOW = SPEED_WINDOW
    retries.ATTEMPTS = 1  # The pauses between several would take most of the time.
    _limit_memory()
    saved: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            kind, text = CALLS[call](url, folder)
        except MemoryError:
            kind, text = OUT_OF_MEMORY, ""
        except GrokVideoError as error:
            kind, text = type(error).__name__, str(error)
        except Exception as error:
            kind, text = f"untyped {type(error).__name__}", repr(error)
        saved = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))
    sender.send({"kind": kind, "text": text, "saved": tuple(saved)})


def _limit_memory() -> None:
    status = Path("/proc/self/status").read_text()
    [used] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:")]
    limit = used * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _hook(url: str) -> GrokVideoHook:
    default = connection(f"{url}/grok/v1", KEY, request_timeout=REQUEST_TIMEOUT)
    os.environ["AIRFLOW_CONN_GROKVIDEO_DEFAULT"] = default
    return GrokVideoHook()


def _submit(url: str, folder: str) -> tuple[str, str]:
    return "id", _hook(url).submit(VideoRequest(prompt="A red fox in the snow", duration=1))


def _poll(url: str, folder: str) -> tuple[str, str]:
    generation = _hook(url).get_generation(ID)
    return generation.state, repr(generation)


def _apoll(url: str, folder: str) -> tuple[str, str]:
    generation = asyncio.run(_hook(url).aget_generation(ID))
    return generation.state, repr(generation)


def _test_connection(url: str, folder: str) -> tuple[str, str]:
    works, message = _hook(url).test_connection()
    return "works" if works else "does not work", message


def _download(url: str, folder: str) -> tuple[str, str]:
    saved = _hook("http://127.0.0.1:9").download(Generation(ID, "done", video_url=url), f"file://{folder}/v.mp4")
    return "saved", repr(saved)


CALLS: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "submit": _submit,
    "poll": _poll,
    "apoll": _apoll,
    "test_connection": _test_connection,
    "download": _download,
}
_context: Any = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])
