"""Detect accuracy at chance, classes in the wrong order, and a double softmax.

If a model's classes are listed in the wrong order, its accuracy falls to about chance.
A second softmax keeps the ranking of the classes but makes their probabilities nearly
equal. Neither mistake raises an error elsewhere.
"""

import math

import numpy as np

from transforms.arrays import FloatArray, IntArray, IntegerArray

_CAUSE = (
    "its classes are probably not in the declared order: in .npz files the order of "
    "the wnids, otherwise that of `classes` in the model's card"
)
_NUM_DEVIATIONS = 2
_MAX_CLASSES = 4_000
_MIN_CLASS_IMAGES = 10  # with fewer, renaming classes fits noise
_MIN_RISE = 0.2  # of accuracy, by renaming classes; real models rise by at most 0.03


def is_at_chance(num_correct: int, num_images: int, chance: float) -> bool:
    """Return whether accuracy is at most two standard deviations above chance.

    Args:
      num_correct: number of images whose likeliest class is correct.
      num_images: number of all images.
      chance: expected accuracy of guessing, 0 to 1; if it is 1, the result is False.
    """
    deviation = math.sqrt(num_images * chance * (1 - chance))
    return chance < 1 and num_correct <= num_images * chance + (
        _NUM_DEVIATIONS * deviation
    )


def are_flattened(
    num_correct: int, num_images: int, *, mean_p_correct: float, chance: float
) -> bool:
    """Return whether a second softmax seems to have flattened the probabilities.

    A softmax of n numbers between 0 and 1 is at most e/n. Probabilities that pass
    through a second softmax stay below this bound, while the accuracy is unchanged.

    Args:
      num_correct: number of images whose likeliest class is correct.
      num_images: number of all images.
      mean_p_correct: mean probability of the correct class.
      chance: expected accuracy of guessing, 0 to 1; 1/n for n classes.
    """
    bound = math.e * chance
    return mean_p_correct <= bound and num_correct > 2 * bound * num_images


def count_better_order(counts: FloatArray | IntArray) -> float | None:
    """Count the correct predictions under the best one-to-one renaming of the classes.

    A model whose classes are shifted by one is still better than chance, because
    neighbouring classes are similar. Its accuracy rises sharply when the classes are
    renamed.

    Args:
      counts: shape (classes, classes), rows true, columns predicted: numbers of images
        or sums of probabilities.

    Returns:
      The number of correct predictions after renaming. None if renaming hardly raises
      the accuracy, if there are too many classes, or if classes have too few images on
      average.
    """
    total, num_rows = float(counts.sum()), int(counts.any(axis=1).sum())
    if len(counts) > _MAX_CLASSES or total < _MIN_CLASS_IMAGES * num_rows:
        return None
    from scipy import optimize

    rows, columns = optimize.linear_sum_assignment(counts, maximize=True)
    best = float(counts[rows, columns].sum())
    return best if best - np.trace(counts) > _MIN_RISE * total else None


def find_problem(
    counts: FloatArray | IntArray, num_images: int, chance: float
) -> str | None:
    """Return a message if accuracy is at chance or classes are in the wrong order.

    Args:
      counts: confusion matrix, shape (classes, classes), as in `count_better_order`.
      num_images: number of all images, including those not counted in `counts`.
      chance: expected accuracy of guessing, 0 to 1.

    Returns:
      The message; None if there is no problem.
    """
    num_correct = int(np.trace(counts))
    if is_at_chance(num_correct, num_images, chance):
        return describe_chance(num_correct, num_images, chance)
    return describe_order(counts)


def describe_order(counts: FloatArray | IntArray) -> str | None:
    """Return a message if a model is far better with its classes in another order.

    Args:
      counts: confusion matrix, shape (classes, classes), as in `count_better_order`.

    Returns:
      The message; None if there is no problem.
    """
    best, total = count_better_order(counts), counts.sum()
    if best is None:
        return None
    return (
        f"is correct for {np.trace(counts) / total:.2%} of {total:.0f} images, but for "
        f"{best / total:.2%} with its classes in another order; {_CAUSE}"
    )


def describe_chance(num_correct: int, num_images: int, chance: float) -> str:
    """Return a message for a model at chance, with its accuracy and probable cause."""
    return (
        f"is no better than chance: its likeliest class is correct for {num_correct} "
        f"of {num_images} images ({num_correct / max(num_images, 1):.2%}, chance "
        f"{chance:.2%}); {_CAUSE}"
    )


def count_pairs(
    truth: IntegerArray, predicted: IntegerArray, num_classes: int
) -> IntArray:
    """Count the images with each pair of true and predicted class.

    Args:
      truth: shape (images,), index of the true class; images with −1 are not counted.
      predicted: shape (images,), index of the likeliest class; images with an index of
        `num_classes` or more are not counted.
      num_classes: number of classes.

    Returns:
      Confusion matrix, shape (classes, classes), rows true, columns predicted. Above
      4,000 classes: [[number correct, number wrong], [0, 0]].
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
    """Return a message for a model whose probabilities seem to be flattened."""
    return (
        f"ranks classes well, but gives the correct class a mean probability of only "
        f"{mean_p_correct:.4f}; was a softmax applied to probabilities? Set in its "
        'card: "output": "probabilities", and predict again'
    )
