"""What the jobs are made of: one package per concept; see docs/architecture.md."""

__version__ = "0.1.0"
