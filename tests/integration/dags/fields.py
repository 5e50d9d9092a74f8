"""Tasks whose rendered fields are read. The file ``$SEEN`` lists what hooks and subclasses see."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_grokvideo.api.request import VideoRequest
from airflow_provider_grokvideo.decorators.grokvideo import grok_video_task
from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

SIGNED = "https://store.example.com/lake.png?X-Amz-Signature=deadbeef0123456789"
HOSTILE = "50 {% off {{ conn.grokvideo_default.password }} {# no #}"
START = datetime(2026, 1, 1, tzinfo=UTC)
FAST: dict[str, Any] = {"duration": 1, "poll_interval": 0.2, "timeout": 60}
RETURNED: dict[str, Callable[[], Any]] = {
    "text": lambda: f"text {HOSTILE}",
    "mapping": lambda: {"prompt": f"mapping {HOSTILE}", "user": HOSTILE},
    "request": lambda: VideoRequest(prompt=f"request {HOSTILE}", duration=1, user=HOSTILE),
}
PRIVATE: dict[str, Any] = {"image": "{{ '" + SIGNED + "' }}", "extra": {"x": [SIGNED]}}


def note(what: str, subject: Any) -> None:
    """Write down what the task's fields hold."""
    with pathlib.Path(os.environ["SEEN"]).open("a") as file:
        file.write(json.dumps([what, subject.task_id, subject.image, subject.extra]) + "\n")


def before(context: Any) -> None:
    """Look at the task before it runs."""
    note("pre_execute", context["ti"].task)


def callback(context: Any) -> None:
    """Look at the task in a callback."""
    note("callback", context["ti"].task)


class Looking(GrokVideoGenerateOperator):
    """An operator of a user's own."""

    def execute(self, context: Any) -> Any:
        """Look at the fields, then do as always."""
        note("execute", self)
        return super().execute(context)


with DAG("verbatim", schedule=None, start_date=START):
    for name, function in RETURNED.items():
        for deferrable in (True, False):

            @grok_video_task(task_id=f"{name}_{'deferred' if deferrable else 'worker'}", deferrable=deferrable, **FAST)
            def film(function: Callable[[], Any] = function) -> Any:
                """Return what is to be sent as it is."""
                return function()

            film()

with DAG("upstream", schedule=None, start_date=START):

    @task
    def catalogue() -> Any:
        """Return data that somebody else has written."""
        return {"name": HOSTILE, "picture": SIGNED, "all": [HOSTILE]}

    @task
    def names() -> Any:
        """Return data to map over."""
        return [HOSTILE]

    @task
    def text() -> Any:
        """Return a text that somebody else has written."""
        return HOSTILE

    @grok_video_task(user="{{ dag.dag_id }}", **FAST)
    def described(product: Any, place: str, *, more: Any) -> str:
        """Return a prompt with data of another task."""
        return f"{product['name']} in {place} {more['deep'][0]['all'][0]}"

    @grok_video_task(**FAST)
    def mapped(name: str) -> str:
        """Return data of another task."""
        return name

    @task
    def request() -> Any:
        """Return a request."""
        picture = "https://store.example.com/{{ x }}.png".replace(" ", "")
        return {"prompt": f"nested {HOSTILE}", "extra": {"deep": [HOSTILE]}, "reference_images": [picture]}

    @task
    def requests(one: Any) -> Any:
        """Return requests to map over."""
        return [one]

    @task
    def arguments() -> Any:
        """Return a function's arguments to map over."""
        return [{"parts": ["nested", {"name": HOSTILE}]}]

    @task
    def extras() -> Any:
        """Return one field to map over."""
        return [{"deep": [HOSTILE]}]

    @grok_video_task(**FAST)
    def joined(parts: Any) -> str:
        """Return a prompt of data of another task."""
        return f"{parts[0]} {parts[1]['name']}"

    found = catalogue()
    joined.expand_kwargs(arguments())
    GrokVideoGenerateOperator.partial(task_id="by_kwargs", **FAST).expand_kwargs(requests(request()))
    GrokVideoGenerateOperator.partial(task_id="by_list", **FAST).expand_kwargs([request()])
    GrokVideoGenerateOperator.partial(task_id="by_field", prompt="nested {{ dag.dag_id }}", **FAST).expand(
        extra=extras()
    )
    described(found, "{{ dag.dag_id }}", more={"deep": [found]})
    mapped.expand(name=names())
    GrokVideoGenerateOperator(task_id="plain", prompt=text(), **FAST)
    GrokVideoGenerateOperator.partial(task_id="expanded", **FAST).expand(prompt=names())

with DAG("signed", schedule=None, start_date=START):
    for deferrable in (True, False):
        how = "deferred" if deferrable else "worker"
        common: dict[str, Any] = {"deferrable": deferrable, "pre_execute": before, **FAST}
        Looking(
            task_id=f"single_{how}",
            on_execute_callback=callback,
            on_success_callback=callback,
            prompt=f"Like {SIGNED}",
            **PRIVATE,
            **common,
        )
        Looking.partial(task_id=f"mapped_{how}", **common).expand_kwargs([{**PRIVATE, "prompt": f"Like {SIGNED}"}])

        @grok_video_task(task_id=f"decorated_{how}", on_success_callback=callback, **PRIVATE, **common)
        def like() -> str:
            """Return a prompt that names a signed URL."""
            return f"Like {SIGNED}"

        like()

with DAG("moderated", schedule=None, start_date=START):
    for deferrable in (True, False):

        @grok_video_task(task_id="deferred" if deferrable else "worker", deferrable=deferrable, **FAST)
        def in_vain() -> str:
            """Return a prompt that the API refuses."""
            return "A film in vain #moderated"

        in_vain()
