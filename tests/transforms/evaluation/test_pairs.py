import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transforms.evaluation import ranking, significance
from transforms.evaluation.significance import (
    decide_pairs_pairs,
    expected_tau,
    measure_seed_noise,
)


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(1, 300))
@settings(max_examples=50, deadline=None)
def test_with_one_seed_pairs_are_decided_as_by_mcnemar_and_z(seed, models, images):
    rng = np.random.default_rng(seed)
    correct = rng.random((models, images)) < rng.random((models, 1))
    means = correct.mean(axis=1)
    paired = decide_pairs_pairs(means, images, shares=correct)
    unpaired = decide_pairs_pairs(means, images)
    assert (paired.is_paired, unpaired.is_paired) == (True, False)
    assert (
        paired.decisions.tolist()
        == significance.decide_pairs_deciding(correct).tolist()
    )
    expected = significance.decide_pairs_unpaired(means, images)
    assert unpaired.decisions.tolist() == expected.tolist()


def test_seed_noise_is_pooled_over_models():
    noise = measure_seed_noise([[0.5, 0.7], [0.1, 0.1, 0.1], [0.9]])
    assert noise.variance == pytest.approx(2 * 0.1**2 / 3)
    assert noise.degrees == 3
    assert noise.num_seeds.tolist() == [2, 3, 1]


def test_one_seed_each_tells_nothing_of_noise():
    assert measure_seed_noise([[0.5], [0.7]]) is None


def test_seed_noise_widens_differences_and_asks_for_more_errors():
    accuracies, images = np.array([0.70, 0.72, 0.80]), 10_000
    noise = measure_seed_noise([[0.68, 0.72], [0.71, 0.73], [0.80, 0.80]])
    plain = decide_pairs_pairs(accuracies, images)
    noisy = decide_pairs_pairs(accuracies, images, noise=noise)
    assert plain.num_decided == plain.num_pairs == 3
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
        tests = decide_pairs_pairs(finals.mean(axis=1), 50_000, noise=noise)
        decided += tests.num_decided
        pairs += tests.num_pairs
        quantile = stats.t.ppf(0.975, noise.degrees)
        covered += (np.abs(tests.accuracies - 0.75) < quantile * tests.errors).sum()
    assert 0.03 < decided / pairs < 0.07
    assert 0.93 < covered / (600 * 6) < 0.97


def test_the_interval_of_tau_covers():
    rng = np.random.default_rng(1)

    def draw(size):
        skill = rng.normal(size=size)
        return skill, skill + rng.normal(0, 0.7, size)

    truth = ranking.kendall_tau(*draw(3000))
    covered = 0
    for repeat in range(150):
        low, high = ranking.bootstrap_tau(*draw(30), seed=repeat, num_draws=120)
        covered += low <= truth <= high
    assert covered / 150 > 0.88


def test_expected_tau_is_that_of_a_simulation():
    rng = np.random.default_rng(2)
    truth = np.array([0.70, 0.71, 0.715, 0.75])
    differences = truth[:, np.newaxis] - truth
    spread = np.full((4, 4), 0.01)
    measured = truth + rng.normal(0, 0.01 / 2**0.5, (4000, 4))
    taus = [ranking.kendall_tau(truth, one) for one in measured]
    assert expected_tau(differences, spread) == pytest.approx(np.mean(taus), abs=0.02)


def test_expected_tau_without_noise_is_one_and_without_pairs_is_none():
    differences = np.array([[0.0, 0.1], [-0.1, 0.0]])
    assert expected_tau(differences, np.zeros((2, 2))) == 1
    assert expected_tau(np.zeros((1, 1)), np.zeros((1, 1))) is None


def test_no_pair_is_decided_against_the_accuracies_that_curves_tell():
    accuracies = np.array([0.4999, 0.5003])
    rng = np.random.default_rng(0)
    shares = rng.random((2, 10_000)) < np.array([[0.52], [0.48]])
    tests = decide_pairs_pairs(accuracies, 10_000, shares=shares)
    assert tests.decisions[0, 1] <= 0 <= tests.decisions[1, 0]
