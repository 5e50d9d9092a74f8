"""Figures of this package, each beside its alternatives, measured in one run: ``python -m benchmarks``."""
