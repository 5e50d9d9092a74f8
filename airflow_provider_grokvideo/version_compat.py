"""Airflow versions that the package branches on."""

from __future__ import annotations

from airflow import __version__
from packaging.version import Version

# Pre-releases of a version count as that version.
_RELEASE = Version(Version(__version__).base_version)

AIRFLOW_V_3_0_PLUS = Version("3.0.0") <= _RELEASE
AIRFLOW_V_3_1_PLUS = Version("3.1.0") <= _RELEASE
AIRFLOW_V_3_3_PLUS = Version("3.3.0") <= _RELEASE
