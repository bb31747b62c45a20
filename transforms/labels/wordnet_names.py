"""Classes and the tree over them → what a group of them is called."""

from collections.abc import Mapping, Sequence

from transforms.labels.classes import class_index, display_name
from transforms.labels.wordnet_tree import ROOT, WordNetTree

_PARTS_NAMED = 2
_EVERYTHING = "everything"  # what has no common ancestor


class GroupNamer:
    """Names groups of classes by their lowest common ancestor in a tree.

    Args:
      tree: over all classes, not only those of one group.
      word_of: the first word for each node.
    """

    def __init__(self, tree: WordNetTree, word_of: Mapping[str, str]) -> None:
        self.tree = tree
        self._word_of = word_of

    def name_node(self, node: str) -> str:
        """Return the simple label of one of the 1000, else WordNet's first word."""
        if node == ROOT:
            return _EVERYTHING
        return self._word_of[node] if class_index(node) < 0 else display_name(node)

    def name_path(self, node: str) -> list[str]:
        """Return the names from the top of the tree down to a node."""
        return [self.name_node(step) for step in self.tree.path(node)]

    def name_group(self, wnids: Sequence[str]) -> str:
        """Name a group: "ancestor", or "ancestor: child + child (+k more)".

        The ancestor alone if the group is all of it; children by falling size, each by
        the lowest node that holds all of its part of the group. A single class keeps
        its name.
        """
        ancestor = self.tree.lowest_common_ancestor(wnids)
        name = self.name_node(ancestor)
        if len(wnids) in {1, self.tree.num_under[ancestor]}:
            return name
        depth = len(self.tree.path(ancestor))
        parts: dict[str, list[str]] = {}
        for wnid in wnids:
            path = self.tree.path(wnid)
            parts.setdefault(path[min(depth, len(path) - 1)], []).append(wnid)
        largest = sorted(parts.values(), key=lambda part: (-len(part), min(part)))
        nodes = [self.tree.lowest_common_ancestor(part) for part in largest]
        return f"{name}: {join_names([self.name_node(node) for node in nodes])}"


def join_names(names: Sequence[str]) -> str:
    """Join the first two names and count the rest."""
    more = len(names) - _PARTS_NAMED
    shown = " + ".join(names[:_PARTS_NAMED])
    return f"{shown} (+{more} more)" if more > 0 else shown
