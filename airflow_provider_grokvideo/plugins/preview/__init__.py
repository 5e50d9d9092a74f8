"""Airflow plugin for the video preview: a tab of the task instance and a gallery of the DAG run.

Every component of Airflow imports this module, so it imports only the plugin's base class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_grokvideo.utils.preview import TASK_ROUTE, is_preview_enabled

URL_PREFIX = "/grokvideo"
# Relative to the <base> of Airflow's page, so that the links work behind a base path.
_RELATIVE_PREFIX = URL_PREFIX.removeprefix("/")
_RUN_URL = f"{_RELATIVE_PREFIX}/dags/{{DAG_ID}}/runs/{{RUN_ID}}"
_ICONS = {
    "icon": f"{_RELATIVE_PREFIX}/static/video.svg",
    "icon_dark_mode": f"{_RELATIVE_PREFIX}/static/video-dark.svg",
}
# Airflow 3.4 and later show the tab for tasks of these classes only; earlier versions ignore the key. No key selects
# the runs that have such a task: https://github.com/apache/airflow/pull/69148
_OPERATORS = [
    "GrokVideoGenerateOperator",
    "GrokVideoEditOperator",
    "GrokVideoExtendOperator",
    "GrokVideoDecoratedOperator",
    "GrokVideoSensor",
]


class LazyApp:
    """The ASGI app of the preview, which imports FastAPI at its first request, so only in API servers."""

    _app: Callable[[Any, Any, Any], Awaitable[None]] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if self._app is None:
            # The import takes about 0.4 s. In the event loop it would delay all requests of the API server.
            self._app = await asyncio.to_thread(_create_app)
        await self._app(scope, receive, send)


def _create_app() -> Callable[[Any, Any, Any], Awaitable[None]]:
    from airflow_provider_grokvideo.plugins.preview.routes import create_app

    return create_app()


class GrokVideoPreviewPlugin(AirflowPlugin):
    """The plugin, which adds the preview to the UI of Airflow 3.1 and later unless the configuration turns it off."""

    name = "grokvideo_preview"
    if is_preview_enabled():
        fastapi_apps = [{"app": LazyApp(), "url_prefix": URL_PREFIX, "name": "Grok Video preview"}]
        external_views = [
            {
                "name": "Video",
                "href": f"{_RUN_URL}/tasks/{{TASK_ID}}/{{MAP_INDEX}}",
                "destination": "task_instance",
                "url_route": TASK_ROUTE,
                "applies_to": {"operators": _OPERATORS},
                **_ICONS,
            },
            {
                "name": "Videos",
                "href": _RUN_URL,
                "destination": "dag_run",
                "url_route": "grokvideo-run",
                **_ICONS,
            },
        ]
