"""Helpers without a topic of their own: masking, metrics, OpenLineage, retries."""
