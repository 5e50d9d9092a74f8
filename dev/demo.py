"""``make demo``: one video through a real local Airflow, shown line by line.

Uses the sandbox; with GROKVIDEO_API_KEY set, the real API (of CometAPI, or of GROKVIDEO_HOST).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_grokvideo.api.client import GrokVideoClient
from airflow_provider_grokvideo.api.models import DEFAULT_MODEL, estimate, format_usd, not_offered_hint
from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.api.settings import Settings
from airflow_provider_grokvideo.exceptions import GrokVideoError
from dev.airflow_stack import AirflowApiError, AirflowStack, SandboxProcess, StackError, template_database
from dev.narrator import Narrator, Step
from dev.processes import SignalsAsExceptions, wait_until

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".demo"
CONN_ID = "grokvideo_default"
DAG_ID, TASK_ID, DAG_FILE = "grokvideo_quickstart", "generate", "quickstart.py"
REQUEST = VideoRequest(
    prompt="A paper boat sails down a rainy street at dusk, neon lights mirrored in the water",
    model=DEFAULT_MODEL,
    duration=8,
    aspect_ratio="16:9",
    resolution="480p",
)
# What the trigger form of the DAG asks for.
CONF = {name: getattr(REQUEST, name) for name in ("prompt", "duration", "aspect_ratio", "resolution")}
KEPT_RUNS = 3
# Airflow may take long to notice a lost task; the real API may take minutes to render.
SANDBOX_TIMEOUT, REAL_TIMEOUT = 300, 900
# Seconds, on two cores. The first start compiles Airflow and creates its database.
FIRST_START, START = 30, 12
SANDBOX_VIDEO, REAL_VIDEO = 15, 90
POLL_INTERVAL = 1
STATES = {
    "queued": "the scheduler has queued the task",
    "running": "a worker runs the task",
    "deferred": "deferred: the triggerer waits now, no worker slot is held",
    "up_for_retry": "this attempt failed, Airflow will try again",
}
STATES_AFTER_THE_WAIT = {
    "queued": "the wait is over, the task is queued again",
    "running": "a worker has the task again: it downloads and checks the video",
}
# Starts of the log lines that the demo repeats.
REPEATED = ("Generation ", "Saved ")


def real_settings(key: str, host: str | None) -> Settings:
    """Return the settings of a connection with this key and host."""
    # Only here: the import of Airflow takes seconds, and the first line shall come at once.
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_grokvideo.hooks.connection import settings_of

    try:
        return settings_of(Connection(conn_id=CONN_ID, conn_type="grokvideo", host=host, password=key))
    except GrokVideoError as error:
        raise StackError(str(error)) from None


def connection(settings: Settings) -> str:
    """Return a connection as Airflow reads it from the environment."""
    return json.dumps({"conn_type": "grokvideo", "host": settings.base_url, "password": settings.api_key})


def check_key(settings: Settings) -> str:
    """Ask the API for its models, which is free, and return whether it accepts the key.

    :raises StackError: the API rejects the key or cannot be reached.
    """
    try:
        with GrokVideoClient(settings) as client:
            models = client.list_models()
    except GrokVideoError as error:
        raise StackError(f"{settings.base_url} cannot be used: {error}") from None
    hint = not_offered_hint(DEFAULT_MODEL, [name for name in models if "video" in name])
    return f"the API accepts the key and offers {len(models)} models" + (f". The default model, {hint}" if hint else "")


def price_line(request: VideoRequest, *, real: bool) -> str:
    """Return what a request costs at most."""
    cost = estimate(request)
    price = "an unknown amount" if cost is None else f"up to {format_usd(cost)} USD"
    size = f"{request.duration} s in {request.resolution} with {request.model_name}"
    if real:
        return f"{size} will cost {price}. Press Ctrl-C now to stop"
    return f"{size} is free here; the real API would charge {price}"


def keep_bytecode(environ: MutableMapping[str, str], folder: Path) -> None:
    """Let Python keep compiled modules in a folder of ours, where it may not keep them beside their sources.

    Otherwise each process of Airflow compiles two thousand modules when it starts.
    """
    if environ.pop("PYTHONDONTWRITEBYTECODE", None):
        environ["PYTHONPYCACHEPREFIX"] = str(folder)


def fresh_home(base: Path) -> Path:
    """Return a new folder for this run and drop all but the last few."""
    base.mkdir(exist_ok=True)
    for old in sorted(path for path in base.glob("20*-*") if path.is_dir())[: -KEPT_RUNS + 1 or None]:
        shutil.rmtree(old)
    home = base / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S-%f")
    home.mkdir()
    return home


class Run:
    """One run of the quickstart DAG, followed through what Airflow's API and the task's log show."""

    def __init__(self, airflow: AirflowStack, narrator: Narrator, step: Step, settings: Settings) -> None:
        self.airflow = airflow
        self.client = airflow.client
        self.say = narrator.say
        self.step = step
        self.settings = settings
        self.run_id = self.client.trigger(DAG_ID, CONF)
        self._last_state: str | None = None
        self._states = STATES
        self._request_id: str | None = None
        self._shown_log: set[str] = set()
        self._next_poll = 0.0

    def follow(self, timeout: float) -> dict[str, Any]:
        """Print what happens until the run has ended, and return the task's result."""
        state = wait_until(self._step, timeout=timeout, what=f"run {self.run_id} to end", interval=0.3)
        if state != "success":
            raise StackError(f"the run ended as {state}; the end of the task's log:\n{self.log_tail()}")
        return self.client.xcom(DAG_ID, self.run_id, TASK_ID)

    def log_tail(self, lines: int = 40) -> str:
        ti = self.client.task_instance(DAG_ID, self.run_id, TASK_ID)
        return "\n".join(self._log(ti["try_number"]).splitlines()[-lines:])

    def _step(self) -> str | None:
        self.airflow.check()
        run_state = self.client.run_state(DAG_ID, self.run_id)
        ti = self.client.task_instance(DAG_ID, self.run_id, TASK_ID)
        if ti["state"] not in {None, "scheduled", "queued", "running"}:
            self._show_request_id()
        if ti["state"] != self._last_state:
            self._last_state = ti["state"]
            if text := self._states.get(ti["state"]):
                self.say(text)
                self.step.now(text)
        if ti["state"] == "running":
            self._show_request_id()
        if ti["state"] == "deferred":
            self._states = STATES | STATES_AFTER_THE_WAIT
            self._show_progress()
        ended = run_state in {"success", "failed"}
        if ended or ti["state"] == "deferred":
            self._show_log(ti["try_number"])
        return run_state if ended else None

    def _show_request_id(self) -> None:
        if self._request_id:
            return
        with contextlib.suppress(AirflowApiError):
            self._request_id = self.client.xcom(DAG_ID, self.run_id, TASK_ID, key="request_id")
            self.say(f"submitted, request_id {self._request_id} is in XCom")

    def _show_progress(self) -> None:
        if not self._request_id or time.monotonic() < self._next_poll:
            return
        self._next_poll = time.monotonic() + POLL_INTERVAL
        with contextlib.suppress(GrokVideoError), GrokVideoClient(self.settings) as client:
            generation = client.get_generation(self._request_id)
            self.step.percent = 100 if generation.state == "done" else generation.progress
            self.step.now(f"the API renders the video: {generation.state}")

    def _show_log(self, try_number: int) -> None:
        """Print what the provider has logged about the generation and the file."""
        for line in self._log(try_number).splitlines():
            if line not in self._shown_log:
                self._shown_log.add(line)
                text = line.split(" ", 2)[-1]
                if text.startswith(REPEATED):
                    self.say(f"    {text}")

    def _log(self, try_number: int) -> str:
        try:
            return self.client.logs(DAG_ID, self.run_id, TASK_ID, max(try_number, 1))
        except AirflowApiError as error:
            return f"(no log: {error})"


def show_result(narrator: Narrator, result: dict[str, Any], *, real: bool) -> None:
    """Print where the video is, what it shows, what it cost and what to do next."""
    cost = result.get("cost_usd")
    price = f"{float(cost):.2f} US dollars" if cost else "not reported by the API"
    video = Path(result["path"].removeprefix("file://"))
    narrator.show_picture(video)
    print(
        f"\nYour video:  {video}\n"
        f"             {result['duration']} s, {result['size_bytes'] / 1024:.0f} KiB, {result['model']}\n"
        f"It cost:     {price if real else f'nothing: the sandbox made it (the real one: {price})'}",
        flush=True,
    )
    narrator.show_file("Open it:     ", video)
    print(
        "\nWhat to do next:\n"
        "  make ui                                 click through all example DAGs in Airflow\n"
        "  GROKVIDEO_API_KEY=<your key> make demo  the same with the real API (this costs money)\n"
        "  example_dags/quickstart.py              the DAG that has just run: copy it into your own Airflow",
        flush=True,
    )


@contextlib.contextmanager
def api(narrator: Narrator, log: Path) -> Iterator[Settings]:
    """Start the sandbox, or check the key of the real API; say which of both is used."""
    if key := os.environ.get("GROKVIDEO_API_KEY"):
        settings = real_settings(key, os.environ.get("GROKVIDEO_HOST"))
        narrator.say(f"API: {urlsplit(settings.base_url).netloc}, the real one ({settings.base_url})")
        narrator.say("checking the key, which is free (about 1 s)")
        narrator.say(check_key(settings))
        yield settings
        return
    narrator.say("starting the sandbox, a local video API (about 1 s)")
    with SandboxProcess(log) as sandbox:
        narrator.say(f"API: {urlsplit(sandbox.base_url).netloc}, the sandbox ({sandbox.base_url})")
        yield Settings(base_url=sandbox.base_url, api_key=sandbox.api_key)


def make_video(narrator: Narrator, home: Path, settings: Settings, *, real: bool) -> dict[str, Any]:
    """Start Airflow, run the DAG, stop Airflow, and return the task's result."""
    dags, videos = home / "dags", home / "videos"
    dags.mkdir()
    videos.mkdir()
    shutil.copy(ROOT / "example_dags" / DAG_FILE, dags)
    env = {
        "AIRFLOW_CONN_GROKVIDEO_DEFAULT": connection(settings),
        "GROKVIDEO_OUTPUT": f"file://{videos}/",
        # Nobody listens, and its import takes seconds of each task.
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
        # One task needs no 16 workers.
        "AIRFLOW__CORE__PARALLELISM": "2",
        # A task stays deferred for this interval and five seconds at least, see docs/scaling.md.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
    with contextlib.ExitStack() as stack:
        template = template_database(CACHE)
        with narrator.step("starting Airflow", START if template.exists() else FIRST_START) as step:
            airflow = AirflowStack(home / "airflow", dags, env, template=template, on_wait=step.now, niceness=10)
            stack.enter_context(airflow)
            step.now(f"waiting for the DAG {DAG_ID}")
            airflow.client.wait_for_dag(DAG_ID)
        narrator.say(f"Airflow is up; triggering {DAG_ID}")
        narrator.say(price_line(REQUEST, real=real))
        with narrator.step("making the video", REAL_VIDEO if real else SANDBOX_VIDEO) as step:
            result = Run(airflow, narrator, step, settings).follow(REAL_TIMEOUT if real else SANDBOX_TIMEOUT)
        narrator.say("success: the video is saved; stopping Airflow (about 1 s)")
        # Its folder is of no more use: an orderly shutdown takes seconds.
        for name in list(airflow.children):
            airflow.kill(name)
    return result


def main() -> int:
    """Run the demo and return the exit code."""
    narrator = Narrator()
    home = fresh_home(CACHE)
    keep_bytecode(os.environ, CACHE / "pycache")
    real = bool(os.environ.get("GROKVIDEO_API_KEY"))
    try:
        with SignalsAsExceptions(), api(narrator, home / "sandbox.log") as settings:
            result = make_video(narrator, home, settings, real=real)
        narrator.say("everything is stopped")
        show_result(narrator, result, real=real)
    except StackError as error:
        print(f"\nThe demo failed: {error}\n\nAll logs are under {home}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        narrator.say("interrupted; everything is stopped")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
