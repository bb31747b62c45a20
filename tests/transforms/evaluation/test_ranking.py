import csv
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from transforms.evaluation import discordance, ranking
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
    estimate = ranking.estimate_tau(first, [second], families=range(len(first)))
    assert estimate == (None, None, None)
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


def test_perfect_tau_has_an_interval_of_some_width():
    full = np.arange(6.0)
    estimate = ranking.estimate_tau(full, [full], families="abcdef")
    assert estimate.tau == estimate.interval.high == 1
    assert estimate.interval.low < 0.6
    assert ranking.estimate_tau(full[:2], [full[:2]], families="ab").interval is None


def test_tau_is_averaged_over_draws():
    full, swapped = array(1, 2, 3, 4), array(2, 1, 3, 4)
    mean = ranking.estimate_tau(full, [full, swapped], families="abcd")
    assert mean.tau == pytest.approx((1 + 4 / 6) / 2)
    assert mean.deviation == pytest.approx((2 / 6) / 2**0.5)
    assert mean.interval.low < mean.tau < mean.interval.high
    assert ranking.estimate_tau(full, [full], families="abcd").deviation is None


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
    ranks = compare_ranks(FULL, subset, families="abcd")
    assert ranks.num_models == 4
    assert ranks.tau == pytest.approx((4 - 2) / 6)
    assert ranks.spearman == pytest.approx(1 - 6 * 4 / (4 * 15))
    assert ranks.top_half_tau == -1
    assert ranks.regret == pytest.approx(0.1)
    discordant = discordance.find_discordance(FULL, subset)
    assert ranks.tau_interval == discordance.bound_tau(discordant, "abcd")


def test_only_pairs_that_the_full_set_decides_can_be_lost():
    full = compare_all_pairs(FULL, 10_000)
    # the first two differ insignificantly, and the third is above the fourth
    subset = compare_all_pairs(np.array([0.599, 0.6, 0.4, 0.3]), 10_000)
    kept = compare_pairs(full, subset, ceiling=0.5)
    assert (kept.num_pairs, kept.significant_full, kept.significant_subset) == (6, 5, 5)
    assert kept.contrary == ((0, 1),)
    assert kept.reversed == ()
    assert kept.sign_agreement == kept.resolving_power == 4 / 5


def test_pairs_decided_the_other_way_are_reversed():
    full = compare_all_pairs(FULL, 10_000)
    kept = compare_pairs(
        full, compare_all_pairs(FULL[[1, 0, 2, 3]], 10_000), ceiling=None
    )
    assert kept.contrary == kept.reversed == ((0, 1),)


def test_a_tie_is_contrary_to_a_decided_pair():
    full = compare_all_pairs(FULL, 10_000)
    kept = compare_pairs(
        full, compare_all_pairs(np.array([0.6, 0.6, 0.5, 0.5]), 10_000), ceiling=None
    )
    assert kept.contrary == ((0, 1),)
    assert kept.sign_agreement == 4 / 5
