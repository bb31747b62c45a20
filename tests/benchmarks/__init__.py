"""Benchmarks: `python -m tests.benchmarks`. They are not part of the tests.

Each module with a function `measure` is a benchmark. Programs that are compared run
alternately in one run, so that other load on the machine affects both sides alike.
"""
