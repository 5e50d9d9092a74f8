"""What Airflow reads about this provider when it starts."""

from __future__ import annotations

from typing import Any

from airflow_provider_grokvideo import __version__
from airflow_provider_grokvideo.connection_form import FIELD_BEHAVIOUR, FIELDS

_PACKAGE = "airflow_provider_grokvideo"
_INTEGRATION = "Grok Video"


def get_provider_info() -> dict[str, Any]:
    """Return the provider metadata, as ``provider_info.schema.json`` of Airflow describes it."""
    return {
        "package-name": "airflow-provider-grokvideo",
        "name": "Grok Video",
        "description": "Video generation with Grok, through CometAPI or xAI.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://apidoc.cometapi.com/api/video/xai/video-generation",
                "tags": ["ai"],
            }
        ],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.hooks.grokvideo"]}],
        "operators": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.operators.grokvideo"]}],
        "sensors": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.sensors.grokvideo"]}],
        "triggers": [{"integration-name": _INTEGRATION, "python-modules": [f"{_PACKAGE}.triggers.grokvideo"]}],
        "task-decorators": [{"name": "grok_video", "class-name": f"{_PACKAGE}.decorators.grokvideo.grok_video_task"}],
        "extra-links": [
            f"{_PACKAGE}.links.grokvideo.GrokVideoLink",
            f"{_PACKAGE}.links.grokvideo.GrokVideoRequestLink",
        ],
        "connection-types": [
            {
                "connection-type": "grokvideo",
                "hook-class-name": f"{_PACKAGE}.hooks.grokvideo.GrokVideoHook",
                "hook-name": "Grok Video",
                "ui-field-behaviour": FIELD_BEHAVIOUR,
                "conn-fields": FIELDS,
            }
        ],
        "plugins": [
            {
                "name": "grokvideo_preview",
                "plugin-class": f"{_PACKAGE}.plugins.preview.GrokVideoPreviewPlugin",
            }
        ],
        "config": {
            "grokvideo": {
                "description": "Settings of the Grok Video provider.",
                "options": {
                    "ledger_path": {
                        "description": "Directory, as a URI, where tasks note what they paid for, on "
                        "Airflow before 3.3. Default: beside the task's output_path.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://bucket/grokvideo-ledger/",
                        "default": None,
                    },
                    "max_video_bytes": {
                        "description": "Size in bytes above which a video is not saved. Default: 4 GiB.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": "1073741824",
                        "default": None,
                    },
                    "prices": {
                        "description": "US dollars by model, as JSON, laid over the list prices by which a cost is "
                        "estimated before a submission: per second of video by resolution, per input image (image), "
                        "and per second of input video (input_video).",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": '{"grok-imagine-video": {"480p": 0.04, "720p": 0.056}}',
                        "default": None,
                    },
                    "preview": {
                        "description": "Whether Airflow's UI has the pages of this provider: the tabs Video and "
                        "Videos. A change needs a restart of the API server.",
                        "version_added": "0.2.0",
                        "type": "boolean",
                        "example": None,
                        "default": "True",
                    },
                    "preview_roots": {
                        "description": "URIs, separated by commas or spaces, below which the video preview in the "
                        "UI may play files that a task of this provider has saved. {dag_id} stands for the DAG's id; "
                        "without it, whoever may edit one DAG's XComs can show the files of all. A file in the "
                        "task's own output_path plays without a root, for as long as Airflow keeps the task's "
                        "rendered fields.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://bucket/videos/{dag_id}/, file:///data/videos/",
                        "default": None,
                    },
                    "preview_progress": {
                        "description": "Whether the API server asks the video API, with the task's connection, how "
                        "an unfinished or failed generation is doing while somebody looks at its preview. It costs "
                        "nothing; one answer is kept for some seconds.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "True",
                    },
                },
            }
        },
    }
