"""Links of a task in the Airflow UI."""
