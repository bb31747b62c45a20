"""Merge classes bottom-up in the WordNet tree into exactly N groups.

A unit is a set of classes that are already merged; initially, each class is a unit at
its own node. Units at the same node can be merged. A node is closed once all its
children are closed and it holds at most one unit; that unit moves to the parent.
"""

import heapq
from collections import Counter, defaultdict
from typing import Literal, NamedTuple

from transforms.labels.wordnet import ROOT, WordNetTree

Rule = Literal["pairwise", "capped", "pure"]
CAP = 1.25  # largest group under `capped`, relative to the mean size


class _Unit(NamedTuple):
    """A set of merged classes; units sort by size, then by smallest class."""

    size: int
    first: int  # position of its smallest class in wnid order


class _Candidate(NamedTuple):
    """A possible merge; the preferred candidate sorts first."""

    size: int  # of the merged unit
    depth: int  # of the node, negated: deepest first
    node: str
    num_units: int


def merge_classes(tree: WordNetTree, num_groups: int, rule: Rule) -> list[list[str]]:
    """Merge the tree's classes into exactly N groups.

    Rules:
      pairwise: merge the two smallest units of a node; choose the node where this gives
        the smallest unit.
      capped: as pairwise, but limit units to 1.25 times the mean group size. If no
        pair fits, the smallest unit moves to its parent; if all are at the root, the
        two smallest are merged regardless of the cap.
      pure: merge all units of a node whose children are closed; choose the node where
        this gives the smallest unit. The last merge is partial if N requires it.

    Ties go to the deeper node, then the smaller wnid; among units, to the smaller
    class.

    Args:
      tree: the WordNet tree over the classes.
      num_groups: N, at most the number of classes.
      rule: one of the above.

    Returns:
      The wnids of each group, ascending; groups are ordered by their first wnid.
    """
    merging = _Merging(tree, rule, CAP * len(tree.classes) / num_groups)
    while len(merging.members) > num_groups:
        merging.merge_next(len(merging.members) - num_groups)
    groups = merging.members
    return [
        [tree.classes[n] for n in sorted(groups[first])] for first in sorted(groups)
    ]


class _Merging:
    """The units at each node, with queues of possible merges and of units to lift.

    Lifting a unit moves it to the parent of its node. Both queues may contain outdated
    entries, which are skipped when they are popped.
    """

    def __init__(self, tree: WordNetTree, rule: Rule, cap: float) -> None:
        self.rule = rule
        self.cap = cap if rule == "capped" else len(tree.classes)
        self.members = {n: [n] for n in range(len(tree.classes))}  # by first class
        self.parent_of = _contract_paths(tree)
        self.depth_of = {node: len(tree.path(node)) for node in self.parent_of}
        self.num_open_children = Counter(self.parent_of.values())
        self.units: dict[str, list[_Unit]] = defaultdict(list)  # heaps
        self.candidates: list[_Candidate] = []
        self.liftable: list[tuple[int, int, int, str]] = []
        for n, wnid in enumerate(tree.classes):
            self._add(wnid, _Unit(1, n))
        for wnid in tree.classes:
            self._close(wnid)

    def merge_next(self, num_surplus: int) -> None:
        """Make the best merge, reducing the number of units by at most `num_surplus`.

        If no merge is allowed, lift units until one is; at the root, ignore the cap.
        """
        while (best := self._pop_candidate()) is None:
            if not self._lift():
                self._merge(ROOT, 2)
                return
        self._merge(best.node, min(best.num_units, num_surplus + 1))

    def _pop_candidate(self) -> _Candidate | None:
        while self.candidates:
            best = heapq.heappop(self.candidates)
            if best == self._find_candidate(best.node):
                return best
        return None

    def _find_candidate(self, node: str) -> _Candidate | None:
        """Return the merge that the rule allows at a node; None if there is none."""
        units = self.units[node]
        if len(units) < 2:
            return None
        if self.rule == "pure":
            if self.num_open_children[node]:
                return None
            merged = units
        else:
            merged = [units[0], min(units[1:3])]  # a heap's two smallest
        size = sum(unit.size for unit in merged)
        if size > self.cap:
            return None
        return _Candidate(size, -self.depth_of.get(node, 0), node, len(merged))

    def _merge(self, node: str, num_units: int) -> None:
        """Merge the `num_units` smallest units of a node."""
        merged = [heapq.heappop(self.units[node]) for _ in range(num_units)]
        classes = [n for unit in merged for n in self.members.pop(unit.first)]
        unit = _Unit(len(classes), min(classes))
        self.members[unit.first] = classes
        self._add(node, unit)
        self._close(node)

    def _add(self, node: str, unit: _Unit) -> None:
        heapq.heappush(self.units[node], unit)
        if self.rule == "capped" and node != ROOT:
            depth = self.depth_of[node]
            heapq.heappush(self.liftable, (unit.size, -depth, unit.first, node))
        self._offer(node)

    def _offer(self, node: str) -> None:
        if candidate := self._find_candidate(node):
            heapq.heappush(self.candidates, candidate)

    def _close(self, node: str) -> None:
        """Close a node if possible by moving its unit to the parent; repeat there."""
        while (
            node != ROOT
            and not self.num_open_children[node]
            and len(self.units[node]) < 2
        ):
            parent = self.parent_of[node]
            self.num_open_children[parent] -= 1
            if self.units[node]:
                self._add(parent, self.units[node].pop())
            self._offer(parent)
            node = parent

    def _lift(self) -> bool:
        """Move the smallest unit below the root to the parent of its node.

        Returns:
          Whether there was such a unit.
        """
        while self.liftable:
            size, _, first, node = heapq.heappop(self.liftable)
            if self.units[node][:1] == [_Unit(size, first)]:
                unit = heapq.heappop(self.units[node])
                self._add(self.parent_of[node], unit)
                self._offer(node)
                self._close(node)
                return True
        return False


def _contract_paths(tree: WordNetTree) -> dict[str, str]:
    """Return the parent of each node after removing nodes that have one child.

    Nodes that are classes are kept.
    """
    num_children = Counter(tree.parent_of.values())
    classes = set(tree.classes)
    kept = {n for n in tree.parent_of if num_children[n] != 1 or n in classes}
    parents = {}
    for node in kept:
        parent = tree.parent_of[node]
        while parent not in kept and parent != ROOT:
            parent = tree.parent_of[parent]
        parents[node] = parent
    return parents
