"""Links "Video" and "Request" of a task, mapped or not, waiting or done."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom, conf

from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_1_PLUS

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
    """Link to the generation at the API. It opens only with the key; support asks for the id in it."""

    name = "Request"


class GrokVideoLink(_StoredLink):
    """Link to the video: its preview in Airflow 3.1 and later, else its temporary URL at the API."""

    name = "Video"


def push_links(context: Context, request_url: str) -> None:
    """Store the links of a generation as soon as its id is known.

    :param request_url: URL of the generation at the API.
    """
    GrokVideoRequestLink().store(context, request_url)
    GrokVideoLink().store(context, preview_url(context))


def preview_url(context: Context) -> str | None:
    """Return the path of this task instance's preview below the UI's base path, ``None`` before Airflow 3.1."""
    if not AIRFLOW_V_3_1_PLUS:
        return None
    ti = context["ti"]
    base_path = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    dag_id, run_id, task_id = (quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    return f"{base_path}/grokvideo/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{ti.map_index}"
