import csv
import io
import itertools
import json

import numpy as np
import pytest
from scipy import stats

from transforms.evaluation import training_free
from transforms.evaluation.training_free import (
    Recipe,
    exclude_donors,
    recommend,
    score_recipes,
)
from transforms.predictions.reading import Predictions
from transforms.records import UsageError

NUM_CLASSES = 40
TRUTH = np.arange(4000) % NUM_CLASSES
EVERY = np.where(np.arange(1000) < NUM_CLASSES, np.arange(1000), -1)
PAIRS = np.arange(1000) // 2
SOME = np.where(np.arange(1000) < 10, np.arange(1000), -1)
ACCURACIES = np.linspace(0.68, 0.72, 9)


def make_models(accuracies=ACCURACIES, truth=TRUTH, seed=0):
    """Return models whose top-1 classes are right at random, image by image."""
    random = np.random.default_rng(seed)
    models = []
    for number, accuracy in enumerate(accuracies):
        top5 = np.stack([
            random.permutation(NUM_CLASSES)[:5] for _ in range(len(truth))
        ])
        right = random.random(len(truth)) < accuracy
        top5[right, 0] = truth[right]
        models.append(Predictions(f"model{number}_{'abcdefghi'[number]}", top5, truth))
    return models


MODELS = make_models()


def tau_by_pairs(first, second):
    """Kendall's τ-b by its definition."""
    signs = [
        (np.sign(first[a] - first[b]), np.sign(second[a] - second[b]))
        for a, b in itertools.combinations(range(len(first)), 2)
    ]
    untied = [sum(s[n] != 0 for s in signs) for n in (0, 1)]
    return sum(a * b for a, b in signs) / np.sqrt(untied[0] * untied[1])


def count_right(group_of, *, own, if_undecided=0):
    """Count correct images of each model by plain loops."""
    counts = []
    for model in MODELS:
        count = 0
        for top5, true in zip(model.top5.tolist(), TRUTH.tolist(), strict=True):
            if group_of[true] < 0:
                continue
            kept = [group_of[c] for c in top5 if group_of[c] >= 0]
            answer = group_of[top5[0]]
            if own:
                answer = kept[0] if kept else None
            count += if_undecided if answer is None else answer == group_of[true]
        counts.append(count)
    return np.array(counts)


def test_rows_equal_the_definitions():
    full = count_right(EVERY, own=False)
    recipes = [Recipe("pairs", 20, (PAIRS,)), Recipe("some", 10, (SOME,), is_list=True)]
    pairs, some, own = score_recipes(MODELS, recipes, seed=0).rows
    assert [row.answers for row in (pairs, some, own)] == ["all", "all", "own"]
    assert (pairs.num_images, some.num_images, own.num_images) == (4000, 1000, 1000)
    for row, group_of in ((pairs, PAIRS), (some, SOME)):
        right = count_right(group_of, own=False)
        assert row.tau == pytest.approx(tau_by_pairs(full, right))
    wrong = count_right(SOME, own=True)
    right = count_right(SOME, own=True, if_undecided=1)
    assert own.tau == pytest.approx(tau_by_pairs(full, wrong))
    assert own.tau_if_right == pytest.approx(tau_by_pairs(full, right))
    assert own.undecided == pytest.approx((right - wrong).mean() / 1000)
    assert own.undecided_most == pytest.approx((right - wrong).max() / 1000)


def test_groups_of_equal_weight():
    uneven = np.where(np.arange(1000) < 30, 0, np.arange(1000))
    (row,) = score_recipes(MODELS, [Recipe("uneven", 11, (uneven,))], seed=0).rows
    accuracies = []
    for model in MODELS:
        right = uneven[model.top5[:, 0]] == uneven[TRUTH]
        in_group = [right[uneven[TRUTH] == g] for g in np.unique(uneven[TRUTH])]
        accuracies.append(np.mean([part.mean() for part in in_group]))
    full = count_right(EVERY, own=False)
    assert row.tau_balanced == pytest.approx(tau_by_pairs(full, accuracies))
    assert row.tau_balanced != row.tau


def test_single_classes_reach_every_ceiling():
    (row,) = score_recipes(
        MODELS, [Recipe("all", 1000, (np.arange(1000),))], seed=0
    ).rows
    assert row.tau == row.ceiling == row.tau_at[4000] == 1
    assert row.tau_halves == row.ceiling_halves < 1
    assert row.regret == 0
    assert row.resolving_power == 1


def test_ceiling_is_the_tau_that_the_noise_allows():
    """Independent right answers have a known standard error."""
    truth = np.arange(20_000) % NUM_CLASSES
    accuracies = np.linspace(0.70, 0.80, 9)
    table = score_recipes(
        make_models(accuracies, truth),
        [Recipe("pairs", 20, (PAIRS,))],
        seed=0,
    )
    variance = accuracies * (1 - accuracies) / 500
    spread = np.sqrt(variance[:, np.newaxis] + variance)
    pairs = np.triu_indices(9, 1)
    z = np.abs(accuracies[:, np.newaxis] - accuracies)[pairs] / spread[pairs]
    expected = np.mean(2 * stats.norm.cdf(z) - 1)
    assert table.ceiling_at[500] == pytest.approx(expected, abs=0.05)
    assert list(table.ceiling_at) == [500, 1000, 5000, 10_000, 20_000]
    taus = list(table.ceiling_at.values())
    assert taus == sorted(taus)
    assert taus[-1] == 1


def test_spread_over_draws_is_apart_from_the_interval():
    random = np.random.default_rng(1)
    draws = tuple(np.append(random.permutation(40) // 20, PAIRS[40:]) for _ in range(5))
    alone, drawn = score_recipes(
        MODELS,
        [Recipe("one", 2, draws[:1]), Recipe("random", 2, draws, "seeds")],
        seed=0,
    ).rows
    assert alone.tau_sd is None
    taus = [
        score_recipes(MODELS, [Recipe("one", 2, (draw,))], seed=0).rows[0].tau
        for draw in draws
    ]
    assert drawn.tau == pytest.approx(np.mean(taus))
    assert drawn.tau_sd == pytest.approx(np.std(taus, ddof=1))
    assert drawn.tau_interval.low < drawn.tau < drawn.tau_interval.high


def test_rows_with_many_undecided_images_have_bounds_but_no_rank():
    recipes = [Recipe("pairs", 20, (PAIRS,)), Recipe("some", 10, (SOME,), is_list=True)]
    pairs, some, own = score_recipes(MODELS, recipes, seed=0).rows
    assert own.undecided_most > 0.02
    assert (pairs.rank, some.rank, own.rank) == (1, 1, None)
    sparse = [
        Predictions(p.model, np.where(p.top5 < 10, p.top5, p.top5 % 10), p.truth)
        for p in MODELS
    ]
    rows = score_recipes(sparse, recipes, seed=0).rows
    assert rows[2].undecided_most == 0
    assert training_free.is_rankable(rows[2])


def test_recommendation_names_ties_and_lists_below_their_ceiling():
    reverse = np.where(np.arange(1000) < 10, np.arange(1000), -1)
    models = make_models(np.linspace(0.5, 0.9, 9))
    worst_first = [
        Predictions(
            p.model,
            np.where((TRUTH < 10)[:, None], models[8 - n].top5, p.top5),
            TRUTH,
        )
        for n, p in enumerate(models)
    ]
    recipes = [
        Recipe("classes", 20, (np.arange(1000),)),
        Recipe("pairs", 20, (PAIRS,)),
        Recipe("reverse", 10, (reverse,), is_list=True),
    ]
    sentences = recommend(score_recipes(worst_first, recipes, seed=0))
    assert sentences[0].startswith("N = 20: use classes: τ-b 1.000; undecided between")
    assert sentences[1].startswith("Published lists: use reverse")
    assert sentences[2].startswith("Within the noise")
    assert "classes 20" in sentences[2]
    assert sentences[3].startswith("Below the noise of as many images of all classes")
    assert "reverse" in sentences[3]


def test_recipes_of_the_same_number_of_groups_are_ranked_together():
    recipes = [
        Recipe("a", 20, (PAIRS,)),
        Recipe("b", 40, (np.arange(1000),)),
        Recipe("c", 20, (np.arange(1000) % 20,)),
    ]
    rows = score_recipes(MODELS, recipes, seed=0).rows
    assert sorted((row.num_groups, row.rank) for row in rows) == [
        (20, 1),
        (20, 2),
        (40, 1),
    ]


def test_output_is_deterministic_and_a_seed_changes_only_choices_of_images():
    recipes = [Recipe("some", 10, (SOME,), is_list=True), Recipe("pairs", 20, (PAIRS,))]
    table = score_recipes(MODELS, recipes, seed=0)
    again = score_recipes(MODELS, recipes, seed=0)
    assert training_free.to_csv(table) == training_free.to_csv(again)
    report = training_free.to_report(table, seed=0)
    assert report == training_free.to_report(again, seed=0)
    other = score_recipes(MODELS, recipes, seed=1)
    for row, other_row in zip(table.rows, other.rows, strict=True):
        assert row.tau == other_row.tau
        assert row.tau_interval == other_row.tau_interval
        assert row.tau_halves != other_row.tau_halves
    rows = score_recipes(MODELS, recipes[::-1], seed=0).rows
    assert {r.name: r.ceiling_halves for r in rows} == {
        r.name: r.ceiling_halves for r in table.rows
    }


def test_files_hold_the_same_numbers():
    table = score_recipes(MODELS, [Recipe("some", 10, (SOME,), is_list=True)], seed=0)
    rows = list(csv.DictReader(io.StringIO(training_free.to_csv(table).decode())))
    report = json.loads(training_free.to_report(table, seed=3))
    assert len(rows) == len(report["rows"]) == 2
    for cells, row in zip(rows, report["rows"], strict=True):
        assert list(cells) == [*cells]
        assert {name: "" if v is None else str(v) for name, v in row.items()} == cells
    assert rows[0]["tau_at_500_images"]
    assert not rows[0]["tau_at_4000_images"]  # the list has 1000 images
    assert report["seed"] == 3


def test_the_median_model_is_the_default_donor_and_is_not_ranked():
    right = np.argsort(count_right(EVERY, own=False))
    ranked, donors = exclude_donors(MODELS, ())
    assert [p.model for p in donors] == [MODELS[right[4]].model]
    assert len(ranked) == 8
    ranked, donors = exclude_donors(MODELS, (MODELS[0].model, MODELS[8].model))
    assert [p.model for p in ranked] == [p.model for p in MODELS[1:8]]


def test_a_ranked_donor_is_refused():
    copy = Predictions("copy", MODELS[0].top5, TRUTH)
    with pytest.raises(UsageError, match=r"must not be ranked.* copy \(as model0_a\)"):
        exclude_donors([*MODELS, copy], (MODELS[0].model,))
    with pytest.raises(UsageError, match="--donors nobody: --predictions has no such"):
        exclude_donors(MODELS, ("nobody",))


def test_too_few_models_are_refused():
    with pytest.raises(UsageError, match="2 models without the donors"):
        exclude_donors(MODELS[:3], ())
    far = np.where(np.arange(1000) > 900, 0, -1)
    with pytest.raises(UsageError, match="far: keeps none of the classes"):
        score_recipes(MODELS, [Recipe("far", 1, (far,))], seed=0)
