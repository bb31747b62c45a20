import numpy as np
import pytest

from transforms.evaluation import ranking
from transforms.evaluation.ceilings import (
    RandomHalves,
    is_within_noise,
    predict_ceiling,
)
from transforms.evaluation.significance import compare_all_pairs


def draw_correct(num_models, num_images, seed=0, spread=0.3):
    rng = np.random.default_rng(seed)
    skill = np.linspace(0.5, 0.5 + spread, num_models)
    return rng.random((num_images, num_models)) < skill


def find_tau(first, second):
    return ranking.kendall_tau(first * 1.0, second * 1.0)


def test_halves_share_no_image_and_the_ceiling_has_as_many_images():
    correct = draw_correct(6, 40)
    halves = RandomHalves(correct, seed=0)
    counted = np.flatnonzero(np.arange(40) % 3 == 0)
    taus, chance = [], []
    for places in halves.places:
        other = correct[places >= 20].sum(axis=0)
        inside = counted[places[counted] < 20]
        taus.append(find_tau(other, correct[inside].sum(axis=0)))
        chance.append(find_tau(other, correct[places < len(inside)].sum(axis=0)))
    found = halves.compare(counted, correct[counted])
    assert found.tau == pytest.approx(np.mean([t for t in taus if t is not None]))
    chance = [tau for tau in chance if tau is not None]
    assert found.ceiling == pytest.approx(np.mean(chance))
    assert found.deviation == pytest.approx(np.std(chance, ddof=1))


def test_ceiling_grows_with_the_images_and_is_reproducible():
    correct = draw_correct(12, 4000)
    halves = RandomHalves(correct, seed=0)
    sizes = [40, 400, 4000]
    few, some, many = (halves.compare(np.arange(n), correct[:n]).ceiling for n in sizes)
    assert 0 < few < some < many <= 1
    again = RandomHalves(correct, seed=0)
    assert again.compare(np.arange(400), correct[:400]).ceiling == some
    other = RandomHalves(correct, seed=1)
    assert other.compare(np.arange(400), correct[:400]).ceiling != some


def test_single_classes_are_within_the_noise_and_equal_models_have_no_ceiling():
    correct = draw_correct(8, 1000)
    everything = RandomHalves(correct, seed=0).compare(np.arange(1000), correct)
    assert everything.tau == everything.ceiling
    assert is_within_noise(everything.tau, everything.ceiling, 0)
    equal = np.ones((10, 5), bool)
    nothing = RandomHalves(equal, seed=0).compare(np.arange(10), equal)
    assert (nothing.tau, nothing.ceiling) == (None, None)
    assert not is_within_noise(nothing.tau, nothing.ceiling, nothing.deviation)
    assert is_within_noise(0.9, 0.95, 0.05)
    assert not is_within_noise(0.89, 0.95, 0.05)


def test_predicted_ceiling_agrees_with_subsets_drawn_from_the_truth():
    rng = np.random.default_rng(2)
    truth = np.linspace(0.6, 0.8, 10)
    taus, kept, below, predicted = [], [], 0, []
    for _ in range(60):
        full = compare_all_pairs(rng.binomial(5000, truth) / 5000, 5000).correct()
        subset = compare_all_pairs(rng.binomial(500, truth) / 500, 500)
        ceiling = predict_ceiling(full, subset, seed=0)
        predicted.append(ceiling)
        pairs = ranking.compare_pairs(full, subset, ceiling=None)
        taus.append(ranking.kendall_tau(full.accuracies, subset.accuracies))
        kept.append(pairs.sign_agreement)
        below += pairs.sign_agreement < ceiling.least_kept
    assert np.mean([c.tau for c in predicted]) == pytest.approx(np.mean(taus), abs=0.02)
    assert np.mean([c.kept for c in predicted]) == pytest.approx(
        np.mean(kept), abs=0.01
    )
    assert below <= 3


def test_without_noise_the_ceiling_is_one_and_without_pairs_undefined():
    sure = compare_all_pairs(np.array([0.0, 1.0]), 10)
    assert predict_ceiling(sure, sure, seed=0) == (1, 1, 1)
    same = compare_all_pairs(np.array([0.5, 0.5]), 10)
    assert predict_ceiling(same, same, seed=0)[1:] == (None, None)


def test_mean_ignores_undefined_values():
    assert ranking.mean([1, None, 2]) == 1.5
    assert ranking.mean([None]) is None
