"""Airflow versions: which one the package needs, and which ones it branches on."""

from __future__ import annotations

from airflow import __version__
from packaging.version import Version

from airflow_provider_grokvideo import __version__ as provider_version

MIN_AIRFLOW_VERSION = "2.11.0"


def check_airflow_version(installed: str) -> Version:
    """Return the release of an Airflow version; a pre-release counts as its release.

    :raises RuntimeError: the package does not work with it.
    """
    release = Version(Version(installed).base_version)
    if release < Version(MIN_AIRFLOW_VERSION):
        raise RuntimeError(
            f"airflow-provider-grokvideo {provider_version} needs Apache Airflow {MIN_AIRFLOW_VERSION} or later, and "
            f"this is {installed}. Upgrade Airflow."
        )
    return release


_RELEASE = check_airflow_version(__version__)

AIRFLOW_V_3_0_PLUS = Version("3.0.0") <= _RELEASE
AIRFLOW_V_3_1_PLUS = Version("3.1.0") <= _RELEASE
AIRFLOW_V_3_3_PLUS = Version("3.3.0") <= _RELEASE
