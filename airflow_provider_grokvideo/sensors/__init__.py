"""Sensor that waits for a generation."""

# First of all: an older Airflow is refused by name, before another import fails.
from airflow_provider_grokvideo import version_compat as version_compat
