"""DAGs of the browser tests: tasks with a video, without one, and with a forged result."""

import os
from datetime import datetime

from airflow.sdk import DAG, task

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

VIDEOS = os.environ["VIDEOS_OUTPUT"]
START = datetime(2026, 1, 1)

with DAG("videos", schedule=None, start_date=START):
    GrokVideoGenerateOperator(
        task_id="saved",
        prompt="A lighthouse at dusk, {{ 'waves' }} breaking, cinematic",
        duration=2,
        output_path=f"{VIDEOS}/{{{{ dag.dag_id }}}}/",
    )
    GrokVideoGenerateOperator.partial(task_id="scenes", duration=1, output_path=f"{VIDEOS}/scenes/").expand(
        prompt=["A red kite over dunes", "A glass whale between clouds", "A tram in the rain at night"]
    )
    GrokVideoGenerateOperator(task_id="unsaved", prompt="A paper boat on a river", duration=1)
    GrokVideoGenerateOperator(task_id="moderated", prompt="Something nobody may see #moderated", duration=1)
    GrokVideoGenerateOperator(
        task_id="slow", prompt="A glacier, from above, for a very long time", grokvideo_conn_id="grokvideo_slow"
    )

    @task
    def other() -> str:
        return "no video"

    other()

with DAG("variants", schedule=None, start_date=START):
    SLOW = {"grokvideo_conn_id": "grokvideo_slow", "duration": 1}
    # Its generation goes on after the task has failed.
    GrokVideoGenerateOperator(task_id="late", prompt="A snail", timeout=1, retries=0, **SLOW)
    submitted = GrokVideoGenerateOperator(task_id="submit", prompt="A heron", wait_for_completion=False, **SLOW)
    GrokVideoSensor(task_id="await", request_id=submitted.output["request_id"], grokvideo_conn_id="grokvideo_slow")

    @task.grok_video(**SLOW)
    def described() -> str:
        return "A stork over wet meadows"

    described()

with DAG("screencast", schedule=None, start_date=START):
    GrokVideoGenerateOperator(
        task_id="generate",
        prompt="A paper boat sails down a rainy street at dusk, neon lights mirrored in the water",
        duration=4,
        aspect_ratio="16:9",
        grokvideo_conn_id="grokvideo_steady",
        output_path=f"{VIDEOS}/screencast/",
        poll_interval=1,
    )

with DAG("forgers", schedule=None, start_date=START, params={"result": {}}):

    @task
    def forged(params: dict) -> dict:
        return params["result"]

    forged()

with DAG("watchers", schedule=None, start_date=START, params={"request_id": ""}):
    GrokVideoSensor(
        task_id="watch",
        request_id="{{ params.request_id }}",
        output_path=f"{VIDEOS}/watched.mp4",
    )
