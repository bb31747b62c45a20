"""Merge or split 67 curated categories (fish, dog, vehicle …) into N groups."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

from transforms.arrays import FloatArray
from transforms.confusion import matrix as confusion_matrix
from transforms.grouping.category_splitting import (
    Part,
    merge_smallest,
    name_part,
    split_largest,
)
from transforms.grouping.table import (
    CONFUSION_MODELS,
    GroupId,
    Grouping,
    GroupingRequest,
    describe_sizes,
    require_num_groups,
)
from transforms.labels import wordnet
from transforms.labels.classes import display_name
from transforms.labels.wordnet import GroupNamer, WordNetTree
from transforms.options import flag
from transforms.records import JSON, UsageError, list_names

HAS_GIVEN_NAMES = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of grouping by curated categories."""

    fixes: bool = flag(
        "move classes that the published table puts in the wrong category, e.g. the "
        "computer mouse among rodents",
        default=False,
    )


class Fix(NamedTuple):
    """A class whose published category is wrong, and its correct category."""

    wnid: str
    from_category: str
    to_category: str
    reason: str


def group_classes(request: GroupingRequest, options: Options) -> Grouping:
    """Merge or split the input's categories into N groups.

    While there are more than N, the smallest is merged into the most similar one, by
    the mean confusion of their classes if a matrix is given, else by WordNet. While
    there are fewer, the largest is split at the WordNet node that best halves it.

    Raises:
      TooFewClassesError: there are fewer classes than groups.
      UsageError: `--num_groups` is missing or below 2, classes have no category, or
        the confusion matrix is invalid.
    """
    num_groups = require_num_groups(request)
    parts = _list_categories(request, options)
    wnids = sorted(c.wnid for c in request.classes)
    tree, word_of = wordnet.grow_tree(wnids)
    confusion = rates = None
    if (path := request.confusion_file) is not None:
        confusion = confusion_matrix.read_confusion(path).select(wnids, source=path)
        rates = confusion_matrix.find_rates(confusion)
    fixes = [fix for fix in load_fixes() if fix.wnid in wnids]
    quality: dict[str, JSON] = {
        "fixes": [fix._asdict() for fix in fixes if options.fixes]
    }
    notes = []
    if len(parts) > num_groups:
        parts = merge_smallest(
            parts, num_groups, _find_similarities(wnids, tree, rates)
        )
        method = "merged by " + ("wordnet" if confusion is None else "confusion")
        if confusion is not None:
            quality[CONFUSION_MODELS] = list(confusion.models)
            notes.append(
                f"categories are merged by the confusion of "
                f"{confusion.described_models}, not by WordNet as without --confusion: "
                "do not rank that model on the same images"
            )
    else:
        method = "split by wordnet" if len(parts) < num_groups else "as they are"
        parts = split_largest(parts, num_groups, tree)
        if confusion is not None:
            notes.append("the confusion matrix is not used: no categories are merged")
    if fixes and not options.fixes:
        example = f"{display_name(fixes[0].wnid)} in {fixes[0].from_category}"
        notes.append(
            f"the published table puts {len(fixes)} of these classes in the wrong "
            f"category (e.g. {example}); --curated_fixes corrects them"
        )
    return _to_grouping(
        sorted(parts, key=lambda part: part.wnids),
        GroupNamer(tree, word_of),
        notes=notes,
        quality={"categories": method, **quality},
    )


def _list_categories(request: GroupingRequest, options: Options) -> list[Part]:
    """Return one part per category of the input's classes, sorted by category name.

    Raises:
      UsageError: classes have no category.
    """
    categories = load_categories(with_fixes=options.fixes)
    wnids = sorted(c.wnid for c in request.classes)
    if outside := [wnid for wnid in wnids if wnid not in categories]:
        raise UsageError(
            f"--grouping curated: {len(outside)} classes of the input are not among "
            f"the 1000 that have a category: {list_names(outside)}; remove them, or "
            "use another grouping"
        )
    members: dict[str, list[str]] = defaultdict(list)
    for wnid in wnids:
        members[categories[wnid]].append(wnid)
    return [Part(tuple(of), (category,)) for category, of in sorted(members.items())]


def _find_similarities(
    wnids: list[str], tree: WordNetTree, confusion: FloatArray | None
) -> list[FloatArray]:
    """Return similarity matrices, shape (classes, classes), the decisive one first."""
    by_wordnet = tree.similarities(wnids)
    return [by_wordnet] if confusion is None else [confusion, by_wordnet]


def _to_grouping(
    parts: list[Part], namer: GroupNamer, *, notes: list[str], quality: dict[str, JSON]
) -> Grouping:
    groups: list[JSON] = []
    for part in parts:
        node = namer.tree.lowest_common_ancestor(part.wnids)
        groups.append({
            "categories": list(part.categories),
            "wnid": node,
            "path": namer.name_path(node),
            "size": len(part.wnids),
        })
    assignment: dict[str, GroupId | None] = {
        wnid: label for label, part in enumerate(parts) for wnid in part.wnids
    }
    return Grouping(
        assignment=assignment,
        names={label: name_part(part, namer) for label, part in enumerate(parts)},
        notes=tuple(notes),
        quality={
            **quality,
            **describe_sizes([len(part.wnids) for part in parts]),
            "groups": groups,
        },
    )


def load_categories(*, with_fixes: bool = False) -> dict[str, str]:
    """Return the category of each class by wnid, optionally with the fixes applied."""
    categories = dict(_read("curated_categories.tsv"))
    if with_fixes:
        categories |= {fix.wnid: fix.to_category for fix in load_fixes()}
    return categories


@cache
def load_fixes() -> tuple[Fix, ...]:
    """Return the corrections of published categories."""
    return tuple(Fix(*row) for row in _read("curated_fixes.tsv"))


def _read(name: str) -> list[list[str]]:
    path = resources.files("transforms.labels").joinpath(name)
    _header, *lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]
