import csv
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from transforms import seeds
from transforms.evaluation import ranking
from transforms.evaluation.ranking import compare_pairs, compare_ranks
from transforms.evaluation.significance import compare_all_pairs


def array(*values):
    return np.array(values, float)


def brute_tau(first, second):
    """Count pairs one by one."""
    total = untied_1 = untied_2 = 0
    for a, b in itertools.combinations(range(len(first)), 2):
        sign_1 = np.sign(first[a] - first[b])
        sign_2 = np.sign(second[a] - second[b])
        total += sign_1 * sign_2
        untied_1 += sign_1 != 0
        untied_2 += sign_2 != 0
    return total / math.sqrt(untied_1 * untied_2)


def draw_accuracies(num_models, num_levels, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, num_levels, num_models) / 10
    return first, first + rng.integers(0, num_levels, num_models) / 10


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ((1, 2, 3), (4, 5, 6), 1),
        ((1, 2, 3), (6, 5, 4), -1),
        ((1, 2), (1, 2), 1),
        ((1, 2, 3, 4), (1, 2, 4, 3), 4 / 6),
        ((1, 1, 2), (1, 2, 3), 2 / math.sqrt(2 * 3)),
        ((1, 1, 2), (3, 3, 4), 1),
    ],
    ids=["same", "reversed", "two", "one_swapped", "tie_in_one", "tie_in_both"],
)
def test_tau_of_small_orders(first, second, tau):
    assert ranking.kendall_tau(array(*first), array(*second)) == pytest.approx(tau)


@pytest.mark.parametrize("num_levels", [3, 1000], ids=["many_ties", "few_ties"])
def test_correlations_agree_with_brute_force_and_scipy(num_levels):
    first, second = draw_accuracies(40, num_levels)
    tau = ranking.kendall_tau(first, second)
    assert tau == pytest.approx(brute_tau(first, second))
    assert tau == pytest.approx(stats.kendalltau(first, second).statistic)
    ranks = np.corrcoef(stats.rankdata(first), stats.rankdata(second))
    assert ranking.spearman(first, second) == pytest.approx(ranks[0, 1])


@pytest.mark.parametrize(
    ("first", "second"),
    [((), ()), ((1,), (2,)), ((1, 1, 1), (1, 2, 3)), ((1, 2, 3), (0, 0, 0))],
    ids=["no_models", "one_model", "all_tie_on_full", "all_tie_on_subset"],
)
def test_undefined_values_are_none(first, second):
    first, second = array(*first), array(*second)
    assert ranking.kendall_tau(first, second) is None
    assert ranking.spearman(first, second) is None
    assert ranking.bootstrap_tau(first, second) is None
    assert ranking.top_half_tau(first, second) is None


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (array(1, 2), array(1), "are not"),
        (np.ones((2, 2)), np.ones((2, 2)), "are not"),
        (array(1, math.nan), array(1, 2), "finite"),
        (array(1, 2), array(1, math.inf), "finite"),
    ],
    ids=["lengths", "axes", "nan", "inf"],
)
def test_accuracies_must_match_and_be_finite(first, second, message):
    with pytest.raises(ValueError, match=message):
        ranking.kendall_tau(first, second)


@pytest.mark.parametrize(
    ("full", "subset", "tau"),
    [
        ((1, 2, 3, 4), (9, 8, 1, 2), 1),
        ((1, 2, 3, 4, 5), (9, 8, 3, 2, 1), -1),
        ((1, 2, 2, 4), (9, 3, 1, 5), 2 / math.sqrt(2 * 3)),
        ((1, 2), (2, 1), None),
    ],
    ids=["even", "odd_rounds_up", "tie_with_the_last", "one_is_left"],
)
def test_top_half_uses_the_better_models(full, subset, tau):
    expected = None if tau is None else pytest.approx(tau)
    assert ranking.top_half_tau(array(*full), array(*subset)) == expected


@pytest.mark.parametrize(
    ("full", "subset", "regret"),
    [
        ((0.5, 0.7, 0.9), (1, 2, 3), 0),
        ((0.5, 0.7, 0.9), (1, 3, 2), 0.2),
        ((0.5, 0.7, 0.9), (3, 3, 1), 0.3),
        ((0.5,), (0.1,), 0),
    ],
    ids=["best_found", "second_best", "tie", "one_model"],
)
def test_regret_is_the_loss_of_the_subsets_best_model(full, subset, regret):
    full, subset = array(*full), array(*subset)
    assert ranking.top1_regret(full, subset) == pytest.approx(regret)


def test_bootstrap_resamples_models():
    first, second = draw_accuracies(7, 12)
    keys = [f"models|{number}" for number in range(7 * 200)]
    draws = [seeds.order(5, "draw", key) % 7 for key in keys]
    taus = []
    for start in range(0, len(draws), 7):
        drawn = draws[start : start + 7]
        tau = ranking.kendall_tau(first[drawn], second[drawn])
        if tau is not None:
            taus.append(tau)
    expected = np.quantile(taus, [0.025, 0.975])
    found = ranking.bootstrap_tau(first, second, seed=5, num_draws=200)
    assert found == pytest.approx(tuple(expected))


def test_bootstrap_is_reproducible_and_depends_on_the_seed():
    first, second = draw_accuracies(12, 30)
    one, again, other = (
        ranking.bootstrap_tau(first, second, seed=seed) for seed in (0, 0, 1)
    )
    assert one == again
    assert one != other
    assert one.low <= ranking.kendall_tau(first, second) <= one.high


def test_bootstrap_of_three_models_skips_draws_of_one_model():
    found = ranking.bootstrap_tau(array(1, 2, 3), array(1, 2, 3))
    assert found == (1, 1)


def draw_correct(num_models, num_images, seed=0):
    rng = np.random.default_rng(seed)
    skill = np.linspace(0.5, 0.8, num_models)[:, np.newaxis]
    return rng.random((num_models, num_images)) < skill


def test_noise_ceiling_grows_with_the_images_and_is_reproducible():
    correct = draw_correct(12, 4000)
    few, some, many = (ranking.noise_ceiling(correct, n) for n in (20, 200, 2000))
    assert 0 < few < some < many <= 1
    assert ranking.noise_ceiling(correct, 200) == some
    assert ranking.noise_ceiling(correct, 200, seed=1) != some


def test_noise_ceiling_compares_blocks_with_the_remaining_images():
    correct = draw_correct(6, 10)
    keys = [f"images|{image}" for image in range(10)]
    order = sorted(range(10), key=lambda i: seeds.order(0, "draw", keys[i]))
    taus = []
    for block in (order[:3], order[3:6], order[6:9]):
        rest = [i for i in range(10) if i not in block]
        inside, outside = correct[:, block].sum(1), correct[:, rest].sum(1)
        taus.append(brute_tau(inside, outside))
    assert ranking.noise_ceiling(correct, 3) == pytest.approx(np.mean(taus))


@pytest.mark.parametrize("num_images", [0, 6, 10, 11])
def test_noise_ceiling_needs_half_of_the_images_to_compare_with(num_images):
    assert ranking.noise_ceiling(draw_correct(5, 10), num_images) is None


def test_noise_ceiling_of_equal_models_is_not_defined():
    assert ranking.noise_ceiling(np.ones((5, 10), bool), 2) is None


def read_top1(path):
    with path.open(newline="") as file:
        return {
            (row["model"], row["img_size"], row["crop_pct"]): float(row["top1"])
            for row in csv.DictReader(file)
        }


@pytest.mark.real
@pytest.mark.parametrize(
    ("other", "tau", "rho"),
    [
        ("imagenetv2-matched-frequency", 0.9424, 0.9950),
        ("imagenet-real", 0.9287, 0.9924),
        ("sketch", 0.8056, 0.9457),
    ],
)
def test_published_accuracies_correlate_as_measured_before(real_data, other, tau, rho):
    folder = real_data / "accuracies"
    full = read_top1(folder / "timm-results-imagenet.csv")
    subset = read_top1(folder / f"timm-results-{other}.csv")
    assert len(full) == len(full.keys() & subset.keys()) == 1556
    first = array(*full.values())
    second = array(*(subset[key] for key in full))
    assert ranking.kendall_tau(first, second) == pytest.approx(tau, abs=5e-5)
    assert ranking.spearman(first, second) == pytest.approx(rho, abs=5e-5)


FULL = np.array([0.9, 0.8, 0.7, 0.7001])


def test_ranks_are_compared_by_all_measures():
    subset = np.array([0.5, 0.6, 0.4, 0.3])
    ranks = compare_ranks(FULL, subset, seed=3)
    assert ranks.num_models == 4
    assert ranks.tau == pytest.approx((4 - 2) / 6)
    assert ranks.spearman == pytest.approx(1 - 6 * 4 / (4 * 15))
    assert ranks.top_half_tau == -1
    assert ranks.regret == pytest.approx(0.1)
    assert ranks.tau_interval == ranking.bootstrap_tau(FULL, subset, seed=3)


def test_only_pairs_that_the_full_set_decides_can_be_lost():
    full = compare_all_pairs(FULL, 10_000)
    # the first two differ insignificantly, and the third is above the fourth
    subset = compare_all_pairs(np.array([0.599, 0.6, 0.4, 0.3]), 10_000)
    kept = compare_pairs(full, subset)
    assert (kept.num_pairs, kept.decided_full, kept.decided_subset) == (6, 5, 5)
    assert kept.contrary == ((0, 1),)
    assert kept.reversed == ()
    assert kept.sign_agreement == kept.resolving_power == 4 / 5


def test_pairs_decided_the_other_way_are_reversed():
    full = compare_all_pairs(FULL, 10_000)
    kept = compare_pairs(full, compare_all_pairs(FULL[[1, 0, 2, 3]], 10_000))
    assert kept.contrary == kept.reversed == ((0, 1),)


def test_a_tie_is_contrary_to_a_decided_pair():
    full = compare_all_pairs(FULL, 10_000)
    kept = compare_pairs(
        full, compare_all_pairs(np.array([0.6, 0.6, 0.5, 0.5]), 10_000)
    )
    assert kept.contrary == ((0, 1),)
    assert kept.sign_agreement == 4 / 5


def test_the_ceiling_is_given_or_that_of_the_noise():
    full = compare_all_pairs(FULL, 10_000)
    few = compare_pairs(full, compare_all_pairs(FULL, 50)).noise_ceiling
    many = compare_pairs(full, compare_all_pairs(FULL, 5000)).noise_ceiling
    assert 0 < few < many < 1
    assert compare_pairs(full, full, ceiling=0.5).noise_ceiling == 0.5
