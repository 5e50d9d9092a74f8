"""What the pages and the links to them share. Operators import this module, so it imports nothing but the config."""

from __future__ import annotations

from airflow.configuration import conf

from airflow_provider_grokvideo.version_compat import AIRFLOW_V_3_1_PLUS

TASK_ROUTE = "grokvideo"
"""The tab of a task instance, in a URL of Airflow's UI: ``…/tasks/<task>/plugin/grokvideo``."""


def is_preview_enabled() -> bool:
    """Return whether Airflow's UI has the pages: since Airflow 3.1, unless ``[grokvideo] preview`` turns them off."""
    return AIRFLOW_V_3_1_PLUS and conf.getboolean("grokvideo", "preview", fallback=True)
