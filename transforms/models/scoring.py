"""A model's outputs for images → the probability of the right answer, and its five.

Sums are made in float64, in the order of the outputs, so that they are the same
everywhere.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.tables.predictions_table import NUM_TOP, Scores

_SUM_TOLERANCE = 1e-3
_NEGATIVE_TOLERANCE = 1e-6


class Tally(NamedTuple):
    """How right a model is on some images."""

    num_images: int = 0
    num_top1: int = 0  # the likeliest output is right
    num_top5: int = 0  # one of the five likeliest is
    num_right: int = 0  # outputs that are right, over all images
    sum_correct: float = 0.0  # of the probabilities of the right answers

    def plus(self, other: "Tally") -> "Tally":
        """Add two tallies; the order of the sum decides its last digits."""
        return Tally(
            self.num_images + other.num_images,
            self.num_top1 + other.num_top1,
            self.num_top5 + other.num_top5,
            self.num_right + other.num_right,
            self.sum_correct + other.sum_correct,
        )


def find_bad_row(
    outputs: npt.NDArray[np.floating], kind: str
) -> tuple[int, str] | None:
    """Find the first image whose outputs cannot be what the card says they are.

    Args:
      outputs: shape (images, outputs).
      kind: probabilities | logits.
    Returns: Its row and what is wrong with it; None when all are fine.
    """
    values = outputs.astype(np.float64)
    finite = np.all(np.isfinite(values), axis=1)
    checks = [(finite, "has outputs that are no numbers")]
    if kind == "probabilities":
        with np.errstate(invalid="ignore"):
            sums = values.sum(axis=1)
            lowest = values.min(axis=1)
        checks += [
            (~(lowest < -_NEGATIVE_TOLERANCE), "has outputs below 0"),
            (~(np.abs(sums - 1) > _SUM_TOLERANCE), "has outputs that do not sum to 1"),
        ]
    bad = np.flatnonzero(~np.all([is_good for is_good, _ in checks], axis=0))
    if not len(bad):
        return None
    row = int(bad[0])
    return row, next(what for is_good, what in checks if not is_good[row])


def to_probabilities(
    outputs: npt.NDArray[np.floating], kind: str
) -> npt.NDArray[np.float64]:
    """Make probabilities of outputs, shape (images, outputs)."""
    values = outputs.astype(np.float64)
    if kind == "probabilities":
        return np.clip(values, 0, None)
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def score(
    probabilities: npt.NDArray[np.float64],
    right: Sequence[tuple[int, ...]],
    *,
    keep_probabilities: bool,
) -> tuple[Scores, Tally]:
    """Score a model's answers.

    Args:
      probabilities: shape (images, outputs).
      right: the outputs that are right for each image, ascending.
      keep_probabilities: whether to keep them all, as float16.
    """
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :NUM_TOP]
    sums = np.zeros(len(right))
    num_top1 = num_top5 = 0
    for row, outputs in enumerate(right):
        for output in outputs:
            sums[row] += probabilities[row, output]
        best = top[row].tolist()
        num_top1 += best[0] in outputs
        num_top5 += not set(outputs).isdisjoint(best)
    p_correct = np.minimum(sums, 1).astype(np.float32)
    kept = np.minimum(probabilities, 1).astype(np.float16)
    scores = Scores(
        p_correct, top.astype(np.uint16), kept if keep_probabilities else None
    )
    sum_correct = float(p_correct.sum(dtype=np.float64))
    num_right = sum(map(len, right))
    return scores, Tally(len(right), num_top1, num_top5, num_right, sum_correct)


def is_at_chance(tally: Tally, num_outputs: int) -> bool:
    """Tell whether guessing might well be as right: within two deviations."""
    chance = tally.num_right / (num_outputs * max(tally.num_images, 1))
    deviation = (tally.num_images * chance * (1 - chance)) ** 0.5
    return chance < 1 and tally.num_top1 <= tally.num_images * chance + 2 * deviation
