"""Link "Video" of a task, mapped or not, waiting or done."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom, conf

from airflow_provider_grokvideo.utils.preview import TASK_ROUTE, is_preview_enabled

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

_FOLLOWABLE = re.compile(r"https?://|/(?![/\\])")


class _StoredLink(BaseOperatorLink):
    """Link that a task stores as XCom."""

    @property
    def xcom_key(self) -> str:
        """Key of the XCom, from which Airflow 3 reads the link itself."""
        return f"_link_{type(self).__name__}"

    def store(self, context: Context, url: str | None) -> None:
        """Store the link, so that it is available while the task waits; do nothing without a URL."""
        if url:
            context["ti"].xcom_push(key=self.xcom_key, value=url)

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the stored URL, or ``""`` if there is none that a browser may follow."""
        stored: Any = XCom.get_value(ti_key=ti_key, key=self.xcom_key)
        # An XCom may be edited: a click must not run a script.
        return stored if isinstance(stored, str) and _FOLLOWABLE.match(stored) else ""


class GrokVideoRequestLink(_StoredLink):
    """Link to the generation at the API, of tasks that release 0.1.0 ran. The API answers only with the key."""

    name = "Request"


class GrokVideoLink(_StoredLink):
    """Link to the video: the tab "Video" of Airflow's UI if there is one, else the temporary URL at the API."""

    name = "Video"


def push_link(context: Context) -> None:
    """Store the link to the tab "Video" as soon as a generation is known."""
    GrokVideoLink().store(context, preview_url(context))


def preview_url(context: Context) -> str | None:
    """Return the path of this task instance's tab "Video", ``None`` in an Airflow without it."""
    if not is_preview_enabled():
        return None
    ti = context["ti"]
    base_path = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    dag_id, run_id, task_id = (quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    mapped = f"/mapped/{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
    return f"{base_path}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/plugin/{TASK_ROUTE}"
