"""Wnids → their words, hypernyms and likeness, after WordNet 3.0.

The shipped table holds the 1000 classes and all their ancestors; NLTK's copy of WordNet
answers for any other wnid.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from transforms.labels.classes import is_wnid, load_classes
from transforms.labels.wordnet_tree import FloatArray, WordNetTree
from transforms.records import UsageError

if TYPE_CHECKING:
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

VERSION = "3.0"  # wnids are places in the files of this version
COLUMNS = ("wnid", "lemmas", "hypernyms")
_WNIDS_SHOWN = 10
_REMEDY = (
    "the shipped table knows the 1000 classes only; for others get NLTK's copy of "
    f"WordNet {VERSION}: run python -m nltk.downloader wordnet, or put the dict folder "
    f"of a WordNet {VERSION} installation at ~/nltk_data/corpora/wordnet"
)


class Synset(NamedTuple):
    """What WordNet knows of one wnid."""

    lemmas: tuple[str, ...]
    hypernyms: tuple[str, ...]  # direct parents, wnids; those of instances are not any


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
    """Return the synsets of some wnids and of all their ancestors.

    Raises: UsageError: wnids unknown to WordNet, or NLTK is needed and has no copy.
    """
    waiting = sorted(set(wnids))
    closure: Mapping[str, Synset] = load_closure()
    if outside := [wnid for wnid in waiting if wnid not in closure]:
        closure = {**read_synsets(_open_nltk(outside), outside), **closure}
    if unknown := [wnid for wnid in waiting if wnid not in closure]:
        raise UsageError(
            f"WordNet {VERSION} has no noun {_list_wnids(unknown)}: mend the names of "
            "these classes, or leave them out of the input"
        )
    found: dict[str, Synset] = {}
    while waiting:
        wnid = waiting.pop()
        if wnid not in found:
            found[wnid] = closure[wnid]
            waiting += closure[wnid].hypernyms
    return found


def read_synsets(
    reader: "WordNetCorpusReader", wnids: Iterable[str]
) -> dict[str, Synset]:
    """Read synsets and all their ancestors with NLTK; unknown wnids are passed over."""
    found: dict[str, Synset] = {}
    waiting = list(wnids)
    while waiting:
        wnid = waiting.pop()
        if wnid in found or not is_wnid(wnid):
            continue
        with warnings.catch_warnings():  # a wnid that is none is told by the caller
            warnings.simplefilter("ignore")
            synset = reader.synset_from_pos_and_offset("n", int(wnid[1:]))
        if synset is None:
            continue
        found[wnid] = Synset(
            tuple(name.replace("_", " ") for name in synset.lemma_names()),
            tuple(sorted(f"n{parent.offset():08d}" for parent in synset.hypernyms())),
        )
        waiting += found[wnid].hypernyms
    return found


def _open_nltk(outside: Sequence[str]) -> "WordNetCorpusReader":
    import nltk.corpus  # noqa: PLC0415  # takes a second that few need

    what = f"--input: {_list_wnids(outside)} outside the 1000 classes"
    try:
        version = nltk.corpus.wordnet.get_version()
    except (LookupError, OSError):
        raise UsageError(f"{what}: {_REMEDY}") from None
    if version != VERSION:
        raise UsageError(f"{what}: NLTK's copy is of WordNet {version}; {_REMEDY}")
    return nltk.corpus.wordnet


def _list_wnids(wnids: Sequence[str]) -> str:
    more = len(wnids) - _WNIDS_SHOWN
    shown = ", ".join(wnids[:_WNIDS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{len(wnids)} wnid{'s' if len(wnids) > 1 else ''} ({shown})"


def hypernyms(wnid: str) -> tuple[str, ...]:
    """Return the direct parents of a wnid."""
    return find_synsets([wnid])[wnid].hypernyms


def lemmas(wnid: str) -> tuple[str, ...]:
    """Return WordNet's words for a wnid."""
    return find_synsets([wnid])[wnid].lemmas


def grow_tree(wnids: Iterable[str]) -> tuple[WordNetTree, dict[str, str]]:
    """Return the tree over some classes, and the first word for each of its nodes.

    Raises: UsageError: as `find_synsets`.
    """
    classes = sorted(set(wnids))
    synsets = find_synsets(classes)
    tree = WordNetTree({w: s.hypernyms for w, s in synsets.items()}, classes)
    return tree, {wnid: synset.lemmas[0] for wnid, synset in synsets.items()}


def path(wnid: str) -> tuple[str, ...]:
    """Return the words from the top down to a wnid, in the tree of the 1000 classes."""
    tree, word_of = grow_tree([*(info.wnid for info in load_classes()), wnid])
    return tuple(word_of[node] for node in tree.path(wnid))


def similarities(wnids: Sequence[str]) -> FloatArray:
    """Return how alike classes are, shape (wnids, wnids), in [0, 1].

    Raises: UsageError: as `find_synsets`.
    Source: Wu & Palmer 1994, over the tree of these classes: twice the depth of the
      lowest common ancestor over the sum of both depths, the root's being 1.
    """
    return grow_tree(wnids)[0].similarities(wnids)
