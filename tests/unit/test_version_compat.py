"""Versions of Airflow that the package works with."""

from __future__ import annotations

import pytest
from packaging.version import Version

import airflow_provider_grokvideo
from airflow_provider_grokvideo.version_compat import check_airflow_version


@pytest.mark.parametrize(("installed", "release"), [("2.11.0", "2.11.0"), ("2.11.0rc1", "2.11.0"), ("3.3.2", "3.3.2")])
def test_supported_airflow_is_accepted(installed: str, release: str) -> None:
    assert check_airflow_version(installed) == Version(release)


@pytest.mark.parametrize("installed", ["2.10.5", "2.9.0.dev0", "1.10.15"])
def test_older_airflow_is_refused(installed: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        check_airflow_version(installed)
    assert str(caught.value) == (
        f"airflow-provider-grokvideo {airflow_provider_grokvideo.__version__} needs Apache Airflow 2.11.0 or later, "
        f"and this is {installed}. Upgrade Airflow."
    )
