"""Airflow provider for Grok video generation."""

__version__ = "0.2.0"
