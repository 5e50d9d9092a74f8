"""``make ui``: a local Airflow with all example DAGs, the sandbox and the connection, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

from dev.airflow_config import USERNAME
from dev.airflow_stack import AirflowStack, SandboxProcess, StackError
from dev.demo import ROOT, fresh_home
from dev.processes import SignalsAsExceptions, free_port


def preferred_port() -> int:
    """Return $PORT (8080 by default), or any free one when somebody listens there."""
    port = int(os.environ.get("PORT", "8080"))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return free_port()
    return port


POOL = "grokvideo"


def prepare(airflow: AirflowStack, sandbox: SandboxProcess) -> None:
    """Store the connection in the database, where the UI lists it, and the pool of the mapped example.

    A connection in the environment would stay invisible.
    """
    # fmt: off
    airflow.run("connections", "add", "grokvideo_default", "--conn-type", "grokvideo",
                "--conn-host", sandbox.base_url, "--conn-password", sandbox.api_key,
                "--conn-description", "The sandbox: real MP4 files, no account, no cost")
    airflow.run("pools", "set", POOL, "4", "Grok videos under way", "--include-deferred")
    # fmt: on


def main() -> int:
    home = fresh_home(ROOT / ".ui")
    videos = home / "videos"
    videos.mkdir()
    env = {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "GROKVIDEO_OUTPUT": f"file://{videos}/",
        "GROKVIDEO_POOL": POOL,
    }
    try:
        with SignalsAsExceptions(), contextlib.ExitStack() as stack:
            sandbox = stack.enter_context(SandboxProcess(home / "sandbox.log", render_seconds=8))
            print("starting Airflow (about 20 s) …", flush=True)
            airflow = stack.enter_context(
                AirflowStack(home / "airflow", ROOT / "example_dags", env, port=preferred_port())
            )
            prepare(airflow, sandbox)
            print(
                f"\n  Airflow   {airflow.base_url}\n"
                f"  login     {USERNAME} / {airflow.password}\n"
                f"  sandbox   {sandbox.base_url}  (connection grokvideo_default)\n"
                f"  videos    {videos}\n"
                f"  logs      {home}\n\nCtrl-C stops everything.",
                flush=True,
            )
            while True:
                airflow.check()
                sandbox.check()
                time.sleep(1)
    except StackError as error:
        print(f"\n{error}\n\nAll logs are under {home}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nEverything is stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
