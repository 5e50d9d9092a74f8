"""An auth manager with a user who may see every DAG and no XCom, which the simple one cannot express."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

UNPRIVILEGED_USER = "unprivileged"


class GuardedAuthManager(SimpleAuthManager):
    """The simple auth manager, except for one user."""

    def is_authorized_dag(self, *, user: Any, access_entity: DagAccessEntity | None = None, **kwargs: Any) -> bool:
        if user.username == UNPRIVILEGED_USER and access_entity == DagAccessEntity.XCOM:
            return False
        return super().is_authorized_dag(user=user, access_entity=access_entity, **kwargs)
