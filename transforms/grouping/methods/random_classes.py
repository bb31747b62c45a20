"""Select N random classes, each its own group; leave the others out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from transforms import seeds
from transforms.grouping.table import (
    Grouping,
    GroupingRequest,
    TooFewClassesError,
    require_num_groups,
)
from transforms.records import ImageClass, list_names
from transforms.sampling.allocation import validation_top_up


@dataclass(frozen=True, kw_only=True)
class Options:
    """This method has no options."""


class _Draw(NamedTuple):
    """The first N eligible classes, or all eligible ones if there are fewer."""

    selected: list[ImageClass]
    skipped: list[ImageClass]
    top_up: int  # most images that one of the last N candidates must hold out


def group_classes(request: GroupingRequest, options: Options) -> Grouping:
    """Select classes in hash order, skipping those with too few images.

    A class is eligible if it has M training images (1 if M is not given) in addition to
    those it must hold out for validation. If the input has no training images at all,
    every class is eligible.

    Raises:
      TooFewClassesError: fewer than N classes are eligible; the message gives the
        number of eligible classes and the largest feasible M.
      UsageError: `--num_groups` is missing or below 2.
    """
    del options
    num_groups = require_num_groups(request)
    ordered = sorted(
        request.classes,
        key=lambda c: (seeds.order(request.seed, "class", c.wnid), c.wnid),
    )
    has_images = any(c.num_train for c in ordered)
    min_train_images = (request.images_per_group or 1) if has_images else 0
    draw = _draw(ordered, request, num_groups, min_train_images)
    if len(draw.selected) < num_groups:
        raise TooFewClassesError(
            "\n".join(_explain(draw, ordered, request, num_groups))
        )
    selected = {c.wnid for c in draw.selected}
    return Grouping(
        assignment={c.wnid: c.wnid if c.wnid in selected else None for c in ordered},
        notes=_note(draw.skipped),
        quality={"passed_over": [c.wnid for c in draw.skipped]},
    )


def _draw(
    ordered: Sequence[ImageClass],
    request: GroupingRequest,
    num_groups: int,
    min_train_images: int,
) -> _Draw:
    """Take the first N classes, replacing ineligible ones until all are eligible.

    Several rounds are needed because the number of images that a class holds out for
    validation depends on which other classes are selected.
    """
    candidates, skipped = list(ordered), list[ImageClass]()
    top_ups: dict[str, int] = {}
    while len(candidates) >= num_groups:
        selected = candidates[:num_groups]
        top_ups = _top_ups(selected, request, has_train_images=min_train_images > 0)
        too_small = [
            c for c in selected if c.num_train < min_train_images + top_ups[c.wnid]
        ]
        if not too_small:
            return _Draw(selected, skipped, max(top_ups.values()))
        skipped += too_small
        rejected = set(too_small)
        candidates = [c for c in candidates if c not in rejected]
    top_up = max(top_ups.values(), default=0)
    eligible = [c for c in candidates if c.num_train >= min_train_images + top_up]
    return _Draw(eligible, skipped, top_up)


def _top_ups(
    selected: Sequence[ImageClass], request: GroupingRequest, *, has_train_images: bool
) -> dict[str, int]:
    """Return the number of training images that each class holds out for validation.

    The numbers are by wnid. Labels are numbered in wnid order, as in the table of
    groups.
    """
    by_label = sorted(selected)
    if request.allow_small_validation or not has_train_images:
        return dict.fromkeys((c.wnid for c in selected), 0)
    target = request.min_validation_images
    top_ups = validation_top_up(
        {label: c.num_validation for label, c in enumerate(by_label)},
        dict.fromkeys(range(len(by_label)), target),
        target,
    )
    return {c.wnid: top_ups[label] for label, c in enumerate(by_label)}


def _note(skipped: Sequence[ImageClass]) -> tuple[str, ...]:
    if not skipped:
        return ()
    names = list_names(f"{c.wnid} ({c.name})" for c in skipped)
    what = "class" if len(skipped) == 1 else "classes"
    return (f"skipped {len(skipped)} {what} with too few images: {names}",)


def _explain(
    draw: _Draw,
    ordered: Sequence[ImageClass],
    request: GroupingRequest,
    num_groups: int,
) -> list[str]:
    """Return error lines: the number of eligible classes, and which flags to change."""
    needs = f"{request.images_per_group or 1} training images"
    if draw.top_up:
        needs += f" and {draw.top_up} more for validation"
    lines = [
        f"--num_groups {num_groups}: only {len(draw.selected)} of {len(ordered)} "
        f"classes have {needs}"
    ]
    if largest := _largest_images_per_group(ordered, request, num_groups):
        lines.append(
            f"--images_per_group {request.images_per_group}: the largest that works "
            f"for {num_groups} groups is {largest}"
        )
    else:
        lines[0] += f"; no --images_per_group works for {num_groups} groups"
    if draw.top_up:
        lines.append(
            f"--min_validation_images {request.min_validation_images}: lower it, or "
            "give --allow_small_validation, to keep more for training"
        )
    return lines


def _largest_images_per_group(
    ordered: Sequence[ImageClass], request: GroupingRequest, num_groups: int
) -> int:
    """Find the largest feasible M by bisection; 0 if there is none."""
    works, fails = 0, max(c.num_train for c in ordered) + 1
    while fails - works > 1:
        middle = (works + fails) // 2
        if len(_draw(ordered, request, num_groups, middle).selected) == num_groups:
            works = middle
        else:
            fails = middle
    return works
