from collections import Counter

import numpy as np
import pytest

from transforms import seeds
from transforms.confusion import confusion_tally
from transforms.scoring.predictions import Predictions

TRUE = np.array([0, 0, 0, 1, 1, 2])
TOP = np.array([np.roll(np.arange(5), shift) for shift in (0, 1, 0, 4, 0, 2)])
FOUND = Predictions("alexnet", TOP, TRUE, tuple("abcdef"))


def test_hard_counts():
    confusion = confusion_tally.tally([FOUND], is_soft=False)
    assert confusion.matrix[0, :5].tolist() == [2, 0, 0, 0, 1]
    assert confusion.matrix[1, :5].tolist() == [1, 1, 0, 0, 0]
    assert confusion.matrix[2, :5].tolist() == [0, 0, 0, 1, 0]
    assert confusion.num_images[:5].tolist() == [3, 2, 1, 0, 0]
    assert confusion.models == ("alexnet",)


def test_soft_counts_halve_from_rank_to_rank():
    confusion = confusion_tally.tally([FOUND], is_soft=True)
    np.testing.assert_allclose(confusion.matrix.sum(axis=1), confusion.num_images)
    np.testing.assert_allclose(
        confusion.matrix[2][TOP[5]] * 31, [16, 8, 4, 2, 1], rtol=1e-15
    )


def test_models_are_summed():
    once = confusion_tally.tally([FOUND], is_soft=False)
    twice = confusion_tally.tally([FOUND, FOUND], is_soft=False)
    assert (twice.matrix == 2 * once.matrix).all()
    assert (twice.num_images == 2 * once.num_images).all()


@pytest.mark.parametrize("is_soft", [False, True], ids=["hard", "soft"])
def test_halves_add_up_to_the_whole(is_soft):
    half = confusion_tally.halve(FOUND, seed=0)
    whole = confusion_tally.tally([FOUND], is_soft=is_soft)
    halves = [
        confusion_tally.tally([FOUND], is_soft=is_soft, chosen=[chosen])
        for chosen in (half, ~half)
    ]
    np.testing.assert_allclose(halves[0].matrix + halves[1].matrix, whole.matrix)
    assert (halves[0].num_images + halves[1].num_images == whole.num_images).all()
    assert halves[0].num_images[:5].tolist() == [2, 1, 1, 0, 0]


def test_halves_are_those_of_two_folds():
    half = confusion_tally.halve(FOUND, seed=3)
    for label, count in Counter(TRUE.tolist()).items():
        of_class = [key for key, t in zip(FOUND.keys, TRUE, strict=True) if t == label]
        of_class.sort(key=lambda key: seeds.order(3, "fold", key))
        in_a = {k for k, a in zip(FOUND.keys, half, strict=True) if a} & set(of_class)
        assert in_a == set(of_class[: -(-count // 2)])
