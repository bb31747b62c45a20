"""Implement the steps of all jobs, one package per concept (docs/architecture.md)."""

__version__ = "0.1.0"
