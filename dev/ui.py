"""``make ui``: a local Airflow with all example DAGs, the sandbox and the connection, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from dev.airflow_client import AirflowClient
from dev.airflow_config import USERNAME
from dev.airflow_stack import AirflowStack, SandboxProcess, StackError, template_database
from dev.demo import CACHE, CONF, DAG_ID, FIRST_START, ROOT, START, fresh_home, keep_bytecode
from dev.narrator import Narrator
from dev.processes import SignalsAsExceptions, free_port

EXAMPLES = ROOT / "example_dags"
POOL = "grokvideo"
RUN_TIMEOUT = 300


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


def dag_ids(folder: Path) -> set[str]:
    """Return the ids of the DAGs in a folder's files, as they are written there."""
    return {name for file in folder.glob("*.py") for name in re.findall(r'\bDAG\(\s*"(\w+)"', file.read_text())}


def connection_body(base_url: str, api_key: str) -> dict[str, object]:
    """Return the connection as the UI lists it; one in the environment would stay invisible.

    The port is in the URL already. The Test button refuses a connection without one (apache/airflow#73298).
    """
    return {
        "connection_id": "grokvideo_default",
        "conn_type": "grokvideo",
        "description": "The sandbox: real MP4 files, no account, no cost",
        "host": base_url,
        "port": urlsplit(base_url).port,
        "password": api_key,
    }


def prepare(client: AirflowClient, sandbox: SandboxProcess) -> None:
    """Store the connection and the pool of the mapped example."""
    client.call("POST", "/connections", json=connection_body(sandbox.base_url, sandbox.api_key))
    pool = {"name": POOL, "slots": 4, "description": "Grok videos under way", "include_deferred": True}
    client.call("POST", "/pools", json=pool)


def unpause(client: AirflowClient, folder: Path) -> None:
    """Unpause every DAG but those that the clock starts: a person starts the runs here."""
    for dag_id in sorted(dag_ids(folder)):
        client.wait_for_dag(dag_id)
        if not is_timed(client.call("GET", f"/dags/{dag_id}")["timetable_summary"]):
            client.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})


def is_timed(timetable_summary: str | None) -> bool:
    """Whether the clock starts runs of a DAG with this schedule."""
    return timetable_summary is not None and timetable_summary.split()[0] not in {"None", "Never", "Asset", "Dataset"}


def main() -> int:
    """Run until Ctrl-C and return the exit code."""
    narrator = Narrator()
    home = fresh_home(ROOT / ".ui")
    CACHE.mkdir(exist_ok=True)
    keep_bytecode(os.environ, CACHE / "pycache")
    videos = home / "videos"
    videos.mkdir()
    env = {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # Nothing runs before it can succeed.
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "GROKVIDEO_OUTPUT": f"file://{videos}/",
        "GROKVIDEO_POOL": POOL,
    }
    try:
        with SignalsAsExceptions(), contextlib.ExitStack() as stack:
            narrator.say("starting the sandbox, a local video API (about 1 s)")
            sandbox = stack.enter_context(SandboxProcess(home / "sandbox.log", render_seconds=8))
            template = template_database(CACHE)
            with narrator.step("starting Airflow", START if template.exists() else FIRST_START) as step:
                airflow = AirflowStack(
                    home / "airflow", EXAMPLES, env, port=preferred_port(), template=template, on_wait=step.now
                )
                stack.enter_context(airflow)
            client = airflow.client
            with narrator.step("storing the connection and the pool, reading the example DAGs", 3):
                prepare(client, sandbox)
                unpause(client, EXAMPLES)
            with narrator.step(f"making a sample video with {DAG_ID}", 20):
                run_id = client.trigger(DAG_ID, CONF)
                state = client.wait_for_run(DAG_ID, run_id, timeout=RUN_TIMEOUT)
            narrator.say(f"the sample run ended as {state}")
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
