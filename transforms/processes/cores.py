"""The machine → how much of it a job may use."""

import os


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
