"""The buttons "Video" and "Request" on a task, mapped or not, waiting or done."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom, conf

from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_1_PLUS

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context, TaskInstanceKey

    from airflow_provider_grokvideo.hooks.grokvideo import GrokVideoHook

_FOLLOWABLE = re.compile(r"https?://|/(?![/\\])")


class _StoredLink(BaseOperatorLink):
    """A link that the task has stored as XCom; absent where it has not."""

    @property
    def xcom_key(self) -> str:
        """Airflow 3 reads the link from this XCom itself."""
        return f"_link_{type(self).__name__}"

    def store(self, context: Context, url: str | None) -> None:
        """Make the link known, so that it is there while the task still waits."""
        if url:
            context["ti"].xcom_push(key=self.xcom_key, value=url)

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the stored URL, empty where there is none that a browser may follow."""
        stored: Any = XCom.get_value(ti_key=ti_key, key=self.xcom_key)
        # Whoever may edit XComs must not choose what a click runs.
        return stored if isinstance(stored, str) and _FOLLOWABLE.match(stored) else ""


class GrokVideoRequestLink(_StoredLink):
    """The generation at the API. Its answer needs the key; the id in it is what support asks for."""

    name = "Request"


class GrokVideoLink(_StoredLink):
    """The finished video: its preview in Airflow 3.1 and later, else where the API serves it for a while."""

    name = "Video"


def push_links(context: Context, hook: GrokVideoHook, request_id: str) -> None:
    """Make known what can be linked to as soon as there is an id."""
    from airflow_provider_grokvideo.api.protocol import poll_url

    GrokVideoRequestLink().store(context, poll_url(hook.settings, request_id))
    GrokVideoLink().store(context, preview_url(context))


def preview_url(context: Context) -> str | None:
    """The preview of this task instance, where this Airflow has it: below the UI's base path, on whatever host."""
    if not AIRFLOW_V_3_1_PLUS:
        return None
    ti = context["ti"]
    base_path = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    dag_id, run_id, task_id = (quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    return f"{base_path}/grokvideo/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/{ti.map_index}"
