"""Compute difficulty histograms for the build plan and statistics.json."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.difficulty import table as difficulty_table
from transforms.difficulty.table import NUM_BINS
from transforms.records import JSON


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Histogram of p_correct, with one bin per percent.

    Attributes:
      counts: numbers of images in the bins 0, 1, …, 100 percent; length 101.
      num_missing: number of images without a score, which are in no bin.
      mean: mean p_correct of the images with a score; 0 if there are none.
    """

    counts: tuple[int, ...]
    num_missing: int
    mean: float

    def to_json(self) -> Mapping[str, JSON]:
        """Convert the histogram to its JSON form in statistics.json."""
        return {
            "images_by_percent": list(self.counts),
            "without_score": self.num_missing,
            "mean_p_correct": round(self.mean, 6),
        }


def measure(table: pa.Table, keys: pa.StringArray) -> Histogram:
    """Compute the difficulty histogram of some images.

    Args:
      table: difficulty table with the columns key and p_correct; keys are unique.
      keys: shape (images,), keys of the images to count.
    """
    p_correct = difficulty_table.look_up(table, keys)
    scored = p_correct[~np.isnan(p_correct)]
    percent = difficulty_table.find_percent(scored)
    return Histogram(
        counts=tuple(np.bincount(percent, minlength=NUM_BINS).tolist()),
        num_missing=len(p_correct) - len(scored),
        mean=float(scored.mean(dtype=np.float64)) if len(scored) else 0.0,
    )
