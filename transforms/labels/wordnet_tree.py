"""Hypernyms and some classes → the tree over them, in which a node has one parent."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ROOT = ""  # above all nodes that have no hypernym; WordNet has one, "entity"


class WordNetTree:
    """A tree over classes, made of a graph in which a node may have several parents.

    A node's parent is the hypernym with the fewest classes under it in the graph, of
    these the one farthest from the root, of these the smallest wnid: the most telling.

    Args:
      hypernyms: direct parents of each class and of each of its ancestors; no circles.
      classes: any nodes; a class may lie under another.
    """

    def __init__(
        self, hypernyms: Mapping[str, Sequence[str]], classes: Iterable[str]
    ) -> None:
        self.classes = tuple(sorted(set(classes)))
        held = _count_under(hypernyms, self.classes)
        depths = _measure_depths(hypernyms)
        self.parent_of: dict[str, str] = {}
        self.num_under: Counter[str] = Counter()
        self._paths: dict[str, tuple[str, ...]] = {ROOT: ()}
        for wnid in self.classes:
            node = wnid
            while node != ROOT:
                if node not in self.parent_of:
                    self.parent_of[node] = min(
                        hypernyms[node],
                        key=lambda parent: (held[parent], -depths[parent], parent),
                        default=ROOT,
                    )
                self.num_under[node] += 1
                node = self.parent_of[node]
        self.num_under[ROOT] = len(self.classes)

    def path(self, node: str) -> tuple[str, ...]:
        """Return the nodes from the top of the tree down to this one."""
        if node not in self._paths:
            self._paths[node] = (*self.path(self.parent_of[node]), node)
        return self._paths[node]

    def lowest_common_ancestor(self, nodes: Iterable[str]) -> str:
        """Return the deepest node that all of these lie under, or are; else ROOT."""
        paths = [self.path(node) for node in nodes]
        lowest = ROOT
        for step in zip(*paths, strict=False):
            if len(set(step)) > 1:
                break
            lowest = step[0]
        return lowest

    def similarities(self, nodes: Sequence[str]) -> FloatArray:
        """Return Wu-Palmer similarities, shape (nodes, nodes)."""
        paths = [self.path(node) for node in nodes]
        on_paths = dict.fromkeys(itertools.chain(*paths))
        column_of = {node: column for column, node in enumerate(on_paths)}
        rows = np.repeat(np.arange(len(paths)), [len(path) for path in paths])
        columns = [column_of[node] for path in paths for node in path]
        shape = (len(paths), len(column_of))
        from scipy import sparse  # noqa: PLC0415  # a third of the start of --help

        on_path = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
        shared = (on_path @ on_path.T).toarray()  # in a tree: the common beginning
        depths = shared.diagonal()
        return 2 * shared / (depths[:, None] + depths[None, :])


def _count_under(
    hypernyms: Mapping[str, Sequence[str]], classes: Iterable[str]
) -> Counter[str]:
    """Count the classes under each node, by any way through the graph."""
    counts: Counter[str] = Counter()
    for wnid in classes:
        ancestors = {wnid}
        waiting = [wnid]
        while waiting:
            fresh = set(hypernyms[waiting.pop()]) - ancestors
            ancestors |= fresh
            waiting += fresh
        counts.update(ancestors)
    return counts


def _measure_depths(hypernyms: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Measure the longest way from each node to the top."""
    depths: dict[str, int] = {}
    for start in hypernyms:
        waiting = [start]
        while waiting:
            node = waiting[-1]
            if unknown := [h for h in hypernyms[node] if h not in depths]:
                waiting += unknown
                continue
            depths[node] = 1 + max((depths[h] for h in hypernyms[node]), default=0)
            waiting.pop()
    return depths
