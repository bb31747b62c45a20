"""67 hand-made categories (fish, dog, vehicle …), merged or split to make N groups."""

from collections import defaultdict
from dataclasses import dataclass, field

from transforms.confusion import confusion_matrix
from transforms.datasets import JSON
from transforms.labels import wordnet
from transforms.labels.categories import load_categories, load_fixes
from transforms.labels.wordnet_names import GroupNamer
from transforms.labels.wordnet_tree import FloatArray, WordNetTree
from transforms.partitions.category_splitting import (
    Part,
    merge_smallest,
    name_part,
    split_largest,
)
from transforms.records import UsageError
from transforms.tables.group_sizes import describe_sizes
from transforms.tables.groups import (
    GroupId,
    Grouping,
    GroupingRequest,
    require_num_groups,
)

_WNIDS_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which table of categories is taken."""

    fixes: bool = field(
        default=False,
        metadata={
            "help": "move the classes that plainly stand in a wrong category, such as "
            "the computer mouse among rodents"
        },
    )


def group_classes(request: GroupingRequest, options: Options) -> Grouping:
    """Bring the input's categories to N groups.

    Fewer than there are categories: the smallest is merged into the one most similar to
    it, by the mean confusion of their classes if a matrix is given, else by WordNet.
    More: the largest is split along the node of WordNet that best halves it.

    Raises:
      TooFewClassesError: there are fewer classes than groups.
      UsageError: classes without a category, or a confusion matrix that is none.
    """
    num_groups = require_num_groups(request)
    parts = _list_categories(request, options)
    wnids = sorted(c.wnid for c in request.classes)
    tree, word_of = wordnet.grow_tree(wnids)
    confusion = None
    if request.confusion_file is not None:
        confusion = confusion_matrix.read_confusion(request.confusion_file, wnids)
    if len(parts) > num_groups:
        parts = merge_smallest(
            parts, num_groups, _find_similarities(wnids, tree, confusion)
        )
        how = "merged by " + ("wordnet" if confusion is None else "confusion")
    else:
        how = "split by wordnet" if len(parts) < num_groups else "as they are"
        parts = split_largest(parts, num_groups, tree)
    notes = []
    if confusion is not None and not how.startswith("merged"):
        notes.append("the confusion matrix is not used: no categories are merged")
    return _to_grouping(
        sorted(parts, key=lambda part: part.wnids),
        GroupNamer(tree, word_of),
        notes=notes,
        quality={"categories": how, "fixes": _list_fixes(wnids, options)},
    )


def _list_categories(request: GroupingRequest, options: Options) -> list[Part]:
    """Return the categories that the input's classes are in."""
    categories = load_categories(with_fixes=options.fixes)
    wnids = sorted(c.wnid for c in request.classes)
    if outside := [wnid for wnid in wnids if wnid not in categories]:
        more = len(outside) - _WNIDS_SHOWN
        shown = ", ".join(outside[:_WNIDS_SHOWN])
        shown += f" and {more} more" if more > 0 else ""
        raise UsageError(
            f"--grouping curated: {len(outside)} classes of the input are not among "
            f"the 1000 that have a category: {shown}; leave them out, or take another "
            "grouping"
        )
    members: dict[str, list[str]] = defaultdict(list)
    for wnid in wnids:
        members[categories[wnid]].append(wnid)
    return [Part(tuple(of), (category,)) for category, of in sorted(members.items())]


def _find_similarities(
    wnids: list[str], tree: WordNetTree, confusion: FloatArray | None
) -> list[FloatArray]:
    """Return what decides, first things first."""
    by_wordnet = tree.similarities(wnids)
    return [by_wordnet] if confusion is None else [confusion, by_wordnet]


def _list_fixes(wnids: list[str], options: Options) -> list[JSON]:
    held = set(wnids) if options.fixes else set()
    return [fix._asdict() for fix in load_fixes() if fix.wnid in held]


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
