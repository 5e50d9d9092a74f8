"""One DAG makes a video, another runs when it is there.

The event of the asset carries the result of the task that made it. The alias stands for the saved file itself, whose
name is known at run time only. On Airflow 2 assets are called datasets.

Look at *Assets*: the event of ``grokvideo://videos/trailer`` has the result and starts the consumer.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, Param, task

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_OUTPUT", "file:///tmp/grokvideo/")

trailer = Asset("grokvideo://videos/trailer")
trailer_files = AssetAlias("grokvideo_trailer_files")

with DAG(
    "grokvideo_asset_producer",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    params={
        "prompt": Param(
            "A trailer: a train crosses a viaduct in fog",
            type="string",
            minLength=1,
            description="What to film. In the sandbox, add #failed or #moderated to see a failure.",
        ),
        "duration": Param(3, type="integer", minimum=1, maximum=15, description="Seconds; each second is billed."),
        "resolution": Param("480p", type="string", enum=["480p", "720p"], description="720p costs more."),
    },
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="generate",
        prompt="{{ params.prompt }}",
        duration="{{ params.duration }}",
        resolution="{{ params.resolution }}",
        output_path=OUTPUT + "trailers/",
        poll_interval=2,
        outlets=[trailer, trailer_files],
    )

with DAG(
    "grokvideo_asset_consumer",
    schedule=[trailer],
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    tags=["grokvideo"],
    doc_md=__doc__,
):

    @task
    def publish(
        triggering_asset_events: dict | None = None, triggering_dataset_events: dict | None = None
    ) -> list[str]:
        paths = []
        for events in (triggering_asset_events or triggering_dataset_events or {}).values():
            for event in events:
                print(f"publishing {event.extra['path']}: {event.extra['duration']} s, {event.extra['cost_usd']} USD")
                paths.append(event.extra["path"])
        return paths

    publish()
