"""Detect predictions that are no better than guessing, and flattened probabilities.

Classes in a wrong order make a model guess; a softmax of probabilities keeps its
ranking, but makes all probabilities nearly equal. Neither raises an error anywhere.
"""

import math

import numpy as np

from transforms.arrays import FloatArray, IntArray, IntegerArray

_CAUSE = (
    "its classes are probably in another order than .npz files (wnid order) or the "
    "model's card (`classes`) declare"
)
_NUM_DEVIATIONS = 2
_MAX_CLASSES = 4_000
_MIN_CLASS_IMAGES = 10  # of fewer, renaming classes fits noise
_MIN_RISE = 0.2  # of the accuracy by renaming classes; 0.03 at most for real models


def is_at_chance(num_correct: int, num_images: int, chance: float) -> bool:
    """Tell whether a model is at most two standard deviations better than guessing.

    Args:
      num_correct: images whose likeliest class is correct.
      num_images: all images.
      chance: expected share of correct guesses; no model with 1 is at chance.
    """
    deviation = math.sqrt(num_images * chance * (1 - chance))
    return chance < 1 and num_correct <= num_images * chance + (
        _NUM_DEVIATIONS * deviation
    )


def are_flattened(
    num_correct: int, num_images: int, *, mean_p_correct: float, chance: float
) -> bool:
    """Tell whether probabilities are too equal for a model's accuracy.

    A softmax of n numbers from 0 to 1 is at most e/n, so that probabilities which pass
    through a second softmax stay below this bound, at an unchanged accuracy.

    Args:
      num_correct: images whose likeliest class is correct.
      num_images: all images.
      mean_p_correct: mean probability of the correct class.
      chance: expected share of correct guesses.
    """
    bound = math.e * chance
    return mean_p_correct <= bound and num_correct > 2 * bound * num_images


def count_better_order(counts: FloatArray | IntArray) -> float | None:
    """Count correct predictions if the classes were renamed in the best way.

    A model whose classes are shifted by one is still better than chance, since similar
    classes are neighbours. A one-to-one renaming of its classes shows it.

    Args:
      counts: shape (classes, classes), images or probabilities, true by predicted.

    Returns:
      The number of correct predictions, or None if it is hardly higher than now, or if
      a class has too few images on average to tell.
    """
    total, num_rows = float(counts.sum()), int(counts.any(axis=1).sum())
    if len(counts) > _MAX_CLASSES or total < _MIN_CLASS_IMAGES * num_rows:
        return None
    from scipy import optimize  # noqa: PLC0415  # slow import

    rows, columns = optimize.linear_sum_assignment(counts, maximize=True)
    best = float(counts[rows, columns].sum())
    return best if best - np.trace(counts) > _MIN_RISE * total else None


def find_problem(
    counts: FloatArray | IntArray, num_images: int, chance: float
) -> str | None:
    """Describe a model that guesses, or whose classes have another order; else None.

    Args:
      counts: as of `count_better_order`.
      num_images: all images, with those in no cell.
      chance: expected share of correct guesses.
    """
    num_correct = int(np.trace(counts))
    if is_at_chance(num_correct, num_images, chance):
        return describe_chance(num_correct, num_images, chance)
    return describe_order(counts)


def describe_order(counts: FloatArray | IntArray) -> str | None:
    """Describe a model that is far better with its classes in another order; or None.

    Args:
      counts: as of `count_better_order`.
    """
    best, total = count_better_order(counts), counts.sum()
    if best is None:
        return None
    return (
        f"is correct for {np.trace(counts) / total:.2%} of {total:.0f} images, but for "
        f"{best / total:.2%} with its classes in another order; {_CAUSE}"
    )


def describe_chance(num_correct: int, num_images: int, chance: float) -> str:
    """Describe the accuracy of a model that is at chance, with the probable cause."""
    return (
        f"is no better than chance: its likeliest class is correct for {num_correct} "
        f"of {num_images} images ({num_correct / max(num_images, 1):.2%}, chance "
        f"{chance:.2%}); {_CAUSE}"
    )


def count_pairs(
    truth: IntegerArray, predicted: IntegerArray, num_classes: int
) -> IntArray:
    """Count the images of each pair of true and predicted class.

    Args:
      truth: shape (images,), classes; −1 for others, which are not counted.
      predicted: shape (images,), likeliest classes.
      num_classes: number of classes.

    Returns:
      Shape (classes, classes); larger models are reduced to correct and wrong.
    """
    known = (truth >= 0) & (predicted < num_classes)
    truth, predicted = truth[known], predicted[known]
    if num_classes > _MAX_CLASSES:
        is_correct = truth == predicted
        return np.array([[is_correct.sum(), (~is_correct).sum()], [0, 0]])
    pairs = truth.astype(np.int64) * num_classes + predicted.astype(np.int64)
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def describe_flattened(mean_p_correct: float) -> str:
    """Describe the probabilities of a model that are flattened."""
    return (
        f"ranks classes well, but gives the correct class a mean probability of only "
        f"{mean_p_correct:.4f}; was a softmax applied to probabilities? Set in its "
        'card: "output": "probabilities", and predict again'
    )
