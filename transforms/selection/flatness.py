"""The difficulty of images → the histograms that show what sampling changed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.datasets import JSON
from transforms.sampling import difficulty
from transforms.tables import difficulty_table
from transforms.tables.difficulty_table import NUM_BINS


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Images by percent of p_correct."""

    counts: tuple[int, ...]  # 0 … 100 percent
    num_missing: int  # images without a score
    mean: float  # of p_correct, of those with one

    def to_json(self) -> Mapping[str, JSON]:
        """Return what is recorded."""
        return {
            "images_by_percent": list(self.counts),
            "without_score": self.num_missing,
            "mean_p_correct": round(self.mean, 6),
        }


def measure(table: pa.Table, keys: pa.StringArray) -> Histogram:
    """Count images by their difficulty.

    Args:
      table: key and p_correct, each key once.
      keys: the images to count.
    """
    p_correct = difficulty.look_up(table, keys)
    scored = p_correct[~np.isnan(p_correct)]
    percent = difficulty_table.find_percent(scored)
    return Histogram(
        counts=tuple(np.bincount(percent, minlength=NUM_BINS).tolist()),
        num_missing=len(p_correct) - len(scored),
        mean=float(scored.mean(dtype=np.float64)) if len(scored) else 0.0,
    )
