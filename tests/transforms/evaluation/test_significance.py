import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transforms.evaluation import significance
from transforms.evaluation.significance import (
    compare_all_pairs,
    describe_power,
    images_needed,
    measure_power,
    measure_seed_noise,
)
from transforms.predictions.reading import read_predictions

HALF_POWER = 1 / 1.4294  # a gap of 1.96 standard errors is detected half of the time


def compare_paired(correct):
    """Compare models image by image."""
    means = correct.mean(axis=1)
    return compare_all_pairs(means, correct.shape[1], correctness=correct).decisions


def find_sign_by_mcnemar(a, b):
    """Count the images on which one model of two is right."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    spread = math.sqrt(only_a + only_b)
    z = (only_a - only_b) / spread if spread else 0
    return (abs(z) > 1.96) * np.sign(z)


def find_sign_by_z(p, q, num_images):
    """Test two proportions."""
    spread = math.sqrt(p * (1 - p) / num_images + q * (1 - q) / num_images)
    return (abs(p - q) > 1.96 * spread) * np.sign(p - q)


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
def test_mcnemar_uses_only_discordant_images(only_a, only_b, sign, both, neither):
    correct = pair(only_a, only_b, both, neither)
    if not correct.size:
        with pytest.raises(ValueError, match="at least one image"):
            compare_all_pairs(np.array([0.5, 0.5]), 0, correctness=correct)
        return
    assert compare_paired(correct).tolist() == [[0, sign], [-sign, 0]]
    assert compare_paired(correct[::-1]).tolist() == [[0, -sign], [sign, 0]]


def test_comparing_all_pairs_agrees_with_single_comparisons():
    rng = np.random.default_rng(0)
    skill = np.linspace(0.4, 0.7, 8)[:, np.newaxis]
    correct = rng.random((8, 300)) < skill
    decisions = compare_paired(correct)
    assert set(np.unique(decisions)) == {-1, 0, 1}
    for a in range(8):
        for b in range(8):
            assert decisions[a, b] == find_sign_by_mcnemar(correct[a], correct[b])


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
def test_unpaired_tests_use_only_accuracies(accuracies, num_images, sign):
    decisions = compare_all_pairs(np.array(accuracies), num_images).decisions
    assert decisions.tolist() == [[0, sign], [-sign, 0]]


@pytest.mark.parametrize(
    ("accuracies", "num_images"),
    [((76.1, 75.0), 100), ((-0.1, 0.5), 100), ((math.nan, 0.5), 9), ((0.5, 0.6), 0)],
    ids=["percent", "negative", "nan", "no_images"],
)
def test_unpaired_tests_reject_values_outside_0_to_1(accuracies, num_images):
    with pytest.raises(ValueError, match="must be 0 to 1"):
        compare_all_pairs(np.array(accuracies), num_images)


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


def test_resolving_power_requires_the_same_decisions():
    one_lost = decisions((0, 1, 0), (-1, 0, 1), (0, -1, 0))
    assert significance.resolving_power(FULL, FULL) == 1
    assert significance.resolving_power(FULL, one_lost) == 0.5
    assert significance.resolving_power(FULL, -FULL) == 0


def test_without_decided_pairs_shares_are_undefined():
    nothing = np.zeros((3, 3), np.int8)
    assert significance.resolving_power(nothing, FULL) is None
    assert significance.sign_agreement(nothing, np.arange(3.0)) is None
    assert significance.resolving_power(nothing[:0, :0], nothing[:0, :0]) is None


def test_decisions_of_other_models_are_refused():
    with pytest.raises(ValueError, match="not the same"):
        significance.resolving_power(FULL, FULL[:2, :2])


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
    """At 76 % and 11.7 % disagreement; a power of 80 % needs 1.43 times the gap."""
    gap = HALF_POWER * significance.smallest_gap(num_images, accuracy=0.76)
    assert 100 * gap == pytest.approx(unpaired, abs=0.05)
    gap = HALF_POWER * significance.smallest_paired_gap(num_images, disagreement=0.117)
    assert 100 * gap == pytest.approx(paired, abs=0.05)


@pytest.mark.real
def test_real_models_differ_significantly_except_the_closest(real_data):
    paths = sorted(map(str, (real_data / "predictions").glob("*.npz")))
    correct = np.stack([p.top5[:, 0] == p.truth for p in read_predictions(paths)])
    paired = compare_paired(correct)
    unpaired = compare_all_pairs(correct.mean(axis=1), 50_000).decisions
    assert (paired == -paired.T).all()
    assert np.count_nonzero(unpaired) <= np.count_nonzero(paired)
    assert ((unpaired == 0) | (unpaired == paired)).all()


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_with_one_seed_pairs_are_decided_as_by_mcnemar_and_z(seed, models, images):
    rng = np.random.default_rng(seed)
    correct = rng.random((models, images)) < rng.random((models, 1))
    means = correct.mean(axis=1)
    paired = compare_all_pairs(means, images, correctness=correct)
    unpaired = compare_all_pairs(means, images)
    assert (paired.is_paired, unpaired.is_paired) == (True, False)
    for a in range(models):
        for b in range(models):
            expected = find_sign_by_mcnemar(correct[a], correct[b])
            assert paired.decisions[a, b] == expected
            assert unpaired.decisions[a, b] == find_sign_by_z(
                means[a], means[b], images
            )


def test_seed_noise_is_pooled_over_models():
    noise = measure_seed_noise([[0.5, 0.7], [0.1, 0.1, 0.1], [0.9]])
    assert noise.variance == pytest.approx(2 * 0.1**2 / 3)
    assert noise.degrees == 3
    assert noise.num_seeds.tolist() == [2, 3, 1]


def test_seed_noise_is_unknown_with_one_seed():
    assert measure_seed_noise([[0.5], [0.7]]) is None


def test_seed_noise_increases_the_required_difference():
    accuracies, images = np.array([0.70, 0.72, 0.80]), 10_000
    noise = measure_seed_noise([[0.68, 0.72], [0.71, 0.73], [0.80, 0.80]])
    plain = compare_all_pairs(accuracies, images)
    noisy = compare_all_pairs(accuracies, images, noise=noise)
    assert plain.num_significant == plain.num_pairs == 3
    assert noisy.decisions[0].tolist() == [0, 0, -1]
    both = 0.7 * 0.3 / images + 0.72 * 0.28 / images + noise.variance
    assert noisy.spread[0, 1] == pytest.approx(both**0.5)
    single = 0.7 * 0.3 / images + noise.variance / 2
    assert noisy.errors[0] == pytest.approx(single**0.5)


def test_pairs_of_equal_models_are_decided_one_time_in_twenty():
    """With two seeds, most of the noise between them, and only six models."""
    rng = np.random.default_rng(0)
    decided = pairs = covered = 0
    for _ in range(600):
        truth = 0.75 + rng.normal(0, 0.01, (6, 2))
        finals = rng.binomial(50_000, truth) / 50_000
        noise = measure_seed_noise(finals.tolist())
        tests = compare_all_pairs(finals.mean(axis=1), 50_000, noise=noise)
        decided += tests.num_significant
        pairs += tests.num_pairs
        quantile = stats.t.ppf(0.975, noise.degrees)
        covered += (np.abs(tests.accuracies - 0.75) < quantile * tests.errors).sum()
    assert 0.03 < decided / pairs < 0.07
    assert 0.93 < covered / (600 * 6) < 0.97


def test_holm_multiplies_by_the_tests_that_remain():
    adjusted = significance.holm(np.array([0.03, 0.01, 0.04, 0.5]))
    assert adjusted == pytest.approx([0.09, 0.04, 0.09, 0.5])


def test_corrected_pairs_of_equal_models_are_rarely_decided():
    rng = np.random.default_rng(0)
    wrong = plain = 0
    for _ in range(300):
        correct = rng.random((10, 1000)) < 0.7
        tests = compare_all_pairs(correct.mean(axis=1), 1000, correctness=correct)
        plain += tests.num_significant > 0
        wrong += tests.correct().num_significant > 0
    assert plain > 0.4 * 300
    assert wrong <= 0.05 * 300


def test_p_values_are_those_of_the_decisions():
    rng = np.random.default_rng(0)
    correct = rng.random((8, 300)) < np.linspace(0.4, 0.7, 8)[:, np.newaxis]
    tests = compare_all_pairs(correct.mean(axis=1), 300, correctness=correct)
    assert ((tests.p_values < 0.05) == (tests.decisions != 0)).all()
    assert tests.p_values[0, 7] == pytest.approx(
        stats.chi2.sf(
            (correct[0] * 1 - correct[7]).sum() ** 2 / (correct[0] ^ correct[7]).sum(),
            1,
        )
    )


def test_decisions_agree_in_sign_with_the_accuracies_of_curves():
    accuracies = np.array([0.4999, 0.5003])
    rng = np.random.default_rng(0)
    shares = rng.random((2, 10_000)) < np.array([[0.52], [0.48]])
    tests = compare_all_pairs(accuracies, 10_000, correctness=shares)
    assert tests.decisions[0, 1] <= 0 <= tests.decisions[1, 0]


# validation images, SE, smallest gap paired and unpaired in points, measured once on 64
# models of ImageNet at an accuracy of 0.76
TABLE = [
    (500, 1.91, 3.0, 5.3),
    (1000, 1.35, 2.1, 3.7),
    (2000, 0.95, 1.5, 2.6),
    (5000, 0.60, 0.9, 1.7),
    (10_000, 0.43, 0.67, 1.18),
    (20_000, 0.30, 0.5, 0.8),
]


@pytest.mark.parametrize(("images", "error", "paired", "unpaired"), TABLE)
def test_gaps_agree_with_measurements(images, error, paired, unpaired):
    power = measure_power(images, 100)
    assert 100 * power.standard_error == pytest.approx(error, abs=0.006)
    assert 100 * HALF_POWER * power.paired_gap == pytest.approx(paired, abs=0.05)
    assert 100 * HALF_POWER * power.unpaired_gap == pytest.approx(unpaired, abs=0.05)


def test_smallest_gap_is_detected_in_four_of_five_experiments():
    rng = np.random.default_rng(0)
    gap = significance.smallest_paired_gap(1000, disagreement=0.1)
    found = 0
    for _ in range(500):
        kind = rng.choice(3, 1000, p=[(0.1 + gap) / 2, (0.1 - gap) / 2, 0.9])
        correct = np.stack([kind != 1, kind != 0])
        found += int(compare_paired(correct)[0, 1] == 1)
    assert 0.76 < found / 500 < 0.84


def test_a_group_has_its_share_of_the_images():
    power = measure_power(10_000, 25)
    assert power.images_per_group == 400
    disagreement = significance.TYPICAL_DISAGREEMENT
    alone = significance.smallest_paired_gap(400, disagreement=disagreement)
    assert power.group_gap == pytest.approx(alone)


@pytest.mark.parametrize(("images", "groups"), [(0, 1), (1, 0)])
def test_invalid_numbers_are_rejected(images, groups):
    with pytest.raises(ValueError, match="at least one"):
        measure_power(images, groups)


def test_needed_number_of_images_decides_a_pair():
    correct = np.zeros((2, 1000), bool)
    correct[0, :60] = correct[1, 50:90] = True  # 50 for the first only, 30 the second
    full = np.array([[0, 1], [-1, 0]], np.int8)
    needed = images_needed(correct, full)
    assert needed == math.floor((1.96 + 0.8416) ** 2 * 0.08 / 0.02**2) + 1
    gap = significance.smallest_paired_gap(needed, disagreement=0.08)
    assert gap < 0.02 < significance.smallest_paired_gap(needed - 1, disagreement=0.08)


def test_no_number_of_images_decides_a_reversed_pair():
    correct = np.array([[True, False, False], [True, True, False]])
    full = np.array([[0, 1], [-1, 0]], np.int8)
    assert images_needed(correct, full) is None
    assert images_needed(correct, -full) == math.floor((1.96 + 0.8416) ** 2 * 3) + 1
    assert images_needed(correct, np.zeros((2, 2), np.int8)) is None


def test_power_is_described_in_words():
    assert describe_power(10_000, 100) == [
        ("standard error at an accuracy of 76%", "0.43 points"),
        ("detectable difference (80 % power), same images", "0.96 points"),
        ("detectable difference (80 % power), independent", "1.7 points"),
        ("validation images per group", "100"),
        ("detectable difference (80 % power), one group", "9.6 points"),
    ]
