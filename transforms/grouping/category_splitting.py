"""Merge or split categories of classes to get exactly N groups.

Merging and splitting change one group at a time, so the groups for N refine those for
N−1.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transforms.arrays import FloatArray
from transforms.labels.wordnet import GroupNamer, WordNetTree, join_names

_DECIMALS = 12  # of similarities; smaller differences are ties


@dataclass(frozen=True)
class Part:
    """A group under construction: merged categories, or a part of one category."""

    wnids: tuple[str, ...]  # ascending
    categories: tuple[str, ...]  # largest first
    within: str = ""  # node at which it was split off, or ""
    without: tuple[str, ...] = ()  # nodes that were split off it


def merge_smallest(
    parts: Sequence[Part], num_groups: int, similarities: Sequence[FloatArray]
) -> list[Part]:
    """Merge the smallest part into the most similar one until N parts remain.

    Args:
      parts: at least N parts that together contain all classes of the matrices.
      num_groups: N.
      similarities: matrices of shape (classes, classes), in wnid order. The similarity
        of two parts is the mean over their pairs of classes in the first matrix; ties
        are broken by the next matrix, then by wnid.

    Returns:
      N parts, in no particular order.
    """
    remaining = list(parts)
    row_of = {w: n for n, w in enumerate(sorted(w for p in parts for w in p.wnids))}

    def rank(first: Part, second: Part) -> list[float]:
        block = np.ix_(
            [row_of[w] for w in first.wnids], [row_of[w] for w in second.wnids]
        )
        return [
            -round(float(matrix[block].mean()), _DECIMALS) for matrix in similarities
        ]

    while len(remaining) > num_groups:
        smallest = min(remaining, key=lambda part: (len(part.wnids), part.wnids))
        remaining.remove(smallest)
        nearest = min(remaining, key=lambda part: (rank(smallest, part), part.wnids))
        remaining[remaining.index(nearest)] = _join(nearest, smallest)
    return remaining


def _join(first: Part, second: Part) -> Part:
    larger, smaller = (
        (first, second) if len(first.wnids) >= len(second.wnids) else (second, first)
    )
    return Part(
        tuple(sorted(first.wnids + second.wnids)),
        larger.categories + smaller.categories,
    )


def split_largest(
    parts: Sequence[Part], num_groups: int, tree: WordNetTree
) -> list[Part]:
    """Repeatedly split the largest part at a WordNet node until there are N parts.

    Each split uses the node whose share of the part's classes is closest to one half;
    ties go to the deeper node, then to the smaller wnid.
    """
    split = list(parts)
    while len(split) < num_groups:
        largest = min(split, key=lambda part: (-len(part.wnids), part.wnids))
        split.remove(largest)
        split += _split(largest, tree)
    return split


def _split(part: Part, tree: WordNetTree) -> tuple[Part, Part]:
    size = len(part.wnids)
    counts = Counter(node for wnid in part.wnids for node in tree.path(wnid))
    node = min(
        (node for node, count in counts.items() if count < size),
        key=lambda node: (abs(2 * counts[node] - size), -len(tree.path(node)), node),
    )
    inside = [wnid for wnid in part.wnids if node in tree.path(wnid)]
    outside = [wnid for wnid in part.wnids if node not in tree.path(wnid)]
    is_below = {earlier: node in tree.path(earlier) for earlier in part.without}
    return (
        Part(
            tuple(inside),
            part.categories,
            node,
            tuple(earlier for earlier, below in is_below.items() if below),
        ),
        Part(
            tuple(outside),
            part.categories,
            part.within,
            (*(earlier for earlier, below in is_below.items() if not below), node),
        ),
    )


def name_part(part: Part, namer: GroupNamer) -> str:
    """Name a part, e.g. "bird + dog (+2 more)", "dog: terrier", "dog without terrier".

    Returns:
      The name; "" for a split-off part with a single class: the table of groups then
      uses the name of the class.
    """
    is_whole = not part.within and not part.without
    if len(part.wnids) == 1 and not is_whole:
        return ""
    category = join_names(part.categories)

    def name_node(node: str) -> str:
        word = namer.name_node(node)
        return f"{word} proper" if word == category else word

    name = category
    if part.within:
        word = name_node(part.within)
        name = word if word.startswith(category) else f"{category}: {word}"
    if part.without:
        nodes = part.without[::-1]  # latest first, so that names are unique
        name += f" without {join_names([name_node(node) for node in nodes])}"
    return name
