"""The tree over some classes → exactly N groups, by merging units from the leaves up.

A unit is a set of classes that stay together. Every class begins as one, at its own
node. A node that no longer awaits anything from below, and holds one unit or none, is
closed: its unit passes to its parent. Units that meet at a node may be merged.
"""

import heapq
from collections import Counter, defaultdict
from typing import Literal, NamedTuple

from transforms.labels.wordnet import ROOT, WordNetTree

Rule = Literal["pairwise", "capped", "pure"]
CAP = 1.25  # times the mean size: how large `capped` lets groups grow


class _Unit(NamedTuple):
    """Classes that stay together; units sort by size, then by their first class."""

    size: int
    first: int  # the smallest class, by its place in wnid order


class _Candidate(NamedTuple):
    """What could be merged next, best first."""

    size: int  # of the merged unit
    depth: int  # of the node, negative: the deepest first
    node: str
    num_units: int


def merge_classes(tree: WordNetTree, num_groups: int, rule: Rule) -> list[list[str]]:
    """Merge the tree's classes into exactly N groups.

    pairwise  of all pairs of the two smallest units at a node, merge the one that
              makes the smallest unit
    capped    as pairwise, but not above 1.25 times the mean size; where nothing fits
              the smallest stuck unit is lifted to the parent of its node, and at the
              top the two smallest are merged over the cap
    pure      of all nodes that await nothing from below, merge the smallest as a
              whole; the last one only as far as N allows

    Ties go to the deeper node, then the smaller wnid; of units, to the smaller class.

    Returns: The groups' classes, by wnid, in the order of their smallest.
    """
    merging = _Merging(tree, rule, CAP * len(tree.classes) / num_groups)
    while len(merging.members) > num_groups:
        merging.merge_next(len(merging.members) - num_groups)
    groups = merging.members
    return [
        [tree.classes[n] for n in sorted(groups[first])] for first in sorted(groups)
    ]


class _Merging:
    """The units at each node, and what could be merged next.

    Both queues may hold what has changed since; it is recognised when it comes up.
    """

    def __init__(self, tree: WordNetTree, rule: Rule, cap: float) -> None:
        self.rule = rule
        self.cap = cap if rule == "capped" else len(tree.classes)
        self.members = {n: [n] for n in range(len(tree.classes))}  # by first class
        self.parent_of = _contract(tree)
        self.depth_of = {node: len(tree.path(node)) for node in self.parent_of}
        self.num_awaited = Counter(self.parent_of.values())
        self.units: dict[str, list[_Unit]] = defaultdict(list)  # heaps
        self.candidates: list[_Candidate] = []
        self.liftable: list[tuple[int, int, int, str]] = []
        for n, wnid in enumerate(tree.classes):
            self._add(wnid, _Unit(1, n))
        for wnid in tree.classes:
            self._close(wnid)

    def merge_next(self, num_surplus: int) -> None:
        """Merge the best candidate, by at most this many units fewer."""
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
        """Find what the node offers to merge now."""
        units = self.units[node]
        if len(units) < 2:
            return None
        if self.rule == "pure":
            if self.num_awaited[node]:
                return None
            merged = units
        else:
            merged = [units[0], min(units[1:3])]  # a heap's two smallest
        size = sum(unit.size for unit in merged)
        if size > self.cap:
            return None
        return _Candidate(size, -self.depth_of.get(node, 0), node, len(merged))

    def _merge(self, node: str, num_units: int) -> None:
        """Merge the smallest units of a node."""
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
        """Pass the unit of a node with nothing left to merge to its parent, and on."""
        while node != ROOT and not self.num_awaited[node] and len(self.units[node]) < 2:
            parent = self.parent_of[node]
            self.num_awaited[parent] -= 1
            if self.units[node]:
                self._add(parent, self.units[node].pop())
            self._offer(parent)
            node = parent

    def _lift(self) -> bool:
        """Lift the smallest stuck unit to the parent; tell whether there was one."""
        while self.liftable:
            size, _, first, node = heapq.heappop(self.liftable)
            if self.units[node][:1] == [_Unit(size, first)]:
                unit = heapq.heappop(self.units[node])
                self._add(self.parent_of[node], unit)
                self._offer(node)
                self._close(node)
                return True
        return False


def _contract(tree: WordNetTree) -> dict[str, str]:
    """Return the parents among the nodes where something meets, and the classes."""
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
