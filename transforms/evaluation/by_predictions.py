"""Score groupings by the predictions of trained models, without training any.

Each predicted class is converted to its group and compared with the true group.
`score_groupings` computes all statistics of a grouping; `evaluate_predictions` uses
them for the evaluate job, `compare_groupings` and `format_comparison` for the table
that `pipelines.group --compare` prints.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from transforms.arrays import BoolArray, FloatArray, IntegerArray
from transforms.evaluation import (
    discordance,
    ranking,
    recommendation,
    significance,
)
from transforms.evaluation.ceilings import (
    HalfAgreement,
    RandomHalves,
    is_within_noise,
)
from transforms.evaluation.discordance import Interval
from transforms.evaluation.ranking import PairAgreement, RankAgreement
from transforms.evaluation.recommendation import Candidate
from transforms.evaluation.significance import PairTests
from transforms.grouping import table as groups
from transforms.grouping.table import LEFT_OUT, GroupSizes
from transforms.labels import classes
from transforms.predictions.chance import count_pairs, find_problem
from transforms.predictions.reading import NUM_CLASSES, Predictions
from transforms.records import UsageError, format_percent, list_names

MAX_UNDECIDED_SHARE = 0.02  # above it, the top 5 predictions do not suffice
NEEDED_SHARES = (0.5, 0.8, 0.9, 0.95)
_SHOWN = 10


@dataclass(frozen=True, eq=False)
class GroupedCorrectness:
    """Per-image correctness of one model under one grouping.

    Attributes:
      counted: shape (images,), whether an image's true class is in a group; images
        whose class is left out are not counted.
      correct: shape (counted images,), whether the predicted group is correct.
      num_undecided: number of counted images without a grouped class in the model's
        top 5; they count as wrong. 0 without masking; see `score_groups`.
    """

    counted: BoolArray
    correct: BoolArray
    num_undecided: int

    @property
    def num_images(self) -> int:
        """The number of counted images, at least one."""
        return len(self.correct)

    @property
    def grouped_accuracy(self) -> float:
        """The share of the counted images whose predicted group is correct, 0 to 1."""
        return int(self.correct.sum()) / self.num_images

    @property
    def undecided_share(self) -> float:
        """The share of the counted images that are undecided, 0 to 1."""
        return self.num_undecided / self.num_images


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupScore:
    """All statistics of one grouping; models are in the order of the predictions.

    Attributes:
      name: name of the grouping.
      shape: statistics of the group sizes.
      is_masked: whether predictions are restricted to classes in groups; see `masked`
        in `score_groups`.
      num_images: number of images whose true class is in a group.
      num_right: shape (models,), number of these images with the correct group.
      undecided: shape (models,), share of these images without a grouped class in the
        model's top 5.
      tests: significance tests of the grouped accuracies, with Holm's correction.
      ranks: agreement of the grouped accuracies with the top-1 accuracies over the
        1000 classes on all images.
      tau_if_right: τ-b if undecided images counted as correct; None without masking.
      tau_balanced: as `ranks.tau`, with the unweighted mean of a model's accuracies
        within each group.
      ceiling: τ-b between the top-1 accuracies over the 1000 classes on `num_images`
        random images and on all images, which include the former.
      halves: agreement with the 1000 classes on disjoint halves of the images.
      tau_same_images: τ-b between the grouped accuracies and the top-1 accuracies over
        the 1000 classes on the same images, which isolates the effect of grouping.
      tau_same_images_interval: 95 % confidence interval of `tau_same_images`.
      pairs: agreement on significant pairs with the 1000 classes on all images.
      needed: for each share of the pairs that are significant on all images, the number
        of validation images needed for them to be significant under the grouping; None
        if no number suffices or no pair is significant.
      warnings: limitations of these statistics.
    """

    name: str
    shape: GroupSizes
    is_masked: bool
    num_images: int
    num_right: IntegerArray
    undecided: FloatArray
    tests: PairTests
    ranks: RankAgreement
    tau_if_right: float | None
    tau_balanced: float | None
    ceiling: float | None
    halves: HalfAgreement
    tau_same_images: float | None
    tau_same_images_interval: Interval | None
    pairs: PairAgreement
    needed: Mapping[float, int | None]
    warnings: tuple[str, ...]

    @property
    def title(self) -> str:
        """The grouping's name, followed by "own classes" if predictions are masked."""
        return f"{self.name}, own classes" if self.is_masked else self.name

    @property
    def is_rankable(self) -> bool:
        """Whether τ-b is defined and no model has over 2 % undecided images."""
        most = float(self.undecided.max())
        return self.ranks.tau is not None and most <= MAX_UNDECIDED_SHARE


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionEvaluation:
    """The scores of all groupings.

    Attributes:
      models: names of the models.
      num_images: number of images that were predicted.
      full: significance tests of the top-1 accuracies over the 1000 classes, on all
        images, with Holm's correction.
      scores: one score per grouping, plus a masked score for each grouping that leaves
        classes out, sorted by τ-b, best first; those without a rank come last.
      warnings: limitations of all scores.
    """

    models: tuple[str, ...]
    num_images: int
    full: PairTests
    scores: tuple[GroupScore, ...]
    warnings: tuple[str, ...]


class Confusion(Protocol):
    """A confusion matrix over the 1000 classes."""

    def captured(self, labels: IntegerArray, /) -> float:
        """Return the share of the errors that stay within groups, 0 to 1.

        `labels` is the group of each class, shape (1000,), −1 if it is left out.
        """


class Comparison(NamedTuple):
    """One grouping in a comparison of groupings.

    Attributes:
      score: all statistics of the grouping.
      captured: share of a confusion matrix's errors that stay within groups, 0 to 1;
        None without a matrix.
      notes: limitations of the statistics.
    """

    score: GroupScore
    captured: float | None
    notes: tuple[str, ...]


class _FullSet(NamedTuple):
    """Results of all models over the 1000 classes, on all images.

    Attributes:
      correct: shape (models, images), whether the top-1 class is correct.
      tests: significance tests of all pairs of models.
      halves: random halves of the images.
      families: the family of each model.
    """

    correct: BoolArray
    tests: PairTests
    halves: RandomHalves
    families: tuple[str, ...]


def per_image_correctness(predictions: Predictions) -> BoolArray:
    """Return whether a model's top-1 class is correct, shape (images,)."""
    return np.asarray(predictions.top5[:, 0] == predictions.truth)


def score_groups(
    predictions: Predictions, group_of: IntegerArray, *, masked: bool
) -> GroupedCorrectness:
    """Score the predictions of one model by group instead of class.

    Args:
      predictions: predictions of one model.
      group_of: shape (1000,), the group of each class, −1 if it is left out.
      masked: whether to ignore predicted classes that are in no group, as if the model
        had been trained on the grouped classes only: the first grouped class of the
        top 5 is the prediction, and an image without one is undecided. If False, the
        top-1 class is the prediction, and it is wrong if it is in no group. Both give
        the same result if no class is left out.

    Returns:
      Correctness on the images whose true class is in a group.

    Raises:
      UsageError: no image has a true class in a group.
      ValueError: `group_of` has another shape.

    Source: this project; masking is limited to the top 5 classes, since only these are
      stored.
    """
    if group_of.shape != (NUM_CLASSES,):
        raise ValueError(f"group_of has shape {group_of.shape}, not ({NUM_CLASSES},)")
    true = group_of[predictions.truth]
    counted = true != LEFT_OUT
    if not counted.any():
        raise UsageError(
            f"{predictions.model}: the groups contain none of its images' classes; "
            "score a grouping of these classes"
        )
    groups = group_of[predictions.top5[counted]]
    if not masked:
        return GroupedCorrectness(counted, groups[:, 0] == true[counted], 0)
    is_inside = groups != LEFT_OUT
    first = is_inside.argmax(axis=1)  # 0 without any: then that group is LEFT_OUT
    predicted = groups[np.arange(len(groups)), first]
    num_undecided = int((~is_inside.any(axis=1)).sum())
    return GroupedCorrectness(counted, predicted == true[counted], num_undecided)


def make_group_of(label_of: Mapping[str, int]) -> IntegerArray:
    """Return the group of each class as an array.

    Args:
      label_of: labels by wnid, e.g. `GroupTable.label_of`; wnids outside the 1000
        ImageNet classes are ignored, since no model predicts them.

    Returns:
      Shape (1000,), the label of each class by class index, −1 if it is left out.
    """
    group_of = np.full(NUM_CLASSES, LEFT_OUT, dtype=np.int64)
    for info in classes.load_classes():
        group_of[info.class_index] = label_of.get(info.wnid, LEFT_OUT)
    return group_of


def check_same_images(predictions: Sequence[Predictions]) -> None:
    """Check that all models predict the same images in the same order.

    Raises:
      UsageError: there are no predictions, or models have different images, true
        classes or orders.
    """
    if not predictions:
        raise UsageError("no predictions: give the files of at least one model")
    first = predictions[0]
    others = [
        p.model
        for p in predictions
        if p.keys != first.keys or not np.array_equal(p.truth, first.truth)
    ]
    if others:
        raise UsageError(
            f"predictions of {', '.join(others[:_SHOWN])} are of other images than "
            f"those of {first.model}; compare models on the same images in the same "
            "order"
        )


def score_groupings(
    predictions: Sequence[Predictions],
    groupings: Sequence[tuple[str, IntegerArray, bool]],
    *,
    seed: int,
) -> tuple[PairTests, list[GroupScore]]:
    """Compute all statistics of each grouping.

    Args:
      predictions: predictions of at least one model, all of the same images.
      groupings: for each grouping, its name, the group of each class (shape (1000,), −1
        if it is left out), and `masked` as in `score_groups`.
      seed: seed of the random halves of the images.

    Returns:
      The significance tests over the 1000 classes, and one score per grouping in the
      order given.

    Raises:
      UsageError: there are no predictions, models have different images, or a grouping
        contains no class of these images.

    Source: this project. Models trained on all 1000 classes serve as proxies for models
      trained on the groups.
    """
    check_same_images(predictions)
    correct = np.stack([per_image_correctness(p) for p in predictions])
    tests = significance.compare_all_pairs(
        correct.mean(axis=1), correct.shape[1], correctness=correct
    ).correct()
    full = _FullSet(
        correct,
        tests,
        RandomHalves(correct.T, seed=seed),
        discordance.find_families([p.model for p in predictions]),
    )
    scores = []
    for name, group_of, is_masked in groupings:
        try:
            grouped = [score_groups(p, group_of, masked=is_masked) for p in predictions]
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
        _, sizes = np.unique(group_of[group_of != LEFT_OUT], return_counts=True)
        score = _score_grouping(
            grouped,
            full,
            name=name,
            sizes=groups.measure_sizes(sizes.tolist()),
            true_groups=group_of[predictions[0].truth[grouped[0].counted]],
            is_masked=is_masked,
            warnings=tuple(_warn_of_undecided(predictions, grouped)),
        )
        scores.append(score)
    return tests, scores


def _score_grouping(
    grouped: Sequence[GroupedCorrectness],
    full: _FullSet,
    *,
    name: str,
    sizes: GroupSizes,
    true_groups: IntegerArray,
    is_masked: bool,
    warnings: tuple[str, ...],
) -> GroupScore:
    correct = np.stack([model.correct for model in grouped])
    accuracies = np.array([model.grouped_accuracy for model in grouped])
    num_images = correct.shape[1]
    tests = significance.compare_all_pairs(
        accuracies, num_images, correctness=correct
    ).correct()
    counted = grouped[0].counted
    same_images = ranking.estimate_tau(
        full.correct[:, counted].mean(axis=1), [accuracies], families=full.families
    )
    whole, right = full.tests.accuracies, correct.sum(axis=1)
    undecided = np.array([model.num_undecided for model in grouped])
    halves = full.halves.compare(np.flatnonzero(counted), correct.T)
    return GroupScore(
        name=name,
        shape=sizes,
        is_masked=is_masked,
        num_images=num_images,
        num_right=right,
        undecided=undecided / num_images,
        tests=tests,
        ranks=ranking.compare_ranks(whole, accuracies, families=full.families),
        tau_if_right=ranking.kendall_tau(whole, (right + undecided) / num_images)
        if is_masked
        else None,
        tau_balanced=ranking.kendall_tau(whole, balance_groups(true_groups, correct.T)),
        ceiling=full.halves.measure_overlapping([num_images])[num_images],
        halves=halves,
        tau_same_images=same_images.tau,
        tau_same_images_interval=same_images.interval,
        pairs=ranking.compare_pairs(full.tests, tests, ceiling=halves.ceiling),
        needed={
            share: significance.images_needed(
                correct, full.tests.decisions, share=share
            )
            for share in NEEDED_SHARES
        },
        warnings=warnings,
    )


def balance_groups(groups: IntegerArray, correct: BoolArray) -> FloatArray:
    """Compute each model's mean of the accuracies within groups, shape (models,).

    Args:
      groups: shape (images,), true groups.
      correct: shape (images, models), whether each prediction is correct.
    """
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    right = np.add.reduceat(correct[order], starts, axis=0, dtype=np.int64)
    balanced: FloatArray = np.round((right / sizes[:, np.newaxis]).mean(axis=0), 12)
    return balanced


def _warn_of_undecided(
    predictions: Sequence[Predictions], grouped: Sequence[GroupedCorrectness]
) -> Iterator[str]:
    """Yield one warning if any model has too many undecided images."""
    shares = {
        p.model: model.undecided_share
        for p, model in zip(predictions, grouped, strict=True)
        if model.undecided_share > MAX_UNDECIDED_SHARE
    }
    if shares:
        worst = max(shares, key=lambda model: shares[model])
        yield (
            f"{len(shares)} of {len(grouped)} models have no grouped class in their "
            f"top 5 for more than {MAX_UNDECIDED_SHARE:.0%} of the images (most "
            f"{worst}, {shares[worst]:.1%}), so τ-b has two bounds, with these "
            "images as wrong and as right, and no rank"
        )


def warn_of_order(predictions: Sequence[Predictions]) -> Iterator[str]:
    """Yield a warning for each model at chance or with classes in a wrong order."""
    for p in predictions:
        counts = count_pairs(p.truth, p.top5[:, 0], NUM_CLASSES)
        if problem := find_problem(counts, len(p.truth), 1 / p.num_outputs):
            yield f"{p.model} {problem}"


def warn_of_circularity(
    predictions: Sequence[Predictions], confusion_models: Sequence[str] | None
) -> Iterator[str]:
    """Yield warnings if the confusion of ranked models determined the groups.

    If it is unknown which models determined the groups, a warning says so.

    Args:
      predictions: predictions of the ranked models.
      confusion_models: models whose confusion determined the groups; empty if they are
        unknown; None if no confusion was used.
    """
    if confusion_models is None:
        return
    if not confusion_models:
        yield (
            "the groups are made from the confusion of unknown models; rank none of "
            "them on the same images"
        )
    if ranked := sorted({p.model for p in predictions} & set(confusion_models)):
        yield (
            f"the groups are made from the confusion of {list_names(ranked)}, ranked "
            "here: on the same images the groups forgive the errors of these models; "
            "leave them out, or make the groups from other models or images"
        )


def evaluate_predictions(
    predictions: Sequence[Predictions],
    tables: Mapping[str, IntegerArray],
    *,
    confusion_models: Mapping[str, Sequence[str]] | None = None,
    seed: int,
) -> PredictionEvaluation:
    """Evaluate how well models are ranked by their accuracies over groups.

    Groupings that leave classes out are scored without and with masking.

    Args:
      predictions: predictions of at least three models, all of the same images.
      tables: by name of the grouping, the group of each class, shape (1000,), −1 if it
        is left out.
      confusion_models: by name of the grouping, the models whose confusion determined
        the groups (empty if unknown); groupings without an entry did not use confusion.
      seed: seed of the random halves of the images.

    Raises:
      UsageError: there are too few models, models have different images, or a grouping
        contains no class of these images.
    """
    check_same_images(predictions)
    if len(predictions) < ranking.MIN_MODELS:
        raise UsageError(
            f"--predictions: {len(predictions)} models; a ranking needs "
            f"{ranking.MIN_MODELS} or more"
        )
    try:
        full, scores = score_groupings(predictions, _list_groupings(tables), seed=seed)
    except UsageError as error:
        raise UsageError(f"--groups {error}") from None
    return PredictionEvaluation(
        models=tuple(p.model for p in predictions),
        num_images=len(predictions[0].truth),
        full=full,
        scores=tuple(sort_scores(scores)),
        warnings=(
            *warn_of_order(predictions),
            *(
                f"{name}: {warning}"
                for name, models in (confusion_models or {}).items()
                for warning in warn_of_circularity(predictions, models)
            ),
            *(
                f"{score.name}, own classes only: {warning}"
                for score in scores
                for warning in score.warnings
            ),
        ),
    )


def _list_groupings(
    tables: Mapping[str, IntegerArray],
) -> list[tuple[str, IntegerArray, bool]]:
    """List each grouping without masking, and with it if classes are left out."""
    return [
        (name, group_of, is_masked)
        for name, group_of in tables.items()
        for is_masked in ((False, True) if (group_of == LEFT_OUT).any() else (False,))
    ]


def compare_groupings(
    predictions: Sequence[Predictions],
    tables: Mapping[str, IntegerArray],
    *,
    confusion: Confusion | None = None,
    confusion_models: Mapping[str, Sequence[str]] | None = None,
    seed: int,
) -> tuple[PairTests, list[Comparison]]:
    """Compare groupings by how well their grouped accuracies rank the models.

    Args:
      predictions: predictions of at least one model, all of the same images.
      tables: by name of the grouping, the group of each class, shape (1000,), −1 if it
        is left out.
      confusion: confusion matrix to measure the share of errors within groups; None
        omits this share.
      confusion_models: as in `evaluate_predictions`.
      seed: seed of the random halves of the images.

    Returns:
      The tests over the 1000 classes, and one comparison per table, best first; two
      for a table that leaves classes out.

    Raises:
      UsageError: there are no predictions, models have different images, or a grouping
        contains no class of these images.
    """
    full, scores = score_groupings(predictions, _list_groupings(tables), seed=seed)
    models_of = confusion_models or {}
    unknown = ["captured is `-` without a confusion matrix; give --confusion FILE"]
    return full, [
        Comparison(
            score,
            None if confusion is None else confusion.captured(tables[score.name]),
            (
                *_find_notes(score),
                *score.warnings,
                *(unknown if confusion is None else ()),
                *(
                    f"warning: {warning}"
                    for warning in warn_of_circularity(
                        predictions, models_of.get(score.name)
                    )
                ),
            ),
        )
        for score in sort_scores(scores)
    ]


def sort_scores(scores: Sequence[GroupScore]) -> list[GroupScore]:
    """Sort scores by τ-b, best first; those without a rank come last."""
    return sorted(
        scores, key=lambda score: (not score.is_rankable, -(score.ranks.tau or 0))
    )


def _find_notes(score: GroupScore) -> Iterator[str]:
    num_models = score.ranks.num_models
    if num_models < ranking.MIN_MODELS:
        yield (
            f"{num_models} of at least {ranking.MIN_MODELS} models: "
            "too few for a ranking and for a confidence interval of tau, so these "
            "figures are `-`; give --predictions of more models"
        )
    elif score.tau_same_images is None:
        yield "all models have the same accuracy, so tau is undefined"
    if score.pairs.resolving_power is None:
        yield "no two models differ significantly on all images"


_LEGEND = {
    "grouping": "sorted by tau, best first",
    "groups": "number of groups",
    "classes": "number of classes in groups",
    "sizes": "classes of the smallest, median and largest group",
    "effective": "effective number of groups: fewer if their sizes are unequal",
    "captured": "share of the confusion between classes that stays within groups",
    "images": "number of validation images of these classes",
    "tau": "Kendall's tau-b of the models' accuracies over groups with those over the "
    "1000 classes on all images; for own classes, undecided images as wrong/as right",
    "95 %": "confidence interval of tau over the choice of models",
    "same": "tau-b with the 1000 classes on the same images",
    "balanced": "tau-b if all groups have the same weight",
    "halves": "tau-b with the 1000 classes on a half of the images that the grouping "
    "does not use",
    "ceiling": "`halves` for the 1000 classes on as many random images",
    "resolving": "share of the pairs of models that differ significantly over the 1000 "
    "classes and also do so, in the same order, over groups",
    "regret": "accuracy lost by choosing the model that is best over groups",
    "undecided": "share of the images without a grouped class in the top 5",
}


def format_comparison(rows: Sequence[Comparison], *, advice: Sequence[str] = ()) -> str:
    """Format comparisons as a plain-text table with notes, legend and recommendation.

    Columns that are undefined in all rows are omitted.

    Args:
      rows: the comparisons, in the order of the table.
      advice: sentences of the recommendation.
    """
    notes: dict[str, list[str]] = {}  # names of groupings by note
    for row in rows:
        for note in row.notes:
            notes.setdefault(note, []).append(row.score.title)
    lines = []
    for note, names in notes.items():
        is_shared = 1 < len(names) == len(rows)
        lines += [note] if is_shared else [f"{name}: {note}" for name in names]
    cells = [_format_row(row) for row in rows]
    return recommendation.format_table(_LEGEND, cells, notes=lines, advice=advice)


def advise(
    full: PairTests, scores: Sequence[GroupScore], models: Sequence[str]
) -> list[str]:
    """Recommend a grouping in sentences.

    Args:
      full: tests of the top-1 accuracies over the 1000 classes.
      scores: scores of the groupings.
      models: names of the models.

    Returns:
      The sentences; none with fewer than three models.
    """
    if len(models) < ranking.MIN_MODELS:
        return []
    choice = recommendation.recommend(
        full.accuracies,
        [
            Candidate(
                score.title,
                score.ranks.tau or 0,
                score.num_right[np.newaxis] / score.num_images,
                score.num_images,
                _describe_noise(score.halves, score.num_images),
            )
            for score in scores
            if score.is_rankable
        ],
        families=discordance.find_families(models),
    )
    if choice is None:
        return ["none, since no grouping can be ranked."]
    return [
        f"{choice.describe('images')}.",
        "The models were trained on the single classes: this says nothing about "
        "training on groups, and groups of unlike classes have an advantage.",
        *(f"{warning}." for warning in ranking.warn_of_few(len(models))),
    ]


def _describe_noise(halves: HalfAgreement, num_images: int) -> str:
    if halves.tau is None or halves.ceiling is None:
        return ""
    if is_within_noise(halves.tau, halves.ceiling, halves.deviation):
        return f", which keeps the ranking within the noise of {num_images:,} images"
    return (
        f", below the noise of {num_images:,} images (on other images {halves.tau:.3f} "
        f"of {halves.ceiling:.3f})"
    )


def _format_row(row: Comparison) -> tuple[str, ...]:
    score, sizes = row.score, row.score.shape
    tau, interval = _tau(score.ranks.tau), score.ranks.tau_interval
    if score.is_masked:
        tau += f"/{_tau(score.tau_if_right)}"
    return (
        score.title,
        str(sizes.num_groups),
        str(sizes.num_classes),
        f"{sizes.smallest}/{sizes.median:g}/{sizes.largest}",
        f"{sizes.effective_groups:.1f}",
        format_percent(row.captured),
        str(score.num_images),
        tau,
        f"{_tau(interval.low)}…{_tau(interval.high)}"
        if interval is not None and score.is_rankable
        else "-",
        _tau(score.tau_same_images),
        _tau(score.tau_balanced),
        _tau(score.halves.tau),
        _tau(score.halves.ceiling),
        format_percent(score.pairs.resolving_power),
        format_percent(score.ranks.regret, 2),
        format_percent(float(score.undecided.mean())),
    )


def _tau(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
