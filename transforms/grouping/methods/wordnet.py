"""Group classes that are close in WordNet, by merging bottom-up into N groups."""

from dataclasses import dataclass
from typing import get_args

from transforms.grouping.table import (
    GroupId,
    Grouping,
    GroupingRequest,
    describe_sizes,
    require_num_groups,
)
from transforms.grouping.wordnet_merging import Rule, merge_classes
from transforms.labels import wordnet
from transforms.labels.wordnet import GroupNamer
from transforms.options import flag
from transforms.records import JSON

HAS_WORDNET_PATHS = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of grouping by WordNet."""

    rule: Rule = flag(
        "pairwise: merge the two smallest siblings first; capped: keep groups below "
        "1.25 times the mean size if possible; pure: whole WordNet nodes, however "
        "unequal (the last group may be a part of one)",
        default="pairwise",
        choices=get_args(Rule),
    )


def group_classes(request: GroupingRequest, options: Options) -> Grouping:
    """Merge the classes into N groups along the WordNet tree.

    Raises:
      TooFewClassesError: there are fewer classes than groups.
      UsageError: `--num_groups` is missing or below 2, classes are not in WordNet, or
        NLTK's WordNet data is needed and not installed.
    """
    num_groups = require_num_groups(request)
    tree, word_of = wordnet.grow_tree(c.wnid for c in request.classes)
    namer = GroupNamer(tree, word_of)
    groups = merge_classes(tree, num_groups, options.rule)
    assignment: dict[str, GroupId | None] = {}
    names: dict[GroupId, str] = {}
    nodes: list[JSON] = []
    for label, wnids in enumerate(groups):
        assignment |= dict.fromkeys(wnids, label)
        names[label] = namer.name_group(wnids)
        node = tree.lowest_common_ancestor(wnids)
        nodes.append({"wnid": node, "path": namer.name_path(node), "size": len(wnids)})
    return Grouping(
        assignment=assignment,
        names=names,
        quality={
            "rule": options.rule,
            **describe_sizes([len(wnids) for wnids in groups]),
            "groups": nodes,
        },
    )
