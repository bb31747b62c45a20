"""The sizes of groups, in classes → the figures that are recorded of them."""

import statistics
from collections.abc import Sequence

from transforms.datasets import JSON


def describe_sizes(sizes: Sequence[int]) -> dict[str, JSON]:
    """Return the smallest, median and largest size, and the effective number.

    The effective number of groups is (Σ size)² / Σ size²: N when all are equal.
    """
    return {
        "sizes": {
            "min": min(sizes),
            "median": statistics.median(sizes),
            "max": max(sizes),
        },
        "effective_num_groups": round(sum(sizes) ** 2 / sum(s * s for s in sizes), 3),
    }
