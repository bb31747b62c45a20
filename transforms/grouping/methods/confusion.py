"""Group classes that models confuse with each other, by a confusion matrix."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.arrays import FloatArray
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Captured, Confusion
from transforms.grouping import balanced, sequential
from transforms.grouping.table import (
    CONFUSION_MODELS,
    GroupId,
    Grouping,
    GroupingRequest,
    MissingTableError,
    number_groups,
    require_num_groups,
)
from transforms.labels import wordnet
from transforms.options import flag
from transforms.records import JSON, ImageClass, UsageError

TABLES = ("confusion",)
_MAX_FULLY_NAMED = 3  # classes; larger groups are named by the first few
_NUM_NAMED = 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of grouping by confusion."""

    rule: str = flag(
        "balanced: maximise the confusion inside all groups; sequential: take the most "
        "confused set first, then the next one of the remaining classes",
        default="balanced",
        choices=("balanced", "sequential"),
    )
    prior: float = flag(
        "weight of WordNet similarity relative to confusion, e.g. 0.3; it makes groups "
        "less noisy when the matrix comes from few images",
        default=0.0,
        minimum=0,
        maximum=100,
    )
    heldout: str | None = flag(
        "confusion matrix of other images, to measure how much confusion the groups "
        "capture there (confusion_b.npz for groups of confusion_a.npz)",
        default=None,
        metavar="FILE",
        absent="no such file; make it with python -m pipelines.confusion",
    )


def group_classes(request: GroupingRequest, options: Options) -> Grouping:
    """Group classes into N groups of equal size (±1) with much confusion inside.

    Raises:
      MissingTableError: no confusion matrix is given.
      UsageError: `--num_groups` is missing or below 2; a matrix is invalid, lacks
        classes of the input or holds no errors; the two matrices share images; or
        WordNet lacks classes and `--confusion_prior` is given.
      TooFewClassesError: there are fewer classes than groups.
    """
    path = request.confusion_file
    if path is None:
        raise MissingTableError("--grouping=confusion needs --confusion FILE")
    num_groups = require_num_groups(request)
    classes = sorted(request.classes)
    wnids = [c.wnid for c in classes]
    confusion, heldout = _read_all(wnids, path, options.heldout)
    rates = confusion_matrix.find_rates(confusion)
    weights = balanced.normalise(rates)
    mixed = _mix(weights, wnids, options.prior)
    if options.rule == "balanced":
        groups = balanced.partition(mixed, num_groups, seed=request.seed)
    else:
        groups = sequential.partition(mixed, num_groups)
    assignment: dict[str, GroupId | None] = dict(
        zip(wnids, groups.tolist(), strict=True)
    )
    label_of = number_groups(assignment)
    labels = [label_of[group] for group in groups.tolist()]
    names = _name(classes, groups.tolist(), rates)
    models: dict[str, JSON] = {CONFUSION_MODELS: list(confusion.models)}
    if not request.is_measured:
        return Grouping(assignment=assignment, names=names, quality=models)
    captured = confusion_matrix.capture(confusion, labels)
    quality = _measure(weights, labels, captured) | models
    heldout_capture = confusion_matrix.capture(heldout, labels) if heldout else None
    if heldout_capture:
        quality["heldout"] = heldout_capture.to_json()
    return Grouping(
        assignment=assignment,
        names=names,
        notes=tuple(_note(confusion, captured, quality, heldout_capture)),
        quality=quality,
    )


def _read_all(
    wnids: Sequence[str], path: str, heldout: str | None
) -> tuple[Confusion, Confusion | None]:
    """Read both matrices and select the input's classes.

    Raises:
      UsageError: a matrix is invalid, lacks some of the classes or holds no errors
        between them, or both share images; one line per problem.
    """
    matrices: list[Confusion] = []
    problems: list[str] = []
    for name, file in (("confusion", path), ("confusion_heldout", heldout)):
        if file is None:
            continue
        try:
            matrices.append(
                confusion_matrix.read_confusion(file).select(wnids, source=file)
            )
        except UsageError as error:
            problems += [f"--{name} {line}" for line in str(error).splitlines()]
        else:
            if not matrices[-1].num_errors:
                problems.append(
                    f"--{name} {file}: holds no errors between the classes of the "
                    "input; use predictions of a model that makes some"
                )
    if heldout and len(matrices) == 2 and _overlap(*matrices):
        problems.append(
            f"--confusion_heldout {heldout}: counts images of --confusion {path} too; "
            "give confusion_a.npz and confusion_b.npz"
        )
    if problems:
        raise UsageError("\n".join(problems))
    return matrices[0], matrices[1] if heldout else None


def _overlap(first: Confusion, second: Confusion) -> bool:
    """Return whether two matrices of the same models seem to count the same images.

    This is assumed if no entry of one matrix exceeds that of the other.
    """
    if first.models != second.models:
        return False
    inside = (first.matrix <= second.matrix).all() or (
        second.matrix <= first.matrix
    ).all()
    return bool(inside)


def _mix(weights: FloatArray, wnids: Sequence[str], prior: float) -> FloatArray:
    """Add `prior` times the WordNet similarity to confusion, both normalised.

    `weights` and the result have shape (classes, classes).
    """
    if not prior:
        return weights
    similar = balanced.normalise(np.asarray(wordnet.similarities(wnids)))
    return balanced.normalise(weights + prior * similar)


def _measure(
    weights: FloatArray, labels: Sequence[int], captured: Captured
) -> dict[str, JSON]:
    """Compute all quality measures of groups.

    The captured share counts errors; `captured_rate`, `bound` and `gap` weight each
    class equally. The two shares are equal if all classes have equally many images.

    Args:
      weights: normalised confusion rates, shape (classes, classes).
      labels: the group of each class.
      captured: the captured share of the errors.
    """
    groups = np.asarray(labels)
    of_rates = float(weights[groups[:, None] == groups].sum())
    bound = balanced.bound_captured(
        weights, np.array(captured.sizes), captured=of_rates
    )
    return {
        **captured.to_json(),
        "captured_rate": round(of_rates, 6),
        "bound": bound,
        "gap": round(max(0.0, bound - of_rates), 4),
    }


def _name(
    classes: Sequence[ImageClass], groups: Sequence[int], rates: FloatArray
) -> dict[GroupId, str]:
    """Name each group after the classes that are confused most within it.

    Args:
      classes: the classes, by wnid.
      groups: shape (classes,), the group of each class.
      rates: shape (classes, classes), confusion rates.
    """
    names: dict[GroupId, str] = {}
    of_group = np.asarray(groups)
    for group in sorted(set(groups)):
        members = np.flatnonzero(of_group == group)
        inside = rates[np.ix_(members, members)].sum(axis=1)
        ranked = members[np.argsort(-inside, kind="stable")].tolist()
        is_small = len(ranked) <= _MAX_FULLY_NAMED
        shown = ranked if is_small else ranked[:_NUM_NAMED]
        names[group] = ", ".join(classes[number].name for number in shown)
        if not is_small:
            names[group] += f" + {len(ranked) - _NUM_NAMED} more"
    return names


def _note(
    confusion: Confusion,
    captured: Captured,
    quality: dict[str, JSON],
    heldout: Captured | None,
) -> Iterator[str]:
    rate, bound, gap = (quality[name] for name in ("captured_rate", "bound", "gap"))
    yield (
        f"groups capture {captured.share:.1%} of the errors of the confusion matrix, "
        f"and hold {rate:.1%} of the rates of confusion; no groups of these sizes hold "
        f"more than {bound:.1%} (gap {gap:.1%})"
    )
    smallest, largest = min(captured.sizes), max(captured.sizes)
    sizes = smallest if smallest == largest else f"{smallest} to {largest}"
    low, middle, high = np.quantile(captured.shares, [0, 0.5, 1])
    yield (
        f"of the errors on its classes a group captures {low:.1%} to {high:.1%}, "
        f"median {middle:.1%}; groups have {sizes} classes"
    )
    if captured.num_empty:
        yield f"{captured.num_empty} of {len(captured.sizes)} groups capture nothing"
    if heldout:
        yield f"on the held-out images they capture {heldout.share:.1%} of the errors"
    cross_fit = "" if heldout else "; cross-fit with --confusion_heldout"
    yield (
        f"built on the confusion of {confusion.described_models}: do not rank that "
        f"model on the same images{cross_fit}"
    )
