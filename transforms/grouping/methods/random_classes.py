"""N classes drawn at random, each its own group; the others are left out."""

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
    """The first N that can serve, or the fewer that are left."""

    chosen: list[ImageClass]
    passed_over: list[ImageClass]
    top_up: int  # training images that the last N would need besides M, at most


def group_classes(request: GroupingRequest, options: Options) -> Grouping:
    """Draw classes in hash order, passing over those that cannot serve.

    A class serves if it holds M training images (one, if M is not given) and its share
    of the validation top-up. An input without any training images is short of none.

    Raises: TooFewClassesError: with how many can serve, and the largest M that works.
    """
    del options
    num_groups = require_num_groups(request)
    ordered = sorted(
        request.classes,
        key=lambda c: (seeds.order(request.seed, "class", c.wnid), c.wnid),
    )
    has_images = any(c.num_train for c in ordered)
    wanted = (request.images_per_group or 1) if has_images else 0
    draw = _draw(ordered, request, num_groups, wanted)
    if len(draw.chosen) < num_groups:
        raise TooFewClassesError(
            "\n".join(_explain(draw, ordered, request, num_groups))
        )
    chosen = {c.wnid for c in draw.chosen}
    return Grouping(
        assignment={c.wnid: c.wnid if c.wnid in chosen else None for c in ordered},
        notes=_note(draw.passed_over),
        quality={"passed_over": [c.wnid for c in draw.passed_over]},
    )


def _draw(
    ordered: Sequence[ImageClass],
    request: GroupingRequest,
    num_groups: int,
    wanted: int,
) -> _Draw:
    """Draw until all can serve: the top-ups depend on which classes are drawn."""
    candidates, passed_over = list(ordered), list[ImageClass]()
    top_ups: dict[str, int] = {}
    while len(candidates) >= num_groups:
        chosen = candidates[:num_groups]
        top_ups = _top_ups(chosen, request, is_counted=wanted > 0)
        short = [c for c in chosen if c.num_train < wanted + top_ups[c.wnid]]
        if not short:
            return _Draw(chosen, passed_over, max(top_ups.values()))
        passed_over += short
        gone = set(short)
        candidates = [c for c in candidates if c not in gone]
    top_up = max(top_ups.values(), default=0)
    able = [c for c in candidates if c.num_train >= wanted + top_up]
    return _Draw(able, passed_over, top_up)


def _top_ups(
    chosen: Sequence[ImageClass], request: GroupingRequest, *, is_counted: bool
) -> dict[str, int]:
    """Find what each must set aside for validation, whether it holds that or not.

    Labels are the ranks of the wnids, as the table will have them.
    """
    by_label = sorted(chosen)
    if request.allow_small_validation or not is_counted:
        return dict.fromkeys((c.wnid for c in chosen), 0)
    target = request.min_validation_images
    top_ups = validation_top_up(
        {label: c.num_validation for label, c in enumerate(by_label)},
        dict.fromkeys(range(len(by_label)), target),
        target,
    )
    return {c.wnid: top_ups[label] for label, c in enumerate(by_label)}


def _note(passed_over: Sequence[ImageClass]) -> tuple[str, ...]:
    if not passed_over:
        return ()
    names = list_names(f"{c.wnid} ({c.name})" for c in passed_over)
    what = "class" if len(passed_over) == 1 else "classes"
    return (f"passed over {len(passed_over)} {what} that cannot serve: {names}",)


def _explain(
    draw: _Draw,
    ordered: Sequence[ImageClass],
    request: GroupingRequest,
    num_groups: int,
) -> list[str]:
    """Say how many can serve, what would work, and what else could give way."""
    needs = f"{request.images_per_group or 1} training images"
    if draw.top_up:
        needs += f" and {draw.top_up} more for validation"
    lines = [
        f"--num_groups {num_groups}: only {len(draw.chosen)} of {len(ordered)} classes "
        f"can serve, with {needs}"
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
    """Find the largest M for which a draw succeeds, by halving; 0 when none does."""
    works, fails = 0, max(c.num_train for c in ordered) + 1
    while fails - works > 1:
        middle = (works + fails) // 2
        if len(_draw(ordered, request, num_groups, middle).chosen) == num_groups:
            works = middle
        else:
            fails = middle
    return works
