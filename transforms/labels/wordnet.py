"""Look up WordNet lemmas and hypernyms, build class trees and name groups."""

import itertools
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from transforms.arrays import FloatArray
from transforms.labels.classes import class_index, display_name, is_wnid, load_classes
from transforms.records import UsageError, list_names

if TYPE_CHECKING:
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

ROOT = ""  # parent of all nodes without a hypernym; in WordNet only "entity"
VERSION = "3.0"  # wnids are offsets in the files of this version
COLUMNS = ("wnid", "lemmas", "hypernyms")
_REMEDY = (
    "the shipped table covers only the 1000 classes; for others get NLTK's copy of "
    f"WordNet {VERSION}: run python -m nltk.downloader wordnet, or put the dict folder "
    f"of a WordNet {VERSION} installation at ~/nltk_data/corpora/wordnet"
)
_NUM_NAMED_PARTS = 2
_LEAST_SHARE = 0.5  # of a node's classes, for the node to name a group
_LEAST_DEPTH = 6  # of a node that names a group; "artifact" and "object" are higher
_EVERYTHING = "everything"  # name of a group without a common ancestor


class WordNetTree:
    """A tree over classes, derived from a graph whose nodes can have several parents.

    The parent of a node in the tree is its most specific hypernym, i.e. the one with
    the fewest classes below it in the graph. Ties are broken by the greatest depth,
    then by the smallest wnid.

    Args:
      hypernyms: direct parents of each class and of each of its ancestors; acyclic.
      classes: wnids of the classes; a class may be an ancestor of another.
    """

    def __init__(
        self, hypernyms: Mapping[str, Sequence[str]], classes: Iterable[str]
    ) -> None:
        self.classes = tuple(sorted(set(classes)))
        num_below = _count_under(hypernyms, self.classes)
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
                        key=lambda parent: (num_below[parent], -depths[parent], parent),
                        default=ROOT,
                    )
                self.num_under[node] += 1
                node = self.parent_of[node]
        self.num_under[ROOT] = len(self.classes)

    def path(self, node: str) -> tuple[str, ...]:
        """Return the path from the top node of the tree to a node, inclusive."""
        if node not in self._paths:
            self._paths[node] = (*self.path(self.parent_of[node]), node)
        return self._paths[node]

    def lowest_common_ancestor(self, nodes: Iterable[str]) -> str:
        """Return the deepest common ancestor of nodes; a node is its own ancestor."""
        paths = [self.path(node) for node in nodes]
        lowest = ROOT
        for step in zip(*paths, strict=False):
            if len(set(step)) > 1:
                break
            lowest = step[0]
        return lowest

    def similarities(self, nodes: Sequence[str]) -> FloatArray:
        """Return the Wu-Palmer similarities of nodes, 0 to 1, shape (nodes, nodes)."""
        paths = [self.path(node) for node in nodes]
        on_paths = dict.fromkeys(itertools.chain(*paths))
        column_of = {node: column for column, node in enumerate(on_paths)}
        rows = np.repeat(np.arange(len(paths)), [len(path) for path in paths])
        columns = [column_of[node] for path in paths for node in path]
        shape = (len(paths), len(column_of))
        from scipy import sparse

        on_path = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
        shared = (
            on_path @ on_path.T
        ).toarray()  # in a tree: the length of the common prefix
        depths = shared.diagonal()
        return 2 * shared / (depths[:, None] + depths[None, :])


def _count_under(
    hypernyms: Mapping[str, Sequence[str]], classes: Iterable[str]
) -> Counter[str]:
    """Count the classes at or below each node of the graph, along any path."""
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
    """Return the number of nodes on the longest path from each node to a root."""
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


class Synset(NamedTuple):
    """Lemmas and hypernyms of a noun in WordNet."""

    lemmas: tuple[str, ...]
    hypernyms: tuple[str, ...]  # wnids of direct parents; not instance hypernyms


@cache
def load_closure() -> dict[str, Synset]:
    """Return the synsets of the 1000 classes and of all their ancestors, by wnid."""
    path = resources.files("transforms.labels").joinpath("wordnet.tsv")
    _header, *lines = path.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    return {
        wnid: Synset(tuple(lemmas.split(", ")), tuple(hypernyms.split()))
        for wnid, lemmas, hypernyms in rows
    }


def find_synsets(wnids: Iterable[str]) -> dict[str, Synset]:
    """Return the synsets of some wnids and of all their ancestors, by wnid.

    Raises:
      UsageError: WordNet lacks some wnids, or wnids outside the 1000 classes need
        NLTK's copy of WordNet 3.0, which is not installed.
    """
    waiting = sorted(set(wnids))
    closure: Mapping[str, Synset] = load_closure()
    if outside := [wnid for wnid in waiting if wnid not in closure]:
        closure = {**read_synsets(_open_nltk(outside), outside), **closure}
    if unknown := [wnid for wnid in waiting if wnid not in closure]:
        raise UsageError(
            f"WordNet {VERSION} has no noun {_list_wnids(unknown)}: correct the names "
            "of these classes, or leave them out of the input"
        )
    synsets: dict[str, Synset] = {}
    while waiting:
        wnid = waiting.pop()
        if wnid not in synsets:
            synsets[wnid] = closure[wnid]
            waiting += closure[wnid].hypernyms
    return synsets


def read_synsets(
    reader: "WordNetCorpusReader", wnids: Iterable[str]
) -> dict[str, Synset]:
    """Read the synsets of some wnids and of all their ancestors with NLTK, by wnid.

    Unknown wnids are skipped.
    """
    synsets: dict[str, Synset] = {}
    waiting = list(wnids)
    while waiting:
        wnid = waiting.pop()
        if wnid in synsets or not is_wnid(wnid):
            continue
        with warnings.catch_warnings():  # the caller reports invalid wnids
            warnings.simplefilter("ignore")
            synset = reader.synset_from_pos_and_offset("n", int(wnid[1:]))
        if synset is None:
            continue
        synsets[wnid] = Synset(
            tuple(name.replace("_", " ") for name in synset.lemma_names()),
            tuple(sorted(f"n{parent.offset():08d}" for parent in synset.hypernyms())),
        )
        waiting += synsets[wnid].hypernyms
    return synsets


def _open_nltk(outside: Sequence[str]) -> "WordNetCorpusReader":
    import nltk.corpus

    what = f"--input: {_list_wnids(outside)} outside the 1000 classes"
    try:
        version = nltk.corpus.wordnet.get_version()
    except (LookupError, OSError):
        raise UsageError(f"{what}: {_REMEDY}") from None
    if version != VERSION:
        raise UsageError(f"{what}: NLTK's copy is of WordNet {version}; {_REMEDY}")
    return nltk.corpus.wordnet


def _list_wnids(wnids: Sequence[str]) -> str:
    return f"{len(wnids)} wnid{'s' if len(wnids) > 1 else ''} ({list_names(wnids)})"


def hypernyms(wnid: str) -> tuple[str, ...]:
    """Return the wnids of the direct hypernyms of a synset.

    Raises:
      UsageError: as `find_synsets`.
    """
    return find_synsets([wnid])[wnid].hypernyms


def lemmas(wnid: str) -> tuple[str, ...]:
    """Return the WordNet lemmas of a synset.

    Raises:
      UsageError: as `find_synsets`.
    """
    return find_synsets([wnid])[wnid].lemmas


def grow_tree(wnids: Iterable[str]) -> tuple[WordNetTree, dict[str, str]]:
    """Return the tree over some classes, and the first lemma of each node by wnid.

    Raises:
      UsageError: WordNet lacks some wnids, or NLTK's copy of it is not installed.
    """
    classes = sorted(set(wnids))
    synsets = find_synsets(classes)
    tree = WordNetTree({w: s.hypernyms for w, s in synsets.items()}, classes)
    return tree, {wnid: synset.lemmas[0] for wnid, synset in synsets.items()}


def path(wnid: str) -> tuple[str, ...]:
    """Return the first lemma of each node from the root of the class tree to a wnid.

    The tree contains the 1000 classes and `wnid`.

    Raises:
      UsageError: as `find_synsets`.
    """
    tree, word_of = grow_tree([*(info.wnid for info in load_classes()), wnid])
    return tuple(word_of[node] for node in tree.path(wnid))


def similarities(wnids: Sequence[str]) -> FloatArray:
    """Return Wu-Palmer similarities of classes, shape (wnids, wnids), in [0, 1].

    The similarity is twice the depth of the lowest common ancestor, divided by the sum
    of both depths, in the tree over these classes. The root has depth 1.

    Raises:
      UsageError: WordNet lacks some wnids, or NLTK's copy of it is not installed.

    Source: Wu and Palmer, ACL 1994.
    """
    return grow_tree(wnids)[0].similarities(wnids)


class GroupNamer:
    """Names groups of classes by their lowest common ancestor in a tree.

    Args:
      tree: tree over the classes of all groups.
      word_of: first lemma of each node, by wnid.
    """

    def __init__(self, tree: WordNetTree, word_of: Mapping[str, str]) -> None:
        self.tree = tree
        self._word_of = word_of

    def name_node(self, node: str) -> str:
        """Return the display name of a node.

        This is the class name for the 1000 classes, "everything" for the root, and the
        first lemma for other nodes.
        """
        if node == ROOT:
            return _EVERYTHING
        return self._word_of[node] if class_index(node) < 0 else display_name(node)

    def name_path(self, node: str) -> list[str]:
        """Return the names of the nodes from the top of the tree to a node."""
        return [self.name_node(step) for step in self.tree.path(node)]

    def name_group(self, wnids: Sequence[str]) -> str:
        """Name a group "ancestor", or "ancestor: child + child (+k more)".

        The ancestor is the lowest common ancestor of the group. It alone is the name if
        the group contains all classes below it. Children are sorted by decreasing
        number of classes; each is named by the lowest common ancestor of its classes in
        the group. A group of one class has the name of the class.
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

    def name_briefly(self, wnids: Sequence[str]) -> str:
        """Name a group by its commonest kinds: "bird", or "terrier, spaniel +14".

        A kind is a class, or a specific node of which at least half of the classes are
        in the group. The first kind has the most classes of the group, the second the
        most of the others. The number of classes of neither follows.
        """
        names: list[str] = []
        rest = list(wnids)
        while rest and len(names) < _NUM_NAMED_PARTS:
            counts = Counter(node for wnid in rest for node in self.tree.path(wnid))
            kinds = [n for n, c in counts.items() if self._is_kind(n, c, wnids)]
            kind = max(kinds, key=lambda n: (counts[n], len(self.tree.path(n))))
            names.append(self.name_node(kind))
            rest = [wnid for wnid in rest if kind not in self.tree.path(wnid)]
        more = f" +{len(rest)}" if rest else ""
        return ", ".join(names) + more

    def _is_kind(self, node: str, count: int, wnids: Sequence[str]) -> bool:
        is_specific = len(self.tree.path(node)) >= _LEAST_DEPTH
        is_common = count >= _LEAST_SHARE * self.tree.num_under[node]
        return (is_specific and is_common) or node in wnids


def join_names(names: Sequence[str]) -> str:
    """Join the first two names with " + " and append the number of further names."""
    more = len(names) - _NUM_NAMED_PARTS
    shown = " + ".join(names[:_NUM_NAMED_PARTS])
    return f"{shown} (+{more} more)" if more > 0 else shown
