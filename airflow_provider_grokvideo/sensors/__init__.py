"""Sensor that waits for a generation."""
