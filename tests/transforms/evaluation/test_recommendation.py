import numpy as np

from transforms.evaluation.recommendation import Candidate, recommend

RNG = np.random.default_rng(0)
ABILITY = RNG.normal(size=30)


def candidate(name, tau, noise, cost):
    draws = ABILITY + noise * np.random.default_rng(1).normal(size=(1, 30))
    return Candidate(name, tau, draws, cost)


def test_best_ties_cheaper_and_worse_are_named():
    candidates = [
        candidate("poor", 0.3, 3, 10),
        candidate("small", 0.98, 0.011, 500),
        candidate("large", 0.99, 0.01, 1000),
    ]
    assert "is cheaper" not in recommend(
        ABILITY,
        [candidates[2], candidate("similar", 0.98, 0.011, 960)],
        families=range(30),
    ).describe("images")
    choice = recommend(ABILITY, candidates, families=range(30))
    assert choice.describe("images") == (
        "use large: τ-b 0.990; undecided between it and small (0.980), whose "
        "differences are not significant; small is cheaper by 50% (500 instead of "
        "1,000 images); significantly worse: poor (0.300)"
    )


def test_candidates_of_one_name_are_told_apart():
    candidates = [candidate("x", 0.99, 0.01, 1), candidate("x", 0.3, 3, 1)]
    choice = recommend(ABILITY, candidates, families=range(30))
    assert choice.best is candidates[0]
    assert not choice.tied
    (worse,) = choice.worse
    assert worse is candidates[1]


def test_few_families_cannot_tell_candidates_apart():
    candidates = [candidate("a", 0.9, 0, 1), candidate("b", 0.1, 9, 1)]
    choice = recommend(ABILITY, candidates, families=["x"] * 30)
    assert [c.name for c in choice.tied] == ["b"]
    assert not choice.worse
    assert recommend(ABILITY, [], families=range(30)) is None
    alone = recommend(ABILITY, candidates[:1], families=range(30))
    assert alone.describe("images") == "use a: τ-b 0.900"
