"""The environment variables that make an Airflow of any supported version fast, local and quiet."""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

USERNAME = "admin"

# Everything an end-to-end test waits for, shortened. A test that needs another number passes it as `env`.
INTERVALS = {
    "SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
    # A worker notices the end of its task only between two heartbeats.
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "1",
    "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
    "DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "1",
    "CORE__MIN_SERIALIZED_DAG_FETCH_INTERVAL": "1",
}
INTERVALS_AIRFLOW_2 = {
    "SCHEDULER__DAG_DIR_LIST_INTERVAL": "1",
    "SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "5",
    "SCHEDULER__PARSING_PROCESSES": "1",
    "SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "1",
    "SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "20",
    "SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "2",
    "DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "API__AUTH_BACKENDS": "airflow.api.auth.backend.basic_auth",
    "API__ENABLE_XCOM_DESERIALIZE_SUPPORT": "True",
    "WEBSERVER__WORKERS": "1",
}
# A busy machine is slow, and nothing has failed: a call that is given up after Airflow's 5 s and repeated finds its
# task started already, and fails it.
PATIENT = {
    "WORKERS__EXECUTION_API_TIMEOUT": "120",
    "CORE__DAGBAG_IMPORT_TIMEOUT": "120",
    "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
    "DAG_PROCESSOR__STALE_DAG_THRESHOLD": "600",
}
QUIET = {
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "USAGE_DATA_COLLECTION__ENABLED": "False",
    "LOGGING__COLORED_CONSOLE_LOG": "False",
    # A look-up of the own name can take seconds where there is no name server.
    "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
    "CORE__PARALLELISM": "16",
}


def surroundings() -> dict[str, str]:
    """The environment of this process, without any Airflow that its owner has configured."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW_", "_AIRFLOW_"))}
    for key in ("no_proxy", "NO_PROXY"):
        env[key] = ",".join(filter(None, [env.get(key), "127.0.0.1,localhost"]))
    # The 2.x webserver starts the gunicorn that it finds on PATH, and that must be its own.
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["SCARF_ANALYTICS"] = env["DO_NOT_TRACK"] = "true"
    env["PYTHONUNBUFFERED"] = "1"
    return env


def airflow_environment(
    home: Path, dags_folder: Path, *, major: int, executor: str, database_url: str, ports: dict[str, int]
) -> dict[str, str]:
    """Return the AIRFLOW… variables of one stack; its secrets are random and live only in its processes."""
    url = f"http://127.0.0.1:{ports['api']}"
    options = {
        **QUIET,
        **INTERVALS,
        **PATIENT,
        "CORE__DAGS_FOLDER": str(dags_folder),
        "CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "CORE__EXECUTOR": executor,
        "CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "DATABASE__SQL_ALCHEMY_CONN": database_url,
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs" / "tasks"),
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        "LOGGING__WORKER_LOG_SERVER_PORT": str(ports["worker_logs"]),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports["trigger_logs"]),
    }
    if major >= 3:
        options |= {
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USERNAME}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "API__BASE_URL": url,
            "API__HOST": "127.0.0.1",
            "API__PORT": str(ports["api"]),
            # Airflow 3.0 would start four, which a busy machine kills for starting slowly.
            "API__WORKERS": "1",
            "API__SECRET_KEY": secrets.token_hex(32),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        }
    else:
        options |= INTERVALS_AIRFLOW_2
        options |= {
            "WEBSERVER__BASE_URL": url,
            "WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "WEBSERVER__WEB_SERVER_PORT": str(ports["api"]),
            "WEBSERVER__SECRET_KEY": secrets.token_hex(32),
            "LOGGING__DAG_PROCESSOR_MANAGER_LOG_LOCATION": str(home / "logs" / "dag_processor_manager.log"),
            "SCHEDULER__CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        }
    return {"AIRFLOW_HOME": str(home), **{f"AIRFLOW__{key}": value for key, value in options.items()}}
