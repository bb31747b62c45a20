"""Test the analysis of designed studies on simulated accuracies."""

import dataclasses

import numpy as np
import pytest

from tests import making_curves
from transforms.evaluation import designed, discordance, ranking
from transforms.evaluation.designed import Recipe
from transforms.records import UsageError
from transforms.reports import designed as page

NUM_ARCHITECTURES = 18
MODELS = [f"cnn:{n}x2@{rate}" for n in range(1, 19) for rate in (0.003, 0.001)]
ARCHITECTURES = discordance.find_families(MODELS)


def draw(rng, skill, noise, num_draws=2) -> np.ndarray:
    """Accuracies of models: their skill and independent noise."""
    return np.stack([
        skill + noise * rng.normal(size=len(skill)) for _ in range(num_draws)
    ])


def simulate(seed: int, noises: dict[tuple[str, str], float]) -> designed.Design:
    rng = np.random.default_rng(seed)
    skill = rng.normal(size=len(MODELS))
    recipes = [
        Recipe(
            name=f"{labels}_{sampler}",
            factors={"labels": labels, "sampler": sampler, "epochs": "10"},
            num_images_seen=1000,
            accuracies=draw(rng, skill, noise),
        )
        for (labels, sampler), noise in noises.items()
    ]
    return designed.analyse(MODELS, draw(rng, skill, 0.05), recipes, 10_000)


def test_models_that_differ_in_training_share_an_architecture():
    assert len(set(ARCHITECTURES)) == NUM_ARCHITECTURES
    assert ARCHITECTURES[0] == ARCHITECTURES[1] == "cnn:1x2"


def test_recipes_are_ordered_and_a_clearly_worse_one_is_significant():
    design = simulate(0, {("c", "x"): 3.0, ("a", "x"): 0.1, ("b", "x"): 0.1})
    best, second, last = design.results
    assert (last.recipe.name, last.recipe.num_images_seen) == ("c_x", 1000)
    assert best.estimate.tau >= second.estimate.tau > 0.85
    assert 0.1 < last.estimate.tau < 0.6
    assert design.is_worse("c_x")
    assert not design.is_worse(second.recipe.name)
    assert len(design.differences) == 3
    assert [r.is_on_pareto_front for r in design.results] == [True, False, False]


def test_pareto_front_holds_cheaper_recipes():
    rng = np.random.default_rng(0)
    skill = rng.normal(size=len(MODELS))
    costs = {"best": (0.0, 4000), "cheap": (1.0, 1000), "bad": (3.0, 2000)}
    recipes = [
        Recipe(
            name=name, factors={}, num_images_seen=cost, accuracies=draw(rng, skill, x)
        )
        for name, (x, cost) in costs.items()
    ]
    results = designed.analyse(MODELS, skill[None], recipes, 10_000).results
    assert {r.recipe.name for r in results if r.is_on_pareto_front} == {"best", "cheap"}


def test_ceiling_is_the_agreement_of_seeds():
    rng = np.random.default_rng(1)
    full = draw(rng, rng.normal(size=len(MODELS)), 0.3)
    recipe = Recipe(name="r", factors={"f": "x"}, num_images_seen=1, accuracies=full)
    ceiling = designed.analyse(MODELS, full, [recipe], 10).ceiling
    assert ceiling.tau == pytest.approx(ranking.kendall_tau(full[0], full[1]))
    assert ceiling.interval.low < ceiling.tau < ceiling.interval.high
    assert designed.analyse(MODELS, full[:1], [recipe], 10).ceiling.tau is None


def test_a_perfect_recipe_has_the_ceiling_on_average():
    """Recipe and ceiling must be compared with equally many trainings."""
    excess = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        full = draw(rng, rng.normal(size=len(MODELS)), 0.3, num_draws=3)
        recipe = Recipe(
            name="r",
            factors={},
            num_images_seen=1,
            accuracies=full[2:],
            on_its_images=full[None, :2],
        )
        design = designed.analyse(MODELS, full[:2], [recipe], 10)
        (result,) = design.results
        assert result.ceiling == pytest.approx(design.ceiling.tau)
        excess.append(result.estimate.tau - design.ceiling.tau)
    assert abs(np.mean(excess)) < 3 * np.std(excess) / len(excess) ** 0.5
    assert np.std(excess) > 0


def test_further_seeds_of_a_draw_do_not_exceed_the_ceiling():
    """Averaged accuracies would rank better than the single trainings of a ceiling."""
    taus = []
    for number in range(40):
        rng = np.random.default_rng(number)
        skill = rng.normal(size=len(MODELS))
        full, seeds = draw(rng, skill, 0.5), draw(rng, skill, 0.5, num_draws=5)
        recipes = [
            Recipe(name=n, factors={"f": n}, num_images_seen=1, accuracies=a[None])
            for n, a in {"one": seeds[:1], "five": seeds}.items()
        ]
        results = designed.analyse(MODELS, full, recipes, 10).results
        by_name = {r.recipe.name: r.estimate.tau for r in results}
        taus.append(by_name["five"] - by_name["one"])
    assert abs(np.mean(taus)) < 0.02  # 0.11 with averaged accuracies


def test_own_ceiling_is_lower_on_fewer_images():
    rng = np.random.default_rng(2)
    full = draw(rng, rng.normal(size=len(MODELS)), 0.1)
    noisy = np.stack([draw(rng, full[0], 0.5), draw(rng, full[1], 0.5)], axis=1)
    recipe = Recipe(
        name="r", factors={}, num_images_seen=1, accuracies=full, on_its_images=noisy
    )
    design = designed.analyse(MODELS, full, [recipe], 10)
    (result,) = design.results
    assert result.ceiling < design.ceiling.tau - 0.05
    expected = [
        ranking.kendall_tau(full[1 - seed], draw[seed])
        for draw in noisy
        for seed in (0, 1)
    ]
    assert result.ceiling == pytest.approx(np.mean(expected))


def test_effects_recover_the_choice_that_matters():
    design = simulate(
        2,
        {
            (labels, sampler): 0.1 if labels == "good" else 0.9
            for labels in ("good", "poor")
            for sampler in ("x", "y", "z")
        },
    )
    effects = {(e.factor, e.level): e for e in design.effects}
    assert effects.keys() == {("labels", "poor"), ("sampler", "y"), ("sampler", "z")}
    labels = effects["labels", "poor"]
    assert labels.reference == "good"
    assert labels.difference < -0.2
    assert labels.p_value < 0.01
    assert labels.interval.high < 0
    for level in ("y", "z"):
        effect = effects["sampler", level]
        assert effect.interval.low < 0 < effect.interval.high


def test_effects_without_difference_are_rarely_significant():
    """Of 60 studies with equal recipes, at most 5 (8 %) report an effect."""
    noises = {(labels, sampler): 0.5 for labels in "abc" for sampler in "xy"}
    designs = [simulate(seed, noises) for seed in range(60)]
    assert sum(any(e.p_value < 0.05 for e in d.effects) for d in designs) <= 5
    assert sum(any(x.is_significant for x in d.differences) for d in designs) <= 5


def test_effects_are_rarely_significant_if_draws_differ_in_noise():
    """Noise that all models share in a draw does not vary over architectures."""
    num_significant = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        skill = rng.normal(size=20)
        recipes = [
            Recipe(
                name=f"{sampler}{number}",
                factors={"sampler": sampler},
                num_images_seen=1000,
                accuracies=np.concatenate([
                    draw(rng, skill, 0.4 * np.exp(rng.normal(0, 0.5)), num_draws=1)
                    for _ in range(3)
                ]),
            )
            for sampler in "xy"
            for number in range(3)
        ]
        full = draw(rng, skill, 0.2)
        (effect,) = designed.find_effects(full, recipes, ARCHITECTURES[:20])
        num_significant += effect.p_value < 0.05
    assert num_significant <= 4  # 10 %


def test_levels_that_cannot_be_separated_are_omitted():
    design = simulate(3, {("a", "x"): 0.1, ("b", "y"): 0.2, ("b", "x"): 0.2})
    assert {e.factor for e in design.effects} == {"labels", "sampler"}
    confounded = simulate(3, {("a", "x"): 0.1, ("b", "y"): 0.2})
    assert {e.factor for e in confounded.effects} == {"labels"}


def test_finals_are_read_by_seed(tmp_path):
    paths = [str(tmp_path / f"{seed}.csv") for seed in (0, 1)]
    for seed in (0, 1):
        curves = {"mlp": [0.1, 0.2 + seed / 10], "cnn": [0.3, 0.4]}
        rows = making_curves.rows(curves, seed=seed)
        making_curves.write(tmp_path / f"{seed}.csv", rows)
    finals = designed.read_finals(paths, ["cnn", "mlp"])
    assert finals.accuracies.tolist() == [[0.4, 0.2], [0.4, pytest.approx(0.3)]]
    assert finals.num_images_seen == 2000
    other = making_curves.rows({"mlp": [0.1]}, subset_id="other")
    making_curves.write(tmp_path / "2.csv", other)
    with pytest.raises(UsageError, match="contain 2 sets"):
        designed.read_finals([*paths, str(tmp_path / "2.csv")], ["mlp"])


def test_page_names_every_recipe_and_effect():
    design = simulate(0, {("a", "x"): 0.05, ("b", "y"): 0.05, ("c", "x"): 3.0})
    made = page.make_page(design)
    html = made.html.decode().replace("<wbr>", "")
    assert all(f">{r.recipe.name}<" in html for r in design.results)
    assert {chart.name for chart in made.charts} == {"recipes", "costs"}
    assert html.count("undecided</td>") == 1
    assert "1 of the 2 others is not significantly worse" in html
    legend = "".join(chart.svg for chart in made.charts)
    assert all(f">{words}<" in legend for words in ("sampler x", "another sampler"))


def test_page_of_one_recipe_states_that_nothing_is_tested():
    design = dataclasses.replace(simulate(0, {("a", "x"): 0.05}), differences=())
    html = page.make_page(design).html.decode()
    assert "Differences between recipes are not tested" in html


def test_an_effect_of_epochs_is_not_one_of_labels():
    """Full data for few epochs and a fraction for many have the same labels."""
    rng = np.random.default_rng(4)
    skill = rng.normal(size=len(MODELS))
    noise_of = {"1": 1.2, "10": 0.2}
    recipes = [
        Recipe(
            name=f"{labels}_{epochs}",
            factors={"labels": labels, "epochs": epochs},
            num_images_seen=1000,
            accuracies=draw(rng, skill, noise_of[epochs], num_draws=4),
        )
        for labels, epochs in (("all", "1"), ("all", "10"), ("c20", "10"))
    ]
    effects = designed.analyse(MODELS, draw(rng, skill, 0.05), recipes, 10).effects
    found = {e.factor: e for e in effects}
    assert found["epochs"].interval.high < 0
    assert found["labels"].interval.low < 0 < found["labels"].interval.high


@pytest.mark.parametrize(("noise", "said"), [(0.1, "not "), (3.0, "")])
def test_the_page_of_two_recipes_speaks_of_the_other_one(noise, said):
    design = simulate(0, {("a", "x"): 0.1, ("b", "x"): noise})
    html = page.make_page(design).html.decode()
    assert f"The other recipe is {said}significantly worse." in html
    assert "1 others" not in html
    assert "1 differences" not in html
