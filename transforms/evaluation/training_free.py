"""Compare recipes of subsets by the predictions of models trained on all classes.

No models are trained. The models are ranked by their accuracy over a recipe's groups on
the images of its classes. The recipe's score is Kendall's τ-b between this ranking and
the ranking by top-1 accuracy over the 1000 classes on all images. Its noise ceiling is
the τ-b of a ranking on as many images chosen at random.
"""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from transforms import seeds
from transforms.arrays import BoolArray, FloatArray, IntArray, IntegerArray
from transforms.evaluation import discordance, ranking, significance
from transforms.evaluation.by_predictions import (
    MAX_UNDECIDED_SHARE,
    check_same_images,
    warn_of_order,
)
from transforms.evaluation.ranking import Interval
from transforms.evaluation.significance import PairTests
from transforms.grouping.table import LEFT_OUT
from transforms.predictions.reading import Predictions
from transforms.records import UsageError, list_names, to_json

IMAGE_COUNTS = (500, 1_000, 5_000, 10_000, 50_000)
NUM_ORDERS = 40  # random orders of the images: for ceilings, halves and image counts
_DIGITS = 4


class Recipe(NamedTuple):
    """A way to group classes, with one or more random repetitions.

    Attributes:
      name: name of the grouping method or of the list of classes.
      num_groups: N.
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
      num_groups: N.
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
      tau_at: τ-b on a random sample of the recipe's images, by sample size; None if the
        recipe has fewer images.
      top_half_tau: τ-b of the better half of the models.
      regret: accuracy over all classes, in percentage points, lost by selecting the
        recipe's best model instead of the best one.
      resolving_power: share of the pairs that are significant in the full ranking and
        that the recipe decides with the same sign.
      rank: from 1 (best); None if τ-b is undefined, or if more than 2 % of the images
        are undecided for any model.
      is_tied: whether `tau_interval` overlaps the best row's; False for the best row.
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


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingFree:
    """The table of all recipes and their scores.

    Attributes:
      models: names of the ranked models.
      donors: names of the models whose confusion determined groups; not ranked.
      num_families: number of families of the ranked models.
      num_images: number of validation images.
      decided_full: share of the pairs of models that differ significantly over all
        classes and images.
      ceiling_at: τ-b between the rankings on a random sample and on all images, by
        sample size.
      rows: rows in the order of the recipes, "all" answers before "own" answers.
      warnings: limitations of the predictions.
    """

    models: tuple[str, ...]
    donors: tuple[str, ...]
    num_families: int
    num_images: int
    decided_full: float
    ceiling_at: Mapping[int, float | None]
    rows: tuple[Row, ...]
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
    seed: int = 0,
) -> TrainingFree:
    """Score and rank recipes.

    Recipes that leave classes out get a second row, with "own" answers.

    Args:
      predictions: predictions of the ranked models, all of the same images.
      recipes: one or more recipes.
      donors: names of the models whose confusion determined groups.
      seed: seed of the random orders of the images.

    Raises:
      UsageError: there are no predictions, models have different images, or a recipe
        keeps no class of these images.

    Source: this project; models trained on all classes stand in for models trained on
      the groups.
    """
    check_same_images(predictions)
    full = _stack(predictions)
    total = len(full.truth)
    sizes = [n for n in IMAGE_COUNTS if n < total] + [total]
    orders = _Orders(full, seed)
    rows = []
    for recipe in recipes:
        is_partial = any((draw == LEFT_OUT).any() for draw in recipe.draws)
        for answers in ("all", "own") if is_partial else ("all",):
            row = _score_recipe(full, recipe, answers, orders=orders, sizes=sizes)
            rows.append(row)
    ceilings = orders.measure_ceilings({*sizes, *(r.num_images for r in rows)})
    halves = orders.measure_half_ceilings()
    rows = [
        replace(
            row,
            ceiling=ceilings[row.num_images],
            ceiling_halves=_mean(halves[key] for key in row_keys),
        )
        for row, row_keys in zip(rows, orders.requests, strict=True)
    ]
    tests = full.tests
    return TrainingFree(
        models=tuple(p.model for p in predictions),
        donors=tuple(donors),
        num_families=len(set(full.families)),
        num_images=total,
        decided_full=tests.num_decided / tests.num_pairs,
        ceiling_at={n: ceilings[n] for n in sizes},
        rows=tuple(_rank(rows)),
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
    )
    families = tuple(discordance.find_family(p.model) for p in predictions)
    return _Full(top, truth, correct, tests, families)


class _Orders:
    """Random orders of the images, shared by all recipes and their noise ceilings.

    Each order also splits the images into two halves: the first ⌊n/2⌋ and the rest.
    """

    def __init__(self, full: _Full, seed: int) -> None:
        self._correct = full.correct
        self._whole = full.correct.sum(axis=0, dtype=np.int64)
        total = len(full.truth)
        self.half = total // 2
        self.places = np.empty((NUM_ORDERS, total), np.int32)
        for number in range(NUM_ORDERS):
            keys = (f"{number}|{image}" for image in range(total))
            order = np.argsort(seeds.orders(seed, "draw", keys), kind="stable")
            self.places[number, order] = np.arange(total, dtype=np.int32)
        first = _count(full.correct, self.places < self.half)
        self.second_half = self._whole - first  # num_correct: (orders, models)
        self.requests: list[list[tuple[int, int]]] = []  # by row: (order, num_images)

    def measure_ceilings(self, sizes: Iterable[int]) -> dict[int, float | None]:
        """Return the noise ceiling at each number of images.

        This is τ-b between the rankings on the first n images of an order and on all
        images, averaged over the orders; None if it is undefined.
        """
        wanted = sorted(set(sizes))
        taus: dict[int, list[float | None]] = {n: [] for n in wanted}
        for place in self.places:
            counts = self._count_first(place, wanted)
            for n in wanted:
                taus[n].append(_tau(self._whole, counts[n]))
        return {n: _mean(values) for n, values in taus.items()}

    def measure_half_ceilings(self) -> dict[tuple[int, int], float | None]:
        """Return the ceiling of every requested (order, number of images).

        The ceiling is τ-b between the rankings on the first n images of the order and
        on its second half.
        """
        requested = {key for keys in self.requests for key in keys}
        taus: dict[tuple[int, int], float | None] = {}
        for number, place in enumerate(self.places):
            wanted = sorted(n for order, n in requested if order == number)
            counts = self._count_first(place, wanted)
            taus |= {
                (number, n): _tau(self.second_half[number], counts[n]) for n in wanted
            }
        return taus

    def _count_first(
        self, place: IntegerArray, sizes: Sequence[int]
    ) -> dict[int, IntArray]:
        """Count each model's correct answers on the first n images of an order.

        Args:
          place: shape (images,), the position of each image in the order.
          sizes: the numbers n.

        Returns:
          Counts, shape (models,), by n; n includes 0 and the number of all images.
        """
        starts = sorted({0, *sizes} - {len(place)})
        parts = np.add.reduceat(
            self._correct[np.argsort(place)], starts, axis=0, dtype=np.int64
        )
        sums = np.cumsum(parts, axis=0)
        counts = dict(zip([*starts[1:], len(place)], sums, strict=True))
        return counts | {0: np.zeros_like(self._whole)}


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
    *,
    orders: _Orders,
    sizes: Sequence[int],
) -> Row:
    scores = []
    requests: list[tuple[int, int]] = []
    num_draws = len(recipe.draws)
    for number, group_of in enumerate(recipe.draws):
        try:
            draw = _answer(full, group_of, answers)
        except UsageError as error:
            raise UsageError(f"{recipe.name}: {error}") from None
        numbers = range(number % NUM_ORDERS, NUM_ORDERS, num_draws)
        halves = _cut_halves(draw, orders, numbers)
        requests += [key for key, _ in halves]
        scores.append(_score_draw(full, draw, halves, orders, numbers, sizes))
    orders.requests.append(requests)
    taus = [score["tau"] for score in scores if score["tau"] is not None]
    mean_tau = _mean(taus)
    discordant = np.mean([score["discordance"] for score in scores], axis=0)
    interval = discordance.bound_tau(discordant, full.families)
    if mean_tau is None or interval is None:
        interval = None
    else:  # with ties, τ-b may exceed τ
        interval = Interval(min(interval.low, mean_tau), max(interval.high, mean_tau))
    first = recipe.draws[0]

    def average(name: str) -> float | None:
        return _mean(score[name] for score in scores)

    return Row(
        name=recipe.name,
        num_groups=recipe.num_groups,
        is_list=recipe.is_list,
        answers=answers,
        drawn_by=recipe.drawn_by,
        num_draws=num_draws,
        num_classes=int(np.count_nonzero(first != LEFT_OUT)),
        num_images=round(float(np.mean([score["num_images"] for score in scores]))),
        undecided=float(np.mean([score["undecided"].mean() for score in scores])),
        undecided_most=float(np.max([score["undecided"].max() for score in scores])),
        tau=mean_tau,
        tau_interval=interval,
        tau_sd=float(np.std(taus, ddof=1)) if len(taus) > 1 else None,
        ceiling=None,
        ceiling_halves=None,
        tau_at={n: _mean(score["tau_at"].get(n) for score in scores) for n in sizes},
        regret=float(np.mean([score["regret"] for score in scores])),
        tau_if_right=average("tau_if_right"),
        tau_balanced=average("tau_balanced"),
        tau_halves=average("tau_halves"),
        top_half_tau=average("top_half_tau"),
        resolving_power=average("resolving_power"),
    )


_Halves = list[tuple[tuple[int, int], IntArray]]


def _cut_halves(draw: _Answers, orders: _Orders, numbers: Sequence[int]) -> _Halves:
    """Count correct answers on a draw's images in the first half of some orders.

    Returns:
      For each order, the key (order, number of the draw's images in the half) and the
      number of correct answers on these images, shape (models,).
    """
    inside = orders.places[np.asarray(numbers)][:, draw.counted] < orders.half
    counts = _count(draw.correct, inside)
    return [
        ((number, int(count)), correct)
        for number, count, correct in zip(
            numbers, inside.sum(axis=1), counts, strict=True
        )
    ]


def _score_draw(
    full: _Full,
    draw: _Answers,
    halves: _Halves,
    orders: _Orders,
    numbers: Sequence[int],
    sizes: Sequence[int],
) -> dict[str, Any]:
    """Compute all statistics of one draw, by name.

    Args:
      full: results of all models over the 1000 classes.
      draw: results of all models under the draw's grouping.
      halves: result of `_cut_halves` for `numbers`.
      orders: random orders of the images.
      numbers: numbers of the orders to use.
      sizes: numbers of images at which to compute τ-b.
    """
    num_images = len(draw.counted)
    accuracies = full.tests.accuracies
    whole = full.correct.sum(axis=0, dtype=np.int64)
    right = draw.correct.sum(axis=0, dtype=np.int64)
    tests = significance.compare_all_pairs(
        right / num_images, num_images, correctness=draw.correct.T
    )
    num_undecided = np.zeros(len(right), np.int64)
    if draw.undecided is not None:
        num_undecided = draw.undecided.sum(axis=0, dtype=np.int64)
    other_halves = orders.second_half[np.asarray(numbers)]
    return {
        "num_images": num_images,
        "undecided": num_undecided / num_images,
        "discordance": discordance.find_discordance(whole * 1.0, right * 1.0),
        "tau": _tau(whole, right),
        "tau_if_right": _tau(whole, right + num_undecided)
        if draw.undecided is not None
        else None,
        "tau_balanced": ranking.kendall_tau(accuracies, _balance(draw)),
        "tau_halves": _mean(
            _tau(other, correct)
            for other, (_, correct) in zip(other_halves, halves, strict=True)
        ),
        "tau_at": _vary_images(whole, draw, orders, numbers, sizes),
        "top_half_tau": ranking.top_half_tau(whole * 1.0, right * 1.0),
        "regret": 100 * ranking.top1_regret(accuracies, right * 1.0),
        "resolving_power": significance.resolving_power(
            full.tests.decisions, tests.decisions
        ),
    }


def _vary_images(
    whole: IntArray,
    draw: _Answers,
    orders: _Orders,
    numbers: Sequence[int],
    sizes: Sequence[int],
) -> dict[int, float | None]:
    """Compute τ-b on random subsets of a draw's images, by their number of images.

    Args:
      whole: shape (models,), number of correct answers over the 1000 classes on all
        images.
      draw: results of all models under the draw's grouping.
      orders: random orders of the images.
      numbers: numbers of the orders to use.
      sizes: numbers of images; those above the draw's number are skipped.
    """
    places = orders.places[np.asarray(numbers)][:, draw.counted]
    total = len(draw.counted)
    taus: dict[int, float | None] = {}
    for size in sizes:
        if size < total:
            last = np.partition(places, size - 1, axis=1)[:, size - 1 : size]
            counts = _count(draw.correct, places <= last)
            taus[size] = _mean(_tau(whole, correct) for correct in counts)
        elif size == total:
            taus[size] = _tau(whole, draw.correct.sum(axis=0, dtype=np.int64))
    return taus


def _count(correct: BoolArray, chosen: BoolArray) -> IntArray:
    """Count correct answers on chosen images, shape (choices, models).

    float32 represents all integers up to 2²⁴ exactly, so that the sums are exact.

    Args:
      correct: shape (images, models), whether each answer is correct.
      chosen: shape (choices, images), whether each choice includes each image.
    """
    sums = chosen.astype(np.float32) @ correct.astype(np.float32)
    return sums.astype(np.int64)


def _balance(draw: _Answers) -> FloatArray:
    """Return each model's unweighted mean accuracy over groups, shape (models,)."""
    order = np.argsort(draw.groups, kind="stable")
    _, starts, sizes = np.unique(
        draw.groups[order], return_index=True, return_counts=True
    )
    right = np.add.reduceat(draw.correct[order], starts, axis=0, dtype=np.int64)
    balanced: FloatArray = np.round((right / sizes[:, np.newaxis]).mean(axis=0), 12)
    return balanced


def _tau(first: IntArray, second: IntArray) -> float | None:
    return ranking.kendall_tau(first.astype(np.float64), second.astype(np.float64))


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def is_rankable(row: Row) -> bool:
    """Return whether τ-b is defined and no model has over 2 % undecided images."""
    return row.tau is not None and row.undecided_most <= MAX_UNDECIDED_SHARE


def _rank(rows: Sequence[Row]) -> list[Row]:
    """Set the ranks of rows by τ-b, and mark those that are tied with the best."""
    ranked = sorted(
        (number for number, row in enumerate(rows) if is_rankable(row)),
        key=lambda number: (-(rows[number].tau or 0), number),
    )
    result = list(rows)
    for rank, number in enumerate(ranked, 1):
        is_tied = rank > 1 and overlap(rows[number], rows[ranked[0]])
        result[number] = replace(rows[number], rank=rank, is_tied=is_tied)
    return result


def overlap(row: Row, best: Row) -> bool:
    """Return whether the interval of a row reaches that of the best row.

    If an interval is missing, they count as overlapping. Overlap is a conservative test
    of whether two rows differ, since all rows share the same models.
    """
    if row.tau_interval is None or best.tau_interval is None:
        return True
    return row.tau_interval.high >= best.tau_interval.low


def recommend(table: TrainingFree) -> list[str]:
    """Return sentences that name the best method for each N and the best list.

    They also name ties, and recipes that are worse than random images.
    """
    ranked = sorted((r for r in table.rows if r.rank), key=lambda r: r.rank or 0)
    methods = [row for row in ranked if not row.is_list and row.answers == "all"]
    sentences = [
        _describe_best(f"N = {n}", [row for row in methods if row.num_groups == n])
        for n in dict.fromkeys(sorted(row.num_groups for row in methods))
    ]
    lists = [row for row in ranked if row.is_list and row.answers == "all"]
    if lists:
        sentences.append(_describe_best("Published lists of classes", lists))
    below = [
        f"{row.title} ({_show(row.tau)} of {_show(row.ceiling)})"
        for row in lists + methods
        if row.ceiling is not None and row.num_images < table.num_images
        if row.tau_interval is not None and row.tau_interval.high < row.ceiling
    ]
    if below:
        sentences.append(
            "Worse than as many images of all classes, chosen at random, since the "
            f"interval does not reach the noise ceiling: {', '.join(below)}."
        )
    return sentences


def list_limits(table: TrainingFree) -> list[str]:
    """Return sentences on the limitations of the table."""
    return [
        "The models were trained on the 1000 classes and only their answers are "
        "grouped. Groups at random then look best for a trivial reason: nearly every "
        "error crosses groups, so that accuracy over groups is accuracy over classes.",
        "Nothing here tests training on few images or on coarse labels: a subset that "
        "scores well may still be too small or too easy to train on.",
        f"τ-b depends on the {len(table.models)} models, which differ more than the "
        "variants that a study usually compares; its interval is over the choice of "
        f"such models, in {table.num_families} families by name. It does not cover the "
        "choice of validation images, which the noise ceiling shows.",
        "Lists of classes are scored on their official validation images, 50 a class, "
        "with answers among all 1000 classes. Top 5 answers do not show which class of "
        "a short list a model prefers when none of the five is in it: own answers "
        f"above {MAX_UNDECIDED_SHARE:.0%} undecided images have bounds but no rank.",
    ]


def _describe_best(what: str, rows: Sequence[Row]) -> str:
    best, *others = rows
    ties = [f"{r.name} ({_show(r.tau)})" for r in others if overlap(r, best)]
    worse = [f"{r.name} ({_show(r.tau)})" for r in others if not overlap(r, best)]
    sentence = f"{what}: {best.name} has the highest τ-b, {_show(best.tau)}"
    if ties:
        sentence += f"; its interval does not separate it from {', '.join(ties)}"
    if worse:
        sentence += f"; separated from it: {', '.join(worse)}"
    return f"{sentence}."


def _show(tau: float | None) -> str:
    return "-" if tau is None else f"{tau:.3f}"


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
    text = io.StringIO()
    rows = [_list_cells(row) for row in table.rows]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def to_report(table: TrainingFree, *, seed: int) -> bytes:
    """Return the content of training_free.json.

    Args:
      table: the scored recipes.
      seed: seed of the job.
    """
    return to_json({
        "version": 1,
        "seed": seed,
        "models": list(table.models),
        "donors": list(table.donors),
        "num_families": table.num_families,
        "num_images": table.num_images,
        "decided_full": round(table.decided_full, _DIGITS),
        "ceiling_at": {
            str(n): None if tau is None else round(tau, _DIGITS)
            for n, tau in table.ceiling_at.items()
        },
        "recommendation": recommend(table),
        "warnings": list(table.warnings),
        "rows": [_list_cells(row) for row in table.rows],
    })


def summarize(table: TrainingFree) -> Iterator[str]:
    """Yield the recommendations line by line, then the number of unranked rows."""
    yield from recommend(table)
    if num_unranked := sum(row.rank is None for row in table.rows):
        yield (
            f"{num_unranked} of {len(table.rows)} rows are not ranked: more than "
            f"{MAX_UNDECIDED_SHARE:.0%} of the images have no kept class among the "
            "stored answers of a model"
        )
