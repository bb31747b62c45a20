import math

import numpy as np
import pytest

from transforms.evaluation import significance
from transforms.predictions.reading import read_predictions


def pair(only_a, only_b, both=50, neither=50):
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return np.array([a, b])


@pytest.mark.parametrize(
    ("only_a", "only_b", "sign"),
    [
        (15, 5, 1),  # z = 10/√20 = 2.24
        (5, 15, -1),
        (14, 6, 0),  # z = 1.79
        (4, 0, 1),  # z = 2
        (3, 0, 0),  # z = 1.73
        (0, 0, 0),
    ],
)
@pytest.mark.parametrize(("both", "neither"), [(50, 50), (0, 0), (9, 0)])
def test_mcnemar_sees_only_images_on_which_one_is_right(
    only_a, only_b, sign, both, neither
):
    a, b = pair(only_a, only_b, both, neither)
    assert significance.decided(a, b) == sign
    assert significance.decided(b, a) == -sign


def test_all_pairs_are_decided_as_one_by_one():
    rng = np.random.default_rng(0)
    skill = np.linspace(0.4, 0.7, 8)[:, np.newaxis]
    correct = rng.random((8, 300)) < skill
    decisions = significance.decide_pairs_deciding(correct)
    assert set(np.unique(decisions)) == {-1, 0, 1}
    for a in range(8):
        for b in range(8):
            only_a = int((correct[a] & ~correct[b]).sum())
            only_b = int((correct[b] & ~correct[a]).sum())
            spread = math.sqrt(only_a + only_b)
            z = (only_a - only_b) / spread if spread else 0
            assert decisions[a, b] == (abs(z) > 1.96) * np.sign(z)


@pytest.mark.parametrize(
    ("accuracies", "num_images", "sign"),
    [
        ((0.76 + 0.027, 0.76 - 0.027), 500, 1),  # 5.4 points; 5.3 are needed
        ((0.76 + 0.026, 0.76 - 0.026), 500, 0),
        ((0.76 - 0.006, 0.76 + 0.006), 10_000, -1),
        ((0.5, 0.5), 100, 0),
        ((0.0, 1.0), 1, -1),  # no spread at all
        ((1.0, 1.0), 1, 0),
    ],
)
def test_unpaired_decisions_know_only_accuracies(accuracies, num_images, sign):
    decisions = significance.decide_pairs_unpaired(np.array(accuracies), num_images)
    assert decisions.tolist() == [[0, sign], [-sign, 0]]


@pytest.mark.parametrize(
    ("accuracies", "num_images"),
    [((76.1, 75.0), 100), ((-0.1, 0.5), 100), ((math.nan, 0.5), 9), ((0.5, 0.6), 0)],
    ids=["percent", "negative", "nan", "no_images"],
)
def test_unpaired_decisions_refuse_what_is_no_share(accuracies, num_images):
    with pytest.raises(ValueError, match="must be 0 to 1"):
        significance.decide_pairs_unpaired(np.array(accuracies), num_images)


def decisions(*rows):
    return np.array(rows, np.int8)


FULL = decisions((0, 1, 1), (-1, 0, 0), (-1, 0, 0))  # a > b, a > c


@pytest.mark.parametrize(
    ("subset", "share"),
    [
        ((3, 2, 1), 1),
        ((3, 1, 2), 1),
        ((2, 3, 1), 0.5),
        ((2, 2, 1), 0.5),
        ((1, 2, 3), 0),
    ],
    ids=["same", "undecided_pair_swapped", "one_swapped", "tie_is_none", "all_swapped"],
)
def test_sign_agreement_counts_pairs_decided_on_the_full_set(subset, share):
    assert significance.sign_agreement(FULL, np.array(subset, float)) == share


def test_resolving_power_wants_the_same_decisions():
    one_lost = decisions((0, 1, 0), (-1, 0, 1), (0, -1, 0))
    assert significance.resolving_power(FULL, FULL) == 1
    assert significance.resolving_power(FULL, one_lost) == 0.5
    assert significance.resolving_power(FULL, -FULL) == 0


def test_where_no_pair_is_decided_there_is_no_share():
    nothing = np.zeros((3, 3), np.int8)
    assert significance.resolving_power(nothing, FULL) is None
    assert significance.sign_agreement(nothing, np.arange(3.0)) is None
    assert significance.resolving_power(nothing[:0, :0], nothing[:0, :0]) is None


def test_decisions_of_other_models_are_refused():
    with pytest.raises(ValueError, match="not the same"):
        significance.resolving_power(FULL, FULL[:2, :2])


def test_disagreement_is_the_share_of_images_with_one_right():
    assert significance.disagreement(pair(15, 5, 60, 20)) == 0.2
    three = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]], bool)
    assert significance.disagreement(three) == pytest.approx((2 + 1 + 3) / 3 / 4)
    assert significance.disagreement(three[:1]) is None
    assert significance.disagreement(three[:, :0]) is None


@pytest.mark.parametrize(
    ("num_images", "paired", "unpaired"),
    [
        (500, 3.0, 5.3),
        (1_000, 2.1, 3.7),
        (2_000, 1.5, 2.6),
        (5_000, 0.9, 1.7),
        (10_000, 0.67, 1.18),
        (20_000, 0.5, 0.8),
    ],
)
def test_smallest_gaps_in_points(num_images, paired, unpaired):
    """At 76 % and 11.7 % disagreement."""
    gap = significance.smallest_gap(num_images, accuracy=0.76)
    assert 100 * gap == pytest.approx(unpaired, abs=0.05)
    gap = significance.smallest_paired_gap(num_images, disagreement=0.117)
    assert 100 * gap == pytest.approx(paired, abs=0.05)


@pytest.mark.real
def test_real_models_are_told_apart_but_for_the_closest(real_data):
    paths = sorted(map(str, (real_data / "predictions").glob("*.npz")))
    correct = np.stack([p.top5[:, 0] == p.truth for p in read_predictions(paths)])
    paired = significance.decide_pairs_deciding(correct)
    unpaired = significance.decide_pairs_unpaired(correct.mean(axis=1), 50_000)
    assert (paired == -paired.T).all()
    assert np.count_nonzero(unpaired) <= np.count_nonzero(paired)
    assert ((unpaired == 0) | (unpaired == paired)).all()
