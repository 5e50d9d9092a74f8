"""``grokvideo-sandbox``: the sandbox as a program."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Sequence

from airflow_provider_grokvideo.sandbox.embedded import Sandbox
from airflow_provider_grokvideo.sandbox.options import ENVELOPES

_EXIT_TIMEOUT = 2.0
"""Seconds from a signal to the end of the process."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grokvideo-sandbox",
        description="A local server that speaks the Grok video API and renders real MP4 files.",
        epilog="Its API is at /grok/v1 (as CometAPI answers) and /v1 (as xAI answers). "
        "A prompt with #moderated, #failed, #expired or #fault:NAME in it ends that way.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--port", type=int, default=8765, help="0 takes any free port")
    parser.add_argument("--render-seconds", type=float, default=3.0, help="how long a video takes")
    parser.add_argument("--api-key", default="sandbox-key", help="the key that is accepted")
    parser.add_argument("--envelope", choices=ENVELOPES, default="raw", help="shape of /grok/v1 poll answers")
    parser.add_argument("--rate-limit", type=float, metavar="N", help="submissions and polls per second")
    parser.add_argument("--seed", type=int, metavar="N", help="same ids and videos in every run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        sandbox = Sandbox(**vars(arguments))
    except ValueError as problem:
        parser.error(str(problem))
    missing = [name for name in ("av", "PIL") if importlib.util.find_spec(name) is None]
    if missing:
        hint = "pip install 'airflow-provider-grokvideo[sandbox]'"
        print(f"videos cannot be rendered without {' and '.join(missing)}: {hint}", file=sys.stderr)

    stop = threading.Event()

    def end(*_: object) -> None:
        # Whatever is under way then: a thread that decodes an image cannot be interrupted.
        watchdog = threading.Timer(_EXIT_TIMEOUT, os._exit, (0,))
        watchdog.daemon = True
        watchdog.start()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        sandbox.start()
    except OSError as problem:
        print(f"cannot listen on {arguments.host}:{arguments.port}: {problem}", file=sys.stderr)
        return 1
    try:
        print(f"sandbox ready: {sandbox.base_url}", flush=True)
        stop.wait()
    finally:
        sandbox.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
