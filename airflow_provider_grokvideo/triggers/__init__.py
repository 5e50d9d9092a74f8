"""Triggers that poll in the triggerer."""
