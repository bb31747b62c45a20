"""Detect predictions that are no better than guessing, and flattened probabilities.

Classes in a wrong order make a model guess; a softmax of probabilities keeps its
ranking, but makes all probabilities nearly equal. Neither raises an error anywhere.
"""

import math

_NUM_DEVIATIONS = 2


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


def describe_chance(num_correct: int, num_images: int, chance: float) -> str:
    """Describe the accuracy of a model that is at chance, with the probable cause."""
    return (
        f"is no better than chance: its likeliest class is correct for {num_correct} "
        f"of {num_images} images ({num_correct / max(num_images, 1):.2%}, chance "
        f"{chance:.2%}); its classes are probably in another order than .npz files "
        "(wnid order) or the model's card (`classes`) declare"
    )


def describe_flattened(mean_p_correct: float) -> str:
    """Describe the probabilities of a model that are flattened."""
    return (
        f"ranks classes well, but gives the correct class a mean probability of only "
        f"{mean_p_correct:.4f}; was a softmax applied to probabilities? Set in its "
        'card: "output": "probabilities", and predict again'
    )
