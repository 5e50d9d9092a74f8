"""What importing an operator adds to the parsing of a DAG file, in CPU time."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from benchmarks.harness import ROOT, Bar, Table

BASE = "from airflow.sdk import BaseOperator, BaseHook"
OURS = "grokvideo: all operators"
CONTESTANTS = {
    OURS: "from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator",
    "grokvideo: sensor": "from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor",
    "http: HttpOperator": "from airflow.providers.http.operators.http import HttpOperator",
    "dbt-cloud: DbtCloudRunJobOperator": "from airflow.providers.dbt.cloud.operators.dbt import DbtCloudRunJobOperator",
    "airbyte: AirbyteTriggerSyncOperator": (
        "from airflow.providers.airbyte.operators.airbyte import AirbyteTriggerSyncOperator"
    ),
    "openai: OpenAIEmbeddingOperator": "from airflow.providers.openai.operators.openai import OpenAIEmbeddingOperator",
    "anthropic: AnthropicBatchOperator": (
        "from airflow.providers.anthropic.operators.batch import AnthropicBatchOperator"
    ),
}
HEAVY = ("requests", "aiohttp", "httpx", "fsspec", "av")


def cost(statement: str) -> tuple[float, int, list[str]]:
    """CPU seconds and modules that the statement adds in a fresh interpreter, and which heavy ones."""
    code = (
        f"{BASE}\nimport sys, time\nbefore = set(sys.modules)\nbegan = time.process_time()\n{statement}\n"
        "spent = time.process_time() - began\nadded = set(sys.modules) - before\n"
        f"print(spent, len(added), *sorted(added & set({HEAVY!r})))"
    )
    # Compiled code of all alike, also where the environment forbids to keep any.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{os.environ['BENCH_HOME']}/pycache"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    seconds, modules, *heavy = done.stdout.splitlines()[-1].split()
    return float(seconds), int(modules), heavy


def run(quick: bool) -> Table:
    """Import each a few times, in turn."""
    rounds = 1 if quick else 3
    found = {name: [cost(CONTESTANTS[name])] for name in CONTESTANTS}  # warms the file cache
    for name in list(CONTESTANTS) * rounds:
        found[name].append(cost(CONTESTANTS[name]))
    table = Table(f"CPU that an import adds over `{BASE}`", ["import", "CPU (ms)", "modules", "of them heavy, new"])
    for name, costs in found.items():
        seconds = statistics.median(spent for spent, _, _ in costs[1:])
        table.rows.append((name, seconds * 1e3, costs[-1][1], " ".join(costs[-1][2]) or "none"))
    table.bars = [Bar("ms added by our operators", table.rows[0][1], 15), Bar("by our sensor", table.rows[1][1], 15)]
    return table
