"""Operators that generate, edit and extend videos."""
