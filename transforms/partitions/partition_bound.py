"""Weights between classes, and sizes of groups → what no grouping can exceed."""

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_NUM_STEPS = 20
_PATIENCE = 2
_STEP = 0.4
_DIGITS = 4
_MARGIN = 1e-8  # above the rounding of weights and the error of eigenvalues


def bound_captured(
    weights: FloatArray, sizes: npt.NDArray[np.int64], *, captured: float
) -> float:
    """Bound the weight inside groups of these sizes from above.

    For any u with sum 0 it is at most Σ sizes_i λ_i(W + diag u), sizes and eigenvalues
    in falling order; subgradient steps look for a u that makes this small.

    Args:
      weights: symmetric, with zero diagonal and sum 1.
      sizes: of all groups.
      captured: what some grouping reaches; the bound's steps aim at it.
    Returns: The bound, rounded up to four digits, and at most 1. The last digit may
      differ between machines.
    Source: Donath and Hoffman 1973; step lengths after Polyak 1969.
    """
    if sizes.max() == 1:
        return 0.0
    rising = np.sort(sizes).astype(np.float64)
    degrees = weights.sum(axis=1)
    u = best_u = (degrees.mean() - degrees) / 2
    best, length, waited = math.inf, _STEP, 0
    for _ in range(_NUM_STEPS):
        value, slope = _evaluate(weights, u, rising)
        if value < best:
            best, best_u, best_slope, waited = value, u, slope, 0
        else:
            waited += 1
        if waited == _PATIENCE:
            length, waited = length / 2, 0
            u, value, slope = best_u, best, best_slope
        if not (square := slope @ slope):
            break
        u = u - length * (value - captured) / square * slope
        u -= u.mean()
    scale = 10**_DIGITS
    return min(1.0, math.ceil((best + _MARGIN) * scale) / scale)


def _evaluate(
    weights: FloatArray, u: FloatArray, rising: FloatArray
) -> tuple[float, FloatArray]:
    """Return Σ sizes_i λ_i(W + diag u), and its slope in u along Σu = 0."""
    from scipy import linalg  # noqa: PLC0415  # a third of the start of --help

    count, num_groups = len(weights), len(rising)
    if num_groups > count // 8:
        values, vectors = linalg.eigh(weights + np.diag(u), driver="evd")
        values, vectors = values[-num_groups:], vectors[:, -num_groups:]
    else:  # the largest few are found sooner
        largest = (count - num_groups, count - 1)
        values, vectors = linalg.eigh(weights + np.diag(u), subset_by_index=largest)
    slope = (vectors**2) @ rising
    return float(values @ rising), slope - slope.mean()
