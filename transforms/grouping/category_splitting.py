"""Categories of classes, and N → exactly N groups, by merging small or halving large.

Both take one step at a time, so that N groups lie inside N−1.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transforms.arrays import FloatArray
from transforms.labels.wordnet import GroupNamer, WordNetTree, join_names

_DECIMALS = 12  # of similarities: what is less is rounding, and a tie


@dataclass(frozen=True)
class Part:
    """A group in the making: categories merged, or what is left of one."""

    wnids: tuple[str, ...]  # ascending
    categories: tuple[str, ...]  # the largest first
    within: str = ""  # the node it was cut out along; "": none
    without: tuple[str, ...] = ()  # nodes that were cut out of it


def merge_smallest(
    parts: Sequence[Part], num_groups: int, similarities: Sequence[FloatArray]
) -> list[Part]:
    """Merge the smallest part into the most similar one, until N are left.

    Args:
      parts: at least N, with all classes of the matrices.
      num_groups: N.
      similarities: shape (classes, classes) by wnid. Two parts are as similar as their
        classes are in the mean; ties are broken by the next matrix, then by wnid.
    """
    left = list(parts)
    rows = {w: n for n, w in enumerate(sorted(w for p in parts for w in p.wnids))}

    def measure(one: Part, other: Part) -> list[float]:
        place = np.ix_([rows[w] for w in one.wnids], [rows[w] for w in other.wnids])
        return [-round(float(of[place].mean()), _DECIMALS) for of in similarities]

    while len(left) > num_groups:
        smallest = min(left, key=lambda part: (len(part.wnids), part.wnids))
        left.remove(smallest)
        nearest = min(left, key=lambda part: (measure(smallest, part), part.wnids))
        left[left.index(nearest)] = _join(nearest, smallest)
    return left


def _join(one: Part, other: Part) -> Part:
    larger, smaller = (
        (one, other) if len(one.wnids) >= len(other.wnids) else (other, one)
    )
    return Part(
        tuple(sorted(one.wnids + other.wnids)), larger.categories + smaller.categories
    )


def split_largest(
    parts: Sequence[Part], num_groups: int, tree: WordNetTree
) -> list[Part]:
    """Split the largest part along a node of WordNet, until there are N.

    Of all nodes the one whose share of the part is closest to one half; ties go to the
    deeper node, then the smaller wnid.
    """
    made = list(parts)
    while len(made) < num_groups:
        largest = min(made, key=lambda part: (-len(part.wnids), part.wnids))
        made.remove(largest)
        made += _split(largest, tree)
    return made


def _split(part: Part, tree: WordNetTree) -> tuple[Part, Part]:
    size = len(part.wnids)
    counts = Counter(node for wnid in part.wnids for node in tree.path(wnid))
    node = min(
        (node for node, count in counts.items() if count < size),
        key=lambda node: (abs(2 * counts[node] - size), -len(tree.path(node)), node),
    )
    inside = [wnid for wnid in part.wnids if node in tree.path(wnid)]
    outside = [wnid for wnid in part.wnids if node not in tree.path(wnid)]
    cut_before = {
        z: node in tree.path(z) for z in part.without
    }  # z lies under the node
    return (
        Part(
            tuple(inside),
            part.categories,
            node,
            tuple(z for z, is_under in cut_before.items() if is_under),
        ),
        Part(
            tuple(outside),
            part.categories,
            part.within,
            (*(z for z, is_under in cut_before.items() if not is_under), node),
        ),
    )


def name_part(part: Part, namer: GroupNamer) -> str:
    """Name a part: "bird + dog (+2 more)", "dog: terrier", "dog without terrier".

    Returns: "" for a single class of a category that was split; it keeps its own name.
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
        nodes = part.without[::-1]  # the latest first, so that no two names are alike
        name += f" without {join_names([name_node(node) for node in nodes])}"
    return name
