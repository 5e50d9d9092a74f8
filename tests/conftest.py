"""Before anything imports Airflow: a home of its own, so that no test reads or writes the user's."""

from __future__ import annotations

import os
import tempfile

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="grokvideo-tests-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
