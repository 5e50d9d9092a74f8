"""Airflow hook, and how an Airflow connection becomes the settings of a client."""

# First of all: an older Airflow is refused by name, before another import fails.
from airflow_provider_grokvideo import version_compat as version_compat
