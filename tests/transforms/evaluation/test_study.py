import dataclasses

import pytest

from transforms.evaluation import study as study_ranking
from transforms.evaluation.discordance import Interval
from transforms.evaluation.study import RecipeScore, describe_best, rank
from transforms.records import UsageError

SAME = tuple(n / 20 for n in range(20))
SWAPPED = tuple(SAME[n ^ 1] for n in range(20))  # 10 of the 190 pairs
MANY_SWAPPED = tuple(SAME[n ^ 7 if n < 16 else n] for n in range(20))
REVERSED = SAME[::-1]


def _list_models(accuracies):
    return [{"model": f"m:{n}x1", "accuracy": a} for n, a in enumerate(accuracies)]


REPORT = {
    "warnings": ["few models"],
    "full": {
        "images_until_convergence": 12_000,
        "train_images": 3000,
        "models": _list_models(SAME),
    },
    "subsets": [
        {
            "train_images": 300,
            "validation_images": 50,
            "epochs": 4,
            "images_until_convergence": 600,
            "full_convergence_epoch": 3,
            "gain": 15.0,
            "verdict": {"value": "useful", "text": "useful: it keeps all."},
            "ranks": {
                "tau": 0.8,
                "tau_interval": [0.5, 1.0],
                "spearman": 0.9,
                "regret": 0.01,
            },
            "pairs": {"resolving_power": 0.7, "sign_agreement": 0.95},
            "models": _list_models(SAME),
        }
    ],
}


def score(
    name, tau, interval=None, converges_after=1000, accuracies=SAME
) -> RecipeScore:
    if interval is not None:
        interval = Interval(*interval)
    return dataclasses.replace(
        read(REPORT, name),
        tau=tau,
        tau_interval=interval,
        images_until_convergence_subset=converges_after,
        accuracies={f"m:{n}x1": a for n, a in enumerate(accuracies)},
    )


def read(report, name="small") -> RecipeScore:
    return study_ranking.read_report(
        report,
        name=name,
        flags={"grouping": "wordnet"},
        num_groups=3,
        images_per_group=100,
    )


def names(scores) -> list[str]:
    return [one.score.name for one in rank(scores)]


def test_the_highest_tau_is_first_and_an_undefined_one_last():
    scores = [score("none", None), score("low", -0.2), score("high", 0.9)]
    assert names(scores) == ["high", "low", "none"]
    assert [one.rank for one in rank(scores)] == [1, 2, 3]


def test_equal_taus_are_ordered_by_images_seen_and_no_convergence_is_last():
    scores = [
        score("never", 0.5, converges_after=None),
        score("slow", 0.5, converges_after=900),
        score("fast", 0.5, converges_after=100),
    ]
    assert names(scores) == ["fast", "slow", "never"]
    assert names([score("b", 0.5), score("a", 0.5)]) == ["a", "b"]


@pytest.mark.parametrize(
    ("other", "is_tied"),
    [
        pytest.param(
            score("other", 0.5, (0, 0.69), accuracies=(*SWAPPED[2::-1], *SWAPPED[3:])),
            True,
            id="one pair more, intervals apart",
        ),
        pytest.param(
            score("other", 0.6, (0.1, 1), accuracies=MANY_SWAPPED),
            False,
            id="many pairs, intervals overlap",
        ),
        pytest.param(score("other", 0.5, accuracies=SWAPPED), True, id="same errors"),
        pytest.param(score("other", None), False, id="has no tau"),
    ],
)
def test_ties_are_differences_that_are_not_significant(other, is_tied):
    best, second = rank([other, score("best", 0.9, (0.7, 1.0), accuracies=SWAPPED)])
    assert best.score.name == "best"
    assert not best.is_tied
    assert second.is_tied == is_tied


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        pytest.param([], "No recipe could be evaluated.", id="nothing"),
        pytest.param([score("a", None)], "No recipe can be ranked", id="no tau"),
        pytest.param([score("a", 0.9)], "only recipe, a, has τ-b 0.900", id="alone"),
        pytest.param(
            [score("a", 0.9), score("b", 0.1, accuracies=REVERSED)],
            ", significantly better than all others.",
            id="clear",
        ),
        pytest.param(
            [score("a", 0.9), score("b", 0.85)],
            "but b cannot be distinguished from it",
            id="one tie",
        ),
        pytest.param(
            [score(n, t) for n, t in zip("abc", (0.9, 0.8, 0.8), strict=True)],
            "but none of the others can be distinguished from it",
            id="all tie",
        ),
        pytest.param(
            [score("a", -0.3333), score("b", -0.5, accuracies=REVERSED)],
            "No recipe keeps the order of the models: the highest τ-b is −0.333 (a).",
            id="none",
        ),
        pytest.param(
            [score("a", 0.0), score("b", 0.0)], "highest τ-b is 0.000 (a)", id="zero"
        ),
        pytest.param(
            [*(score(n, 0.9) for n in "abc"), score("d", 0, accuracies=REVERSED)],
            "but 2 of the 3 others cannot be distinguished from it",
            id="some tie",
        ),
    ],
)
def test_sentence_names_the_best_recipe_and_ties(scores, said):
    assert said in describe_best(rank(scores))


def test_a_report_is_read():
    found = read(REPORT)
    assert found.tau_interval == (0.5, 1.0)
    assert (
        found.images_until_convergence_full,
        found.images_until_convergence_subset,
        found.trained_on,
    ) == (
        9000,
        600,
        1200,
    )
    assert found.warnings == ("few models",)
    assert found.accuracies == found.full_accuracies
    assert found.accuracies["m:19x1"] == 0.95


@pytest.mark.parametrize(
    "report",
    [{}, {**REPORT, "subsets": []}, {**REPORT, "subsets": [{}]}, {"subsets": None}],
    ids=["empty", "no subset", "empty subset", "null"],
)
def test_other_report_is_rejected(report):
    with pytest.raises(UsageError, match="evaluation of small cannot be read"):
        read(report)


@pytest.mark.parametrize(("num_models", "is_tied"), [(4, True), (12, False)])
def test_few_models_that_all_keep_their_order_prove_nothing(num_models, is_tied):
    best = score("best", 1.0, accuracies=SAME[:num_models])
    mixed = [SAME[n ^ 3] for n in range(num_models)]
    other = score("other", 0.1, accuracies=mixed)
    assert rank([best, other])[1].is_tied == is_tied


def test_models_of_one_architecture_prove_less():
    best, other = score("best", 1.0), score("other", 0.6, accuracies=MANY_SWAPPED)
    assert not rank([best, other])[1].is_tied

    def rename(accuracies):
        return {f"m:{n // 7}x1@{n}": a for n, a in enumerate(accuracies.values())}

    best, other = (
        dataclasses.replace(
            one,
            accuracies=rename(one.accuracies),
            full_accuracies=rename(one.full_accuracies),
        )
        for one in (best, other)
    )
    assert rank([best, other])[1].is_tied


def test_only_recipes_that_have_a_tau_are_cleared_of():
    ranked = rank([score("best", 0.5, (0.4, 0.6)), score("none", None)])
    assert describe_best(ranked) == (
        "best keeps the order of the models best (τ-b 0.500)."
    )


@pytest.mark.parametrize(
    ("converges_after", "expected"),
    [
        (9000, "; the ranking converges after the fewest images on a and b."),
        (None, "; the ranking does not converge on any subset."),
    ],
)
def test_equal_recipes_are_not_called_better(converges_after, expected):
    ranked = rank([
        score(n, 0.5, (0.2, 0.9), converges_after=converges_after) for n in "ab"
    ])
    said = describe_best(ranked)
    assert "All recipes keep the order of the models equally well (τ-b 0.500)" in said
    assert expected in said
