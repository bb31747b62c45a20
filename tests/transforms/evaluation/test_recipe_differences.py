import numpy as np
import pytest

from transforms.evaluation import ranking
from transforms.evaluation.recipe_differences import compare_recipes


def simulate(num_models, num_draws, noises, rng):
    """Return a full set with two seeds, and recipes with these noises of a model."""
    ability = rng.normal(size=num_models)
    full = ability + 0.1 * rng.normal(size=(2, num_models))
    return full, {
        str(number): ability
        + noise * rng.normal(size=num_models)
        + 0.15 * rng.normal(size=(num_draws, num_models))
        for number, noise in enumerate(noises)
    }


def test_differences_are_those_of_the_means():
    full, recipes = simulate(9, 3, [0.1, 0.5], np.random.default_rng(0))
    (found,) = compare_recipes(full, recipes, families="abcdefghi")
    first, second = (
        np.mean([ranking.kendall_tau(x, draw) for x in full for draw in draws])
        for draws in recipes.values()
    )
    assert (found.first, found.second) == ("0", "1")
    assert found.difference == pytest.approx(first - second)
    assert found.interval.low < found.difference < found.interval.high


@pytest.mark.parametrize(("num_models", "num_draws"), [(12, 1), (24, 2), (36, 3)])
def test_equal_recipes_rarely_differ(num_models, num_draws):
    rng = np.random.default_rng(1)
    wrong = covered = 0
    for _ in range(100):
        full, recipes = simulate(num_models, num_draws, [0.25] * 4, rng)
        pairs = compare_recipes(full, recipes, families=range(num_models))
        wrong += any(pair.is_significant for pair in pairs)
        covered += np.mean([p.interval.low <= 0 <= p.interval.high for p in pairs])
    assert wrong <= 7
    assert 0.92 < covered / 100 < 0.995


def test_a_large_difference_is_detected():
    rng = np.random.default_rng(1)
    detected = 0
    for _ in range(40):
        full, recipes = simulate(36, 2, [0.1, 0.6], rng)
        (pair,) = compare_recipes(full, recipes, families=range(36))
        detected += pair.is_significant
    assert detected > 36


def test_draws_that_vary_as_a_whole_widen_the_interval():
    full, recipes = simulate(24, 2, [0.1, 0.1], np.random.default_rng(3))
    alike = {"a": recipes["0"], "b": recipes["1"]}
    unlike = alike | {"b": np.stack([recipes["1"][0], recipes["1"][1][::-1]])}
    widths = [
        np.ptp(compare_recipes(full, pair, families=range(24))[0].interval)
        for pair in (alike, unlike)
    ]
    assert widths[1] > 3 * widths[0]


def test_models_of_a_family_are_not_independent():
    rng = np.random.default_rng(4)
    full, recipes = simulate(24, 1, [0.1, 0.5], rng)
    families = np.arange(24) // 4
    recipes = {
        name: draws + 0.5 * rng.normal(size=6)[families]
        for name, draws in recipes.items()
    }
    (alone,) = compare_recipes(full, recipes, families=range(24))
    (together,) = compare_recipes(full, recipes, families=families)
    assert np.ptp(together.interval) > np.ptp(alone.interval)


def test_undefined_comparisons_are_left_out():
    full, recipes = simulate(6, 1, [0.1, 0.2], np.random.default_rng(5))
    recipes["tied"] = np.ones((1, 6))
    assert len(compare_recipes(full, recipes, families="abcdef")) == 1
    assert compare_recipes(full, recipes, families="aaabbb") == []
