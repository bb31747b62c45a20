import numpy as np
import pytest

from transforms.evaluation import ranking
from transforms.evaluation.ranking import compare_pairs, compare_ranks
from transforms.evaluation.significance import decide_pairs_pairs

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
    full = decide_pairs_pairs(FULL, 10_000)
    # the first two are too close to be told apart, and the third is above the fourth
    subset = decide_pairs_pairs(np.array([0.599, 0.6, 0.4, 0.3]), 10_000)
    kept = compare_pairs(full, subset)
    assert (kept.num_pairs, kept.decided_full, kept.decided_subset) == (6, 5, 5)
    assert kept.contrary == ((0, 1),)
    assert kept.reversed == ()
    assert kept.sign_agreement == kept.resolving_power == 4 / 5


def test_pairs_decided_the_other_way_are_reversed():
    full = decide_pairs_pairs(FULL, 10_000)
    kept = compare_pairs(full, decide_pairs_pairs(FULL[[1, 0, 2, 3]], 10_000))
    assert kept.contrary == kept.reversed == ((0, 1),)


def test_a_tie_is_contrary_to_a_decided_pair():
    full = decide_pairs_pairs(FULL, 10_000)
    kept = compare_pairs(
        full, decide_pairs_pairs(np.array([0.6, 0.6, 0.5, 0.5]), 10_000)
    )
    assert kept.contrary == ((0, 1),)
    assert kept.sign_agreement == 4 / 5


def test_the_ceiling_is_given_or_that_of_the_noise():
    full = decide_pairs_pairs(FULL, 10_000)
    few = compare_pairs(full, decide_pairs_pairs(FULL, 50)).noise_ceiling
    many = compare_pairs(full, decide_pairs_pairs(FULL, 5000)).noise_ceiling
    assert 0 < few < many < 1
    assert compare_pairs(full, full, ceiling=0.5).noise_ceiling == 0.5
