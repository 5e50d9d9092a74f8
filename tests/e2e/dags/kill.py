"""DAGs of the kill harness: the operator, stopped at the point that the run's conf names, and a peer to compare."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from airflow.providers.common.compat.sdk import DAG, BaseHook, BaseOperator
from airflow.providers.standard.operators.empty import EmptyOperator

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator


def hold(context: Any) -> None:
    """Let the function that ``conf`` names announce itself and stand still, once in the life of the run."""
    conf = context["dag_run"].conf
    if "hold" not in conf:
        return
    place, _, name = conf["hold"].rpartition(".")
    module, _, owner_name = place.partition(":")
    owner = getattr(importlib.import_module(module), owner_name)
    original = getattr(owner, name)

    @functools.wraps(original)
    def held(*args: Any, **kwargs: Any) -> Any:
        if conf["when"] == "before":
            stand_still(Path(conf["marker"]))
        result = original(*args, **kwargs)
        if conf["when"] == "after":
            stand_still(Path(conf["marker"]))
        return result

    setattr(owner, name, held)


def stand_still(marker: Path) -> None:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    while True:
        signal.pause()


class PeerOperator(BaseOperator):
    """What operators of paid APIs commonly do: submit in ``execute``, then wait. No ledger."""

    template_fields = ("prompt",)

    def __init__(self, *, prompt: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt

    def execute(self, context: Any) -> str:
        connection = BaseHook.get_connection("grokvideo_patient")
        headers = {"Authorization": f"Bearer {connection.password}"}
        url = f"{connection.host}/videos"
        body = json.dumps({"model": "grok-imagine-video", "prompt": self.prompt, "duration": 1})
        answer = requests.post(f"{url}/generations", headers=headers, data=body, timeout=30)
        answer.raise_for_status()
        request_id = answer.json()["request_id"]
        while True:
            generation = requests.get(f"{url}/{request_id}", headers=headers, timeout=30).json()
            if generation.get("status") == "done":
                break
            time.sleep(1)
        video = requests.get(generation["video"]["url"], timeout=30).content
        folder = os.environ["GROKVIDEO_OUTPUT"].removeprefix("file://")
        Path(folder, f"{request_id}.mp4").write_bytes(video)
        return request_id


ARGUMENTS = {
    "task_id": "video",
    "prompt": "Killed at {{ run_id }}.",
    "retries": 2,
    "retry_delay": timedelta(seconds=1),
}
VIDEO = {
    **ARGUMENTS,
    "duration": 1,
    "grokvideo_conn_id": "grokvideo_patient",
    "output_path": os.environ.get("GROKVIDEO_OUTPUT"),
    "poll_interval": 1,
    "pre_execute": hold,
}
START = datetime(2026, 1, 1, tzinfo=UTC)
SOON = 20
"""Seconds until the deadline of ``kill_soon_due``."""

with DAG("kill_deferred", schedule=None, start_date=START):
    GrokVideoGenerateOperator(**VIDEO)
with DAG("kill_on_worker", schedule=None, start_date=START):
    GrokVideoGenerateOperator(**VIDEO, deferrable=False)
with DAG("kill_timed", schedule=None, start_date=START):
    GrokVideoGenerateOperator(**VIDEO, deferrable=False, execution_timeout=timedelta(seconds=15))
with DAG("kill_beside_another", schedule=None, start_date=START):
    another = EmptyOperator(task_id="another")
    GrokVideoGenerateOperator(**{**VIDEO, "retry_delay": timedelta(seconds=8)})
with DAG("kill_soon_due", schedule=None, start_date=START):
    GrokVideoGenerateOperator(**VIDEO, timeout=SOON)
with DAG("kill_peer", schedule=None, start_date=START):
    PeerOperator(**ARGUMENTS)
