"""Measure the time to group 1000 classes by confusion into groups of equal size."""

import numpy as np

from tests.benchmarks import children
from tests.benchmarks.settings import Row, Settings
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Confusion
from transforms.labels import classes

SECONDS = 10
_NUM_GROUPS = (10, 20, 100, 200)


def measure(settings: Settings) -> list[Row]:
    """Group by a random matrix into few and many groups; report the slowest."""
    path = settings.work / "confusion.npz"
    path.write_bytes(confusion_matrix.to_npz(_draw()))
    seconds = {
        num_groups: [
            children.run_module(
                "pipelines.group",
                *("--grouping", "confusion", "--confusion", path),
                *("--confusion_rule", "balanced", "--num_groups", num_groups),
                *("--output", settings.work / "groups"),
            ).seconds
            for _ in range(settings.repetitions)
        ]
        for num_groups in _NUM_GROUPS
    }
    slowest = max(seconds.values(), key=children.median)
    return [
        Row(
            what="grouping: confusion balanced, 1000 × 1000, slowest of "
            f"N = {', '.join(map(str, _NUM_GROUPS))}",
            measured=f"{children.show(slowest, 1)} s",
            target=f"≤ {SECONDS} s",
            reached=children.median(slowest) <= SECONDS,
            figures={"seconds_by_num_groups": seconds},
        )
    ]


def _draw() -> Confusion:
    """Draw the confusion of a model of 70 % that mostly confuses neighbours."""
    rng = np.random.default_rng(0)
    known = classes.load_classes()
    size = len(known)
    matrix = rng.poisson(0.005, (size, size)).astype(np.float64)
    for distance in range(1, 12):
        near = rng.poisson(2 / distance, size)
        matrix[np.arange(size), (np.arange(size) + distance) % size] += near
    np.fill_diagonal(matrix, rng.integers(20, 45, size))
    return Confusion(
        matrix=matrix,
        wnids=tuple(info.wnid for info in known),
        num_images=matrix.sum(axis=1),
    )
