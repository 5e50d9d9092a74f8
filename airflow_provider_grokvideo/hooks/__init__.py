"""Airflow hook, and how an Airflow connection becomes the settings of a client."""
