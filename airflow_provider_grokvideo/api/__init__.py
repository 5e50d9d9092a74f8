"""Client of the Grok video API. Imports nothing of Airflow."""
