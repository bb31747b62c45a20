"""Compare recipes of subsets by the predictions of models trained on all classes.

No models are trained. The models are ranked by their accuracy over a recipe's groups on
the images of its classes. The recipe's score is Kendall's τ-b between this ranking and
the ranking by top-1 accuracy over the 1000 classes on all images. Its noise ceiling is
the τ-b of a ranking on as many images chosen at random.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from transforms import csv_tables
from transforms.arrays import BoolArray, FloatArray, IntArray, IntegerArray
from transforms.evaluation import (
    discordance,
    ranking,
    recommendation,
    significance,
)
from transforms.evaluation.by_predictions import (
    MAX_UNDECIDED_SHARE,
    balance_groups,
    check_same_images,
    warn_of_order,
)
from transforms.evaluation.ceilings import (
    NUM_HALVES,
    HalfAgreement,
    RandomHalves,
    count_correct,
    is_within_noise,
)
from transforms.evaluation.discordance import Interval
from transforms.evaluation.recommendation import Candidate, Recommendation
from transforms.evaluation.significance import PairTests
from transforms.grouping.table import LEFT_OUT
from transforms.predictions.reading import Predictions
from transforms.records import UsageError, list_names, to_json

IMAGE_COUNTS = (500, 1_000, 5_000, 10_000, 50_000)
_DIGITS = 4


class Recipe(NamedTuple):
    """A way to group classes, with one or more random repetitions.

    Attributes:
      name: name of the grouping method or of the list of classes.
      num_groups: number of groups, N.
      draws: one array per repetition: the group of each class, shape (1000,), −1 if the
        class is left out.
      drawn_by: what differs between repetitions, such as the seed; "" for a single one.
      is_list: whether the recipe is a published list of classes.
    """

    name: str
    num_groups: int
    draws: tuple[IntegerArray, ...]
    drawn_by: str = ""
    is_list: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """The scores of a recipe, averaged over its draws.

    The "full ranking" is by top-1 accuracy over the 1000 classes on all images.

    Attributes:
      name: name of the recipe.
      num_groups: number of groups, N.
      is_list: whether the recipe is a published list of classes.
      answers: "all" if a prediction is the top-1 of the 1000 classes; "own" if it is
        the most probable class that the recipe keeps.
      drawn_by: what differs between draws; "" for a single draw.
      num_draws: number of draws.
      num_classes: number of classes that the recipe keeps.
      num_images: number of images of these classes.
      undecided: share of the images without a kept class in the stored top 5, averaged
        over models; these images count as wrong. 0 for "all" answers.
      undecided_most: the largest such share of any model in any draw.
      tau: τ-b between the recipe's ranking and the full ranking; None if undefined.
      tau_interval: 95 % confidence interval of `tau` over the choice of models.
      tau_sd: standard deviation of τ-b between draws; None for one draw.
      tau_if_right: τ-b if undecided images counted as correct; None for "all" answers.
      tau_balanced: τ-b between the full ranking and the ranking by the unweighted mean
        of the accuracies in each group.
      ceiling: τ-b between the full ranking and the ranking on `num_images` random
        images of all classes. Like those of `tau`, these are part of the full set.
      tau_halves: τ-b between the recipe's ranking on one random half of the images and
        the ranking over all classes on the other half.
      ceiling_halves: noise ceiling of `tau_halves`.
      halves_sd: standard deviation of this ceiling between random halves.
      tau_at: τ-b on random samples of the recipe's images, by sample size; None if the
        recipe has fewer images.
      top_half_tau: τ-b of the better half of the models.
      regret: accuracy over all classes, in percentage points, lost by selecting the
        recipe's best model instead of the best one.
      resolving_power: share of the pairs that are significant in the full ranking and
        that the recipe decides with the same sign.
      rank: from 1 (best), among recipes of the same N or among published lists; None
        for "own" answers, or if τ-b is undefined.
      is_tied: whether the difference from the best of these is not significant; False
        for the best.
    """

    name: str
    num_groups: int
    is_list: bool
    answers: str
    drawn_by: str
    num_draws: int
    num_classes: int
    num_images: int
    undecided: float
    undecided_most: float
    tau: float | None
    tau_interval: Interval | None
    tau_sd: float | None
    tau_if_right: float | None
    tau_balanced: float | None
    ceiling: float | None
    tau_halves: float | None
    ceiling_halves: float | None
    halves_sd: float
    tau_at: Mapping[int, float | None]
    top_half_tau: float | None
    regret: float
    resolving_power: float | None
    rank: int | None = None
    is_tied: bool = False

    @property
    def title(self) -> str:
        """The recipe's name, followed by N unless it is a published list."""
        return self.name if self.is_list else f"{self.name} {self.num_groups}"

    @property
    def is_within_noise(self) -> bool:
        """Whether `tau_halves` reaches `ceiling_halves` up to one `halves_sd`."""
        return is_within_noise(self.tau_halves, self.ceiling_halves, self.halves_sd)

    @property
    def section(self) -> str:
        """The title of the rows that are ranked together with this one."""
        return "Published lists" if self.is_list else f"N = {self.num_groups}"


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingFree:
    """The table of all recipes and their scores.

    Attributes:
      models: names of the ranked models.
      donors: names of the models whose confusion determined groups; not ranked.
      num_families: number of families of the ranked models.
      num_images: number of validation images.
      significant_full: share of the pairs of models that differ significantly over all
        classes and images.
      ceiling_at: τ-b between the rankings on a random sample and on all images, by
        sample size.
      rows: rows in the order of the recipes, "all" answers before "own" answers.
      choices: the recommendation among the recipes of each N and among the published
        lists, by `Row.section`.
      warnings: limitations of the predictions.
    """

    models: tuple[str, ...]
    donors: tuple[str, ...]
    num_families: int
    num_images: int
    significant_full: float
    ceiling_at: Mapping[int, float | None]
    rows: tuple[Row, ...]
    choices: Mapping[str, Recommendation]
    warnings: tuple[str, ...]


class _Full(NamedTuple):
    """Results of all models over the 1000 classes, on all images.

    Attributes:
      top: shape (images, top k, models), predicted class indices, most probable first.
      truth: shape (images,), true class indices.
      correct: shape (images, models), whether the top-1 class is correct.
      tests: significance tests of all pairs of models.
      families: the family of each model.
    """

    top: IntegerArray
    truth: IntegerArray
    correct: BoolArray
    tests: PairTests
    families: tuple[str, ...]


class _Answers(NamedTuple):
    """Per-image results of all models on the images of the classes that a draw keeps.

    Attributes:
      counted: shape (counted images,), positions of these images among all images.
      correct: shape (counted images, models), whether the predicted group is correct.
      undecided: shape (counted images, models), whether no stored class is kept; None
        for "all" answers.
      groups: shape (counted images,), true groups.
    """

    counted: IntArray
    correct: BoolArray
    undecided: BoolArray | None
    groups: IntegerArray


class _DrawScore(NamedTuple):
    """Statistics of one draw.

    Attributes:
      accuracies: shape (models,), accuracy over groups.
      num_images: number of counted images.
      undecided: shape (models,), share of these images without a kept class in the
        stored top 5.
      halves: comparison with the other half of the images, over random halves.
      tau_at: τ-b on random subsets of the images, by their number of images.

    The other attributes are those of `Row`.
    """

    accuracies: FloatArray
    num_images: int
    undecided: FloatArray
    tau_if_right: float | None
    tau_balanced: float | None
    halves: HalfAgreement
    tau_at: Mapping[int, float | None]
    top_half_tau: float | None
    regret: float
    resolving_power: float | None


def exclude_donors(
    predictions: Sequence[Predictions], donors: Sequence[str]
) -> tuple[list[Predictions], list[Predictions]]:
    """Split predictions by whether their model is to be ranked or is a donor.

    Donors are models whose confusion determined groups; they must not be ranked.

    Args:
      predictions: predictions of all models.
      donors: names of the donors; if empty, the model of median accuracy is the donor.

    Returns:
      The predictions of the ranked models, and those of the donors.

    Raises:
      UsageError: a donor has no predictions or is also ranked under another name, too
        few models remain, or models have different images.
    """
    check_same_images(predictions)
    names = tuple(donors) or (_find_median(predictions),)
    of_name = {p.model: p for p in predictions}
    if unknown := [name for name in names if name not in of_name]:
        raise UsageError(
            f"--donors {','.join(unknown)}: --predictions has no such model; it has "
            f"{list_names(of_name)}"
        )
    ranked = [p for p in predictions if p.model not in names]
    twins = [
        f"{p.model} (as {name})"
        for name in names
        for p in ranked
        if np.array_equal(p.top5, of_name[name].top5)
    ]
    if twins:
        raise UsageError(
            f"--donors: a donor must not be ranked, but --predictions also has the "
            f"same answers as {list_names(twins)}; leave these files out"
        )
    if len(ranked) < ranking.MIN_MODELS:
        raise UsageError(
            f"--predictions: {len(ranked)} models without the donors "
            f"({list_names(names)}); a ranking needs {ranking.MIN_MODELS} or more"
        )
    return ranked, [of_name[name] for name in names]


def _find_median(predictions: Sequence[Predictions]) -> str:
    ordered = sorted(
        (int((p.top5[:, 0] == p.truth).sum()), p.model) for p in predictions
    )
    return ordered[(len(ordered) - 1) // 2][1]


def score_recipes(
    predictions: Sequence[Predictions],
    recipes: Sequence[Recipe],
    *,
    donors: Sequence[str] = (),
    seed: int,
) -> TrainingFree:
    """Score and rank recipes.

    Recipes that leave classes out get a second row, with "own" answers (see
    `Row.answers`).

    Args:
      predictions: predictions of the ranked models, all of the same images.
      recipes: one or more recipes.
      donors: names of the models whose confusion determined groups.
      seed: seed of the random orders of the images.

    Raises:
      UsageError: there are no predictions, models have different images, or a recipe
        keeps no class of these images.

    Source: this project. Models trained on all 1000 classes serve as proxies for models
      trained on the groups.
    """
    check_same_images(predictions)
    full = _stack(predictions)
    total = len(full.truth)
    sizes = [n for n in IMAGE_COUNTS if n < total] + [total]
    halves = RandomHalves(full.correct, seed=seed)
    rows: list[Row] = []
    results: list[FloatArray] = []
    for recipe in recipes:
        is_partial = any((draw == LEFT_OUT).any() for draw in recipe.draws)
        for answers in ("all", "own") if is_partial else ("all",):
            row, result = _score_recipe(full, recipe, answers, halves, sizes)
            rows.append(row)
            results.append(result)
    ceilings = halves.measure_overlapping({*sizes, *(r.num_images for r in rows)})
    rows = [replace(row, ceiling=ceilings[row.num_images]) for row in rows]
    tests = full.tests
    choices = _choose(rows, results, tests.accuracies, full.families)
    return TrainingFree(
        models=tuple(p.model for p in predictions),
        donors=tuple(donors),
        num_families=len(set(full.families)),
        num_images=total,
        significant_full=tests.num_significant / tests.num_pairs,
        ceiling_at={n: ceilings[n] for n in sizes},
        rows=tuple(_rank(rows, choices)),
        choices=choices,
        warnings=tuple(warn_of_order(predictions)),
    )


def _stack(predictions: Sequence[Predictions]) -> _Full:
    width = min(p.top5.shape[1] for p in predictions)
    top = np.stack(
        [p.top5[:, :width].T.astype(np.int16) for p in predictions], axis=-1
    )  # ranks, images, models
    top = np.ascontiguousarray(top.transpose(1, 0, 2))
    truth = predictions[0].truth
    correct = top[:, 0] == truth[:, np.newaxis]
    tests = significance.compare_all_pairs(
        correct.sum(axis=0) / len(truth), len(truth), correctness=correct.T
    ).correct()
    families = discordance.find_families([p.model for p in predictions])
    return _Full(top, truth, correct, tests, families)


def _answer(full: _Full, group_of: IntegerArray, answers: str) -> _Answers:
    """Score the predictions of all models under a grouping.

    The rules are those of `by_predictions.score_groups`, with masking if `answers` is
    "own".

    Args:
      full: predictions of all models.
      group_of: shape (1000,), the group of each class, −1 if it is left out.
      answers: "all" or "own", as in `Row`.

    Raises:
      UsageError: no image has a true class in a group.
    """
    small = group_of.astype(np.int16)
    true = small[full.truth]
    is_counted = true != LEFT_OUT
    counted = np.flatnonzero(is_counted)
    if not len(counted):
        raise UsageError("keeps none of the classes of the predicted images")
    groups = true[counted]
    top = full.top if is_counted.all() else full.top[counted]
    predicted = small[top[:, 0]]
    undecided = None
    if answers == "own":
        for rank in range(1, top.shape[1]):
            is_left_out = predicted == LEFT_OUT
            predicted[is_left_out] = small[top[:, rank][is_left_out]]
        undecided = predicted == LEFT_OUT
    return _Answers(counted, predicted == groups[:, np.newaxis], undecided, groups)


def _score_recipe(
    full: _Full,
    recipe: Recipe,
    answers: str,
    halves: RandomHalves,
    sizes: Sequence[int],
) -> tuple[Row, FloatArray]:
    """Score a recipe; also return its accuracies, shape (draws, models)."""
    scores = []
    num_draws = len(recipe.draws)
    for number, group_of in enumerate(recipe.draws):
        try:
            draw = _answer(full, group_of, answers)
        except UsageError as error:
            raise UsageError(f"{recipe.name}: {error}") from None
        # Each order of the images is used by one draw, if there are enough.
        numbers = range(number % NUM_HALVES, NUM_HALVES, num_draws)
        scores.append(_score_draw(full, draw, halves, numbers, sizes))
    accuracies = np.stack([score.accuracies for score in scores])
    estimate = ranking.estimate_tau(
        full.tests.accuracies, list(accuracies), families=full.families
    )
    agreement = HalfAgreement(
        tuple(tau for score in scores for tau in score.halves.taus),
        tuple(tau for score in scores for tau in score.halves.ceilings),
    )
    first = recipe.draws[0]
    row = Row(
        name=recipe.name,
        num_groups=recipe.num_groups,
        is_list=recipe.is_list,
        answers=answers,
        drawn_by=recipe.drawn_by,
        num_draws=num_draws,
        num_classes=int(np.count_nonzero(first != LEFT_OUT)),
        num_images=round(float(np.mean([score.num_images for score in scores]))),
        undecided=float(np.mean([score.undecided.mean() for score in scores])),
        undecided_most=float(np.max([score.undecided.max() for score in scores])),
        tau=estimate.tau,
        tau_interval=estimate.interval,
        tau_sd=estimate.deviation,
        ceiling=None,
        ceiling_halves=agreement.ceiling,
        halves_sd=agreement.deviation,
        tau_at={
            n: ranking.mean(score.tau_at.get(n) for score in scores) for n in sizes
        },
        regret=float(np.mean([score.regret for score in scores])),
        tau_if_right=ranking.mean(score.tau_if_right for score in scores),
        tau_balanced=ranking.mean(score.tau_balanced for score in scores),
        tau_halves=agreement.tau,
        top_half_tau=ranking.mean(score.top_half_tau for score in scores),
        resolving_power=ranking.mean(score.resolving_power for score in scores),
    )
    return row, accuracies


def _score_draw(
    full: _Full,
    draw: _Answers,
    halves: RandomHalves,
    numbers: Sequence[int],
    sizes: Sequence[int],
) -> _DrawScore:
    """Compute all statistics of one draw.

    Args:
      full: results of all models over the 1000 classes.
      draw: results of all models under the draw's grouping.
      halves: random orders of the images.
      numbers: numbers of the orders to use.
      sizes: numbers of images at which to compute τ-b.
    """
    num_images = len(draw.counted)
    accuracies = full.tests.accuracies
    whole = full.correct.sum(axis=0, dtype=np.int64)
    right = draw.correct.sum(axis=0, dtype=np.int64)
    tests = significance.compare_all_pairs(
        right / num_images, num_images, correctness=draw.correct.T
    ).correct()
    num_undecided = np.zeros(len(right), np.int64)
    if draw.undecided is not None:
        num_undecided = draw.undecided.sum(axis=0, dtype=np.int64)
    return _DrawScore(
        accuracies=right / num_images,
        num_images=num_images,
        undecided=num_undecided / num_images,
        tau_if_right=ranking.kendall_tau(whole, right + num_undecided)
        if draw.undecided is not None
        else None,
        tau_balanced=ranking.kendall_tau(
            accuracies, balance_groups(draw.groups, draw.correct)
        ),
        halves=halves.compare(draw.counted, draw.correct, numbers),
        tau_at=_vary_images(whole, draw, halves, numbers, sizes),
        top_half_tau=ranking.top_half_tau(whole * 1.0, right * 1.0),
        regret=100 * ranking.top1_regret(accuracies, right * 1.0),
        resolving_power=significance.resolving_power(
            full.tests.decisions, tests.decisions
        ),
    )


def _vary_images(
    whole: IntArray,
    draw: _Answers,
    halves: RandomHalves,
    numbers: Sequence[int],
    sizes: Sequence[int],
) -> dict[int, float | None]:
    """Compute τ-b on random subsets of a draw's images, by their number of images.

    Args:
      whole: shape (models,), number of correct answers over the 1000 classes on all
        images.
      draw: results of all models under the draw's grouping.
      halves: random orders of the images.
      numbers: numbers of the orders to use.
      sizes: numbers of images; those above the draw's number are skipped.
    """
    places = halves.places[np.asarray(numbers)][:, draw.counted]
    total = len(draw.counted)
    taus: dict[int, float | None] = {}
    for size in sizes:
        if size < total:
            last = np.partition(places, size - 1, axis=1)[:, size - 1 : size]
            counts = count_correct(draw.correct, places <= last)
            taus[size] = ranking.mean(
                ranking.kendall_tau(whole, correct) for correct in counts
            )
        elif size == total:
            taus[size] = ranking.kendall_tau(
                whole, draw.correct.sum(axis=0, dtype=np.int64)
            )
    return taus


def is_rankable(row: Row) -> bool:
    """Return whether τ-b is defined and no model has over 2 % undecided images."""
    return row.tau is not None and row.undecided_most <= MAX_UNDECIDED_SHARE


def _choose(
    rows: Sequence[Row],
    results: Sequence[FloatArray],
    whole: FloatArray,
    families: Sequence[str],
) -> dict[str, Recommendation]:
    """Return a recommendation by section, among rankable rows with "all" answers.

    Args:
      rows: all rows.
      results: the accuracies of each row, shape (draws, models).
      whole: shape (models,), accuracies over all classes on all images.
      families: the family of each model.
    """
    candidates: dict[str, list[Candidate]] = {}
    ordered = sorted(
        zip(rows, results, strict=True),
        key=lambda pair: (pair[0].is_list, pair[0].num_groups),
    )
    for row, draws in ordered:
        if is_rankable(row) and row.answers == "all":
            remark = ", below the noise of as many images"
            candidate = Candidate(
                row.name,
                row.tau or 0,
                draws,
                row.num_images,
                "" if row.is_within_noise else remark,
            )
            candidates.setdefault(row.section, []).append(candidate)
    choices = {
        section: recommendation.recommend(whole, members, families=families)
        for section, members in candidates.items()
    }
    return {section: choice for section, choice in choices.items() if choice}


def _rank(rows: Sequence[Row], choices: Mapping[str, Recommendation]) -> list[Row]:
    """Set the ranks of rows, and mark those that are tied with the best."""
    places: dict[tuple[str, str], tuple[int, bool]] = {}
    for section, choice in choices.items():
        tied = {candidate.name for candidate in choice.tied}
        listed = sorted((*choice.tied, *choice.worse), key=lambda c: -c.tau)
        for rank, candidate in enumerate((choice.best, *listed), 1):
            places[section, candidate.name] = rank, candidate.name in tied
    return [
        replace(row, rank=place[0], is_tied=place[1])
        if row.answers == "all" and (place := places.get((row.section, row.name)))
        else row
        for row in rows
    ]


def recommend(table: TrainingFree) -> list[str]:
    """Return sentences on the best rows and on those that are within noise."""
    sentences = [
        f"{section}: {choice.describe('images')}."
        for section, choice in table.choices.items()
    ]
    ranked = sorted((r for r in table.rows if r.rank), key=lambda r: -(r.tau or 0))
    for words, is_within in (("Within", True), ("Below", False)):
        names = [row.title for row in ranked if row.is_within_noise == is_within]
        if names:
            sentences.append(
                f"{words} the noise of as many images of all classes, chosen at "
                f"random: {', '.join(names)}."
            )
    return sentences


def list_limits(table: TrainingFree) -> list[str]:
    """Return sentences on the limitations of the table."""
    return [
        "The models were trained on the 1000 classes and only their answers are "
        "grouped. Groups at random then look best for a trivial reason: nearly every "
        "error crosses groups, so accuracy over groups is accuracy over classes.",
        "Nothing here tests training on few images or on coarse labels: a subset that "
        "scores well may still be too small or too easy to train on.",
        f"τ-b depends on the {len(table.models)} models, which differ more than the "
        "variants that a study usually compares; its interval is over the choice of "
        f"such models, in {table.num_families} families by name. It does not cover the "
        "choice of validation images, which the noise ceiling shows.",
        "Lists of classes are scored on their official validation images, 50 a class, "
        "with answers among all 1000 classes. Top 5 answers do not show which class of "
        "a short list a model prefers when none of the five is in it: own answers "
        "are not ranked with the others, and above "
        f"{MAX_UNDECIDED_SHARE:.0%} undecided images their bounds are too wide to use.",
    ]


def _list_cells(row: Row) -> dict[str, Any]:
    """Return a row's cells by column, rounded so that every machine agrees."""
    low, high = row.tau_interval or (None, None)
    cells = {
        "rank": row.rank,
        "is_tied_with_best": row.is_tied if row.rank else None,
        "recipe": row.name,
        "num_groups": row.num_groups,
        "is_list": row.is_list,
        "answers": row.answers,
        "drawn_by": row.drawn_by,
        "num_draws": row.num_draws,
        "num_classes": row.num_classes,
        "num_images": row.num_images,
        "undecided": row.undecided,
        "undecided_most": row.undecided_most,
        "tau": row.tau,
        "tau_low": low,
        "tau_high": high,
        "tau_sd_draws": row.tau_sd,
        "tau_if_undecided_right": row.tau_if_right,
        "tau_group_balanced": row.tau_balanced,
        "ceiling": row.ceiling,
        "tau_halves": row.tau_halves,
        "ceiling_halves": row.ceiling_halves,
        "ceiling_halves_sd": row.halves_sd,
        "top_half_tau": row.top_half_tau,
        "regret_points": row.regret,
        "resolving_power": row.resolving_power,
        **{f"tau_at_{n}_images": tau for n, tau in row.tau_at.items()},
    }
    return {
        name: round(value, _DIGITS) + 0.0 if isinstance(value, float) else value
        for name, value in cells.items()
    }


def to_csv(table: TrainingFree) -> bytes:
    """Return the content of training_free.csv; undefined values are empty cells."""
    rows = [_list_cells(row) for row in table.rows]
    return csv_tables.to_csv(rows[0], (row.values() for row in rows))


def to_report(table: TrainingFree, *, seed: int) -> bytes:
    """Return the content of training_free.json.

    Args:
      table: the scored recipes.
      seed: seed of the job.
    """
    return to_json({
        "version": 2,
        "seed": seed,
        "models": list(table.models),
        "donors": list(table.donors),
        "num_families": table.num_families,
        "num_images": table.num_images,
        "significant_full": round(table.significant_full, _DIGITS),
        "ceiling_at": {
            str(n): None if tau is None else round(tau, _DIGITS)
            for n, tau in table.ceiling_at.items()
        },
        "recommendation": recommend(table),
        "warnings": list(table.warnings),
        "rows": [_list_cells(row) for row in table.rows],
    })


def summarise(table: TrainingFree) -> Iterator[str]:
    """Yield the recommendations line by line, then the number of unranked rows."""
    yield from recommend(table)
    if num_unranked := sum(row.rank is None for row in table.rows):
        yield (
            f"{num_unranked} of {len(table.rows)} rows are not ranked: their answers "
            "are among the kept classes only, or their τ-b is undefined"
        )
