"""Predictions of trained models and tables of groups → how each table ranks them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from transforms.records import UsageError
from transforms.scoring import coarse, deciding, ranking
from transforms.scoring.coarse import BoolArray, Score
from transforms.scoring.deciding import SignArray
from transforms.scoring.predictions import IntArray, Predictions
from transforms.tables.groups import LEFT_OUT


class Confusion(Protocol):
    """What knows which classes are taken for each other."""

    def captured(self, labels: IntArray, /) -> float:
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
    tables: Mapping[str, IntArray],
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
    fine = np.stack([coarse.score_classes(p) for p in predictions])
    full = deciding.decide_pairs(fine)
    rows = []
    for name, group_of in tables.items():
        try:
            scores = [coarse.score(p, group_of, masked=masked) for p in predictions]
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
                *_find_undecided(predictions, scores),
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


def measure_shape(group_of: IntArray) -> Shape:
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
    decided = deciding.decide_pairs(np.stack([score.correct for score in scores]))
    return _Figures(
        num_images=scores[0].num_images,
        tau=ranking.kendall_tau(counted, grouped),
        tau_interval=ranking.bootstrap_tau(counted, grouped, seed=seed),
        tau_all_images=ranking.kendall_tau(all_images, grouped),
        resolving_power=deciding.resolving_power(full, decided),
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


def _find_undecided(
    predictions: Sequence[Predictions], scores: Sequence[Score]
) -> Iterator[str]:
    shares = {
        p.model: score.undecided_share
        for p, score in zip(predictions, scores, strict=True)
        if score.undecided_share > coarse.MAX_UNDECIDED_SHARE
    }
    if shares:
        worst = max(shares, key=lambda model: shares[model])
        yield (
            f"{len(shares)} of {len(scores)} models have no grouped class among their "
            f"five likeliest for more than {coarse.MAX_UNDECIDED_SHARE:.0%} of the "
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
