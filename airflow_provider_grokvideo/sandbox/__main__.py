"""The command ``grokvideo-sandbox``."""

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
"""Seconds from a signal to the forced end of the process."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grokvideo-sandbox",
        description="A local server with the Grok video API, which renders real MP4 files.",
        epilog="The API is at /grok/v1 (in the style of CometAPI) and /v1 (in the style of xAI). "
        "The hashtags #moderated, #failed, #expired and #fault:NAME in a prompt set how its generation ends.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on; 0 selects a free one")
    parser.add_argument("--render-seconds", type=float, default=3.0, help="seconds that a generation takes")
    parser.add_argument("--api-key", default="sandbox-key", help="API key to accept")
    parser.add_argument("--envelope", choices=ENVELOPES, default="raw", help="format of poll responses under /grok/v1")
    parser.add_argument("--rate-limit", type=float, metavar="N", help="maximum submissions and polls per second")
    parser.add_argument("--seed", type=int, metavar="N", help="produce the same ids and videos in every run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sandbox until SIGINT or SIGTERM and return the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        sandbox = Sandbox(**vars(arguments))
    except ValueError as error:
        parser.error(str(error))
    missing = [name for name in ("av", "PIL") if importlib.util.find_spec(name) is None]
    if missing:
        hint = "Install the missing packages with: pip install 'airflow-provider-grokvideo[sandbox]'"
        print(f"Cannot render videos without {' and '.join(missing)}. {hint}", file=sys.stderr)

    stop = threading.Event()

    def request_stop(*_: object) -> None:
        # Forced, because a thread that decodes an image cannot be interrupted.
        watchdog = threading.Timer(_EXIT_TIMEOUT, os._exit, (0,))
        watchdog.daemon = True
        watchdog.start()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, request_stop)
    try:
        sandbox.start()
    except OSError as error:
        print(f"Cannot listen on {arguments.host}:{arguments.port}: {error}", file=sys.stderr)
        return 1
    try:
        print(f"sandbox ready: {sandbox.base_url}", flush=True)
        stop.wait()
    finally:
        sandbox.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
