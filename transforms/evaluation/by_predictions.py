"""A model's predictions and a grouping → on which images its group is right."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from transforms.arrays import BoolArray, FloatArray, IntegerArray
from transforms.evaluation import ranking, significance
from transforms.evaluation.ranking import PairAgreement, RankAgreement
from transforms.evaluation.significance import PairTests, SignArray
from transforms.grouping.table import LEFT_OUT
from transforms.labels import classes
from transforms.predictions.reading import NUM_CLASSES, Predictions
from transforms.records import UsageError

MAX_UNDECIDED_SHARE = 0.02  # above it the five classes tell too little


@dataclass(frozen=True, eq=False)
class Score:
    """How one model does under one grouping.

    Attributes:
      counted: shape (images,), whether an image's class is in a group. It is the same
        for all models of the same images, so that their `correct` can be paired.
      correct: shape (counted images,), whether the group is right.
      num_undecided: of the counted images, how many have none of the five classes in
        a group; they are not correct.
    """

    counted: BoolArray
    correct: BoolArray
    num_undecided: int

    @property
    def num_images(self) -> int:
        """How many images are counted; at least one."""
        return len(self.correct)

    @property
    def accuracy(self) -> float:
        """The share of the counted images that are right, 0 to 1."""
        return int(self.correct.sum()) / self.num_images

    @property
    def undecided_share(self) -> float:
        """The share of the counted images that are undecided, 0 to 1."""
        return self.num_undecided / self.num_images


def score(predictions: Predictions, group_of: IntegerArray, *, masked: bool) -> Score:
    """Tell on which images a model's group is right: g(predicted) = g(true).

    Args:
      predictions: of one model.
      group_of: shape (1000,), the group of each class, −1 where it is left out.
      masked: whether the model may answer with grouped classes only, as one would that
        had seen no other: the first such of the five counts, and an image without any
        is undecided. Else the likeliest of all classes counts, and one that is left
        out is wrong. Where no class is left out both are the same.
    Returns: The score over the images whose true class is in a group.
    Raises: UsageError: there is no such image.
    Source: ours, since only the five likeliest classes are kept.
    """
    if group_of.shape != (NUM_CLASSES,):
        raise ValueError(f"group_of has shape {group_of.shape}, not ({NUM_CLASSES},)")
    true = group_of[predictions.truth]
    counted = true != LEFT_OUT
    if not counted.any():
        raise UsageError(
            f"{predictions.model}: the groups hold none of its images' classes; "
            "score a grouping of these classes"
        )
    answers = group_of[predictions.top5[counted]]
    if not masked:
        return Score(counted, answers[:, 0] == true[counted], 0)
    inside = answers != LEFT_OUT
    first = inside.argmax(axis=1)  # 0 where none is inside: then the answer is left out
    answer = answers[np.arange(len(answers)), first]
    return Score(counted, answer == true[counted], int((~inside.any(axis=1)).sum()))


def score_classes(predictions: Predictions) -> BoolArray:
    """Tell on which images a model's likeliest class is right, shape (images,)."""
    return np.asarray(predictions.top5[:, 0] == predictions.truth)


def make_group_of(label_of: Mapping[str, int]) -> IntegerArray:
    """Lay the labels of classes out by class index.

    Args: label_of: wnid → label, e.g. `GroupTable.label_of`; wnids outside the 1000
      are passed over, since no model predicts them.
    Returns: Shape (1000,), −1 where a class is left out.
    """
    group_of = np.full(NUM_CLASSES, LEFT_OUT, dtype=np.int64)
    for info in classes.load_classes():
        group_of[info.class_index] = label_of.get(info.wnid, LEFT_OUT)
    return group_of


class Confusion(Protocol):
    """What knows which classes are taken for each other."""

    def captured(self, labels: IntegerArray, /) -> float:
        """Return the share of the errors that stay within groups, 0 to 1."""


class Comparison(NamedTuple):
    """One grouping: its shape, and how well its accuracies rank the models.

    A model's full accuracy is its top-1 accuracy over the 1000 classes. `tau` and its
    interval take it on the images that the grouping counts, and so tell what grouping
    alone does; `tau_all_images`, `resolving_power` and `regret` take it on all images.
    Where no class is left out these are the same images.
    """

    name: str
    num_groups: int
    num_classes: int  # that are in groups
    smallest: int  # of the groups, in classes
    median: float
    largest: int
    effective_groups: float  # n²/Σ size²: as many equal groups would be as uneven
    captured: float | None  # share of errors forgiven; None: no confusion at hand
    num_images: int  # whose class is in a group
    tau: float | None  # τ-b; None: all models tie
    tau_interval: ranking.Interval | None  # None: fewer than three models, or no τ
    tau_all_images: float | None
    resolving_power: float | None  # None: no pair is decided on all images
    regret: float  # 0 to 1
    undecided_share: float  # mean of the models; 0 unless masked
    notes: tuple[str, ...]  # what to know before trusting the figures


def compare(
    predictions: Sequence[Predictions],
    tables: Mapping[str, IntegerArray],
    *,
    confusion: Confusion | None = None,
    masked: bool = True,
    seed: int = 0,
) -> list[Comparison]:
    """Score every grouping by the models' predictions; nothing is trained.

    Args:
      predictions: of at least one model, all of the same images.
      tables: name → group of each class, shape (1000,), −1 where it is left out.
      confusion: what tells the share of errors that a grouping forgives.
      masked: whether models answer with grouped classes only, as in `coarse.score`.
      seed: what the interval's draws are hashed from.
    Returns: A comparison for each table, in their order.
    Raises: UsageError: no predictions, of unlike images, or a table without images.
    Source: ours: trained models stand in for models trained on the groups.
    """
    check_alike(predictions)
    fine = np.stack([score_classes(p) for p in predictions])
    full = significance.decide_pairs_deciding(fine)
    rows = []
    for name, group_of in tables.items():
        try:
            scores = [score(p, group_of, masked=masked) for p in predictions]
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
        figures = _rank(scores, fine, full, seed=seed)
        row = Comparison(
            name=name,
            **measure_shape(group_of)._asdict(),
            captured=None if confusion is None else confusion.captured(group_of),
            **figures._asdict(),
            notes=(
                *_find_notes(figures, len(predictions)),
                *_find_undecided_compare(predictions, scores),
            ),
        )
        rows.append(row)
    return rows


def check_alike(predictions: Sequence[Predictions]) -> None:
    """Refuse predictions of unlike images, and none at all.

    Raises: UsageError: whose they are.
    """
    if not predictions:
        raise UsageError("no predictions: give the files of at least one model")
    first = predictions[0]
    unlike = [
        p.model
        for p in predictions
        if p.keys != first.keys or not np.array_equal(p.truth, first.truth)
    ]
    if unlike:
        raise UsageError(
            f"predictions of {', '.join(unlike[:10])} are of other images than those "
            f"of {first.model}; compare models on the same images in the same order"
        )


class Shape(NamedTuple):
    """A grouping's groups, in classes; effective = n²/Σ size²."""

    num_groups: int
    num_classes: int
    smallest: int
    median: float
    largest: int
    effective_groups: float


def measure_shape(group_of: IntegerArray) -> Shape:
    """Measure the groups, in classes."""
    _, sizes = np.unique(group_of[group_of != LEFT_OUT], return_counts=True)
    num_classes = int(sizes.sum())
    return Shape(
        len(sizes),
        num_classes,
        int(sizes.min()),
        float(np.median(sizes)),
        int(sizes.max()),
        num_classes**2 / int((sizes**2).sum()),
    )


class _Figures(NamedTuple):
    num_images: int
    tau: float | None
    tau_interval: ranking.Interval | None
    tau_all_images: float | None
    resolving_power: float | None
    regret: float
    undecided_share: float


def _rank(
    scores: Sequence[Score], fine: BoolArray, full: SignArray, *, seed: int
) -> _Figures:
    """Rank the models by their groups and by their classes.

    fine: shape (models, images), whether the class is right; full: its decisions.
    """
    grouped = np.array([score.accuracy for score in scores])
    counted = fine[:, scores[0].counted].mean(axis=1)
    all_images = fine.mean(axis=1)
    decided = significance.decide_pairs_deciding(
        np.stack([score.correct for score in scores])
    )
    return _Figures(
        num_images=scores[0].num_images,
        tau=ranking.kendall_tau(counted, grouped),
        tau_interval=ranking.bootstrap_tau(counted, grouped, seed=seed),
        tau_all_images=ranking.kendall_tau(all_images, grouped),
        resolving_power=significance.resolving_power(full, decided),
        regret=ranking.top1_regret(all_images, grouped),
        undecided_share=float(np.mean([score.undecided_share for score in scores])),
    )


def _find_notes(figures: _Figures, num_models: int) -> Iterator[str]:
    if num_models < ranking.MIN_MODELS:
        yield (
            f"{num_models} of at least {ranking.MIN_MODELS} models: "
            "too few for a ranking, and for an interval of tau"
        )
    elif figures.tau is None:
        yield "all models have the same accuracy, so that tau is not defined"
    if figures.resolving_power is None:
        yield "no two models differ by more than chance on all images"


def _find_undecided_compare(
    predictions: Sequence[Predictions], scores: Sequence[Score]
) -> Iterator[str]:
    shares = {
        p.model: score.undecided_share
        for p, score in zip(predictions, scores, strict=True)
        if score.undecided_share > MAX_UNDECIDED_SHARE
    }
    if shares:
        worst = max(shares, key=lambda model: shares[model])
        yield (
            f"{len(shares)} of {len(scores)} models have no grouped class among their "
            f"five likeliest for more than {MAX_UNDECIDED_SHARE:.0%} of the "
            f"images, which count as wrong; most {worst}, {shares[worst]:.1%}"
        )


_COLUMNS = (
    "grouping", "groups", "classes", "sizes", "effective", "captured", "images", "tau",
    "95 %", "tau (all)", "resolving", "regret", "undecided",
)  # fmt: skip


def format_comparison(rows: Sequence[Comparison]) -> str:
    """Lay comparisons out as a plain table, notes below; `-` is what is not defined."""
    table = [_COLUMNS, *map(_format_row, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join([
            cells[0].ljust(widths[0]),
            *map(str.rjust, cells[1:], widths[1:]),
        ]).rstrip()
        for cells in table
    ]
    lines += [f"{row.name}: {note}" for row in rows for note in row.notes]
    return "\n".join(lines)


def _format_row(row: Comparison) -> tuple[str, ...]:
    interval = row.tau_interval
    return (
        row.name,
        str(row.num_groups),
        str(row.num_classes),
        f"{row.smallest}/{row.median:g}/{row.largest}",
        f"{row.effective_groups:.1f}",
        _percent(row.captured),
        str(row.num_images),
        _tau(row.tau),
        "-" if interval is None else f"{_tau(interval.low)}…{_tau(interval.high)}",
        _tau(row.tau_all_images),
        _percent(row.resolving_power),
        _percent(row.regret, digits=2),
        _percent(row.undecided_share),
    )


def _tau(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}%}"


NEEDED_SHARES = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupScore:
    """One grouping; models lie in their order.

    Attributes:
      is_masked: whether models answered with grouped classes only.
      num_images: whose class is in a group.
      num_right: shape (models,), of these.
      undecided: shape (models,), share of images without a grouped class in the five.
      ranks: against the accuracies over single classes, on all images.
      tau_same_images: τ-b with those on the counted images: what grouping alone does.
      needed: share of the pairs decided on the full set → validation images that
        decide so many of them; None where no number would.
    """

    name: str
    shape: Shape
    is_masked: bool
    num_images: int
    num_right: IntegerArray
    undecided: FloatArray
    tests: PairTests
    ranks: RankAgreement
    tau_same_images: float | None
    pairs: PairAgreement
    needed: Mapping[float, int | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionEvaluation:
    """All groupings.

    Attributes:
      full: the models over single classes, on all images.
    """

    models: tuple[str, ...]
    num_images: int
    full: PairTests
    scores: tuple[GroupScore, ...]
    warnings: tuple[str, ...]


def evaluate_predictions(
    predictions: Sequence[Predictions],
    tables: Mapping[str, IntegerArray],
    *,
    seed: int = 0,
) -> PredictionEvaluation:
    """Score every grouping, by all classes and, where some are left out, by its own.

    Args:
      predictions: of at least three models, all of the same images.
      tables: name → group of each class, shape (1000,), −1 where it is left out.
      seed: what draws are hashed from.
    Raises: UsageError: too few models, unlike images, a table without images.
    """
    check_alike(predictions)
    if len(predictions) < ranking.MIN_MODELS:
        raise UsageError(
            f"--predictions: {len(predictions)} models; a ranking needs "
            f"{ranking.MIN_MODELS} or more"
        )
    fine = np.stack([score_classes(p) for p in predictions])
    num_images = fine.shape[1]
    full = significance.decide_pairs_pairs(fine.mean(axis=1), num_images, shares=fine)
    scores = []
    warnings: list[str] = []
    for name, group_of in tables.items():
        for is_masked in (False, True) if (group_of == LEFT_OUT).any() else (False,):
            try:
                own = [score(p, group_of, masked=is_masked) for p in predictions]
            except UsageError as error:
                raise UsageError(f"--groups {name}: {error}") from None
            shape = measure_shape(group_of)
            scores.append(
                _score(name, shape, own, fine, full, is_masked=is_masked, seed=seed)
            )
            warnings += _find_undecided_training_free(name, predictions, own)
    return PredictionEvaluation(
        models=tuple(p.model for p in predictions),
        num_images=num_images,
        full=full,
        scores=tuple(scores),
        warnings=tuple(warnings),
    )


def _score(
    name: str,
    shape: Shape,
    own: Sequence[Score],
    fine: BoolArray,
    full: PairTests,
    *,
    is_masked: bool,
    seed: int,
) -> GroupScore:
    correct = np.stack([score.correct for score in own])
    num_images = own[0].num_images
    tests = significance.decide_pairs_pairs(
        correct.mean(axis=1), num_images, shares=correct
    )
    return GroupScore(
        name=name,
        shape=shape,
        is_masked=is_masked,
        num_images=num_images,
        num_right=correct.sum(axis=1),
        undecided=np.array([score.undecided_share for score in own]),
        tests=tests,
        ranks=ranking.compare_ranks(full.accuracies, tests.accuracies, seed=seed),
        tau_same_images=ranking.kendall_tau(
            fine[:, own[0].counted].mean(axis=1), tests.accuracies
        ),
        pairs=ranking.compare_pairs(
            full, tests, ceiling=ranking.noise_ceiling(fine, num_images, seed=seed)
        ),
        needed={
            share: significance.images_needed(correct, full.decisions, share=share)
            for share in NEEDED_SHARES
        },
    )


def _find_undecided_training_free(
    name: str, predictions: Sequence[Predictions], own: Sequence[Score]
) -> Iterator[str]:
    """Yield a warning where five classes tell too little of a model."""
    shares = {
        p.model: score.undecided_share
        for p, score in zip(predictions, own, strict=True)
        if score.undecided_share > MAX_UNDECIDED_SHARE
    }
    if shares:
        worst = max(shares, key=lambda model: shares[model])
        yield (
            f"{name}, own classes only: {len(shares)} of {len(own)} models have none "
            f"of them among their five likeliest for more than "
            f"{MAX_UNDECIDED_SHARE:.0%} of the images, which count as wrong; "
            f"most {worst}, {shares[worst]:.1%}"
        )
