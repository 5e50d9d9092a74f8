"""The Airflow versions that the package branches on."""

from __future__ import annotations

import re

from airflow import __version__

_BASE = tuple(int(number) for number in re.findall(r"\d+", __version__)[:3])

AIRFLOW_V_3_0_PLUS = _BASE >= (3, 0, 0)
AIRFLOW_V_3_1_PLUS = _BASE >= (3, 1, 0)
AIRFLOW_V_3_3_PLUS = _BASE >= (3, 3, 0)
