"""What all tests share: an Airflow home of their own, set before anything imports Airflow."""

from __future__ import annotations

import os
import tempfile

from hypothesis import HealthCheck, settings

_home = tempfile.TemporaryDirectory(prefix="grokvideo-tests-")
os.environ.setdefault("AIRFLOW_HOME", _home.name)
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "false")

# A slow machine is no failure.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
