import time

import pytest

from transforms.grouping.wordnet_merging import merge_classes
from transforms.labels import wordnet
from transforms.labels.classes import load_classes
from transforms.labels.wordnet import WordNetTree

RULES = ("pairwise", "capped", "pure")
WNIDS = [info.wnid for info in load_classes()]

# a ─┬─ b ─┬─ b1, b2, b3        x: one child only, passed over
#    ├─ c ─┴─ c1, c2
#    └─ x ─── d1
SMALL = {
    "a": (),
    "b": ("a",),
    "c": ("a",),
    "x": ("a",),
    **dict.fromkeys(("b1", "b2", "b3"), ("b",)),
    **dict.fromkeys(("c1", "c2"), ("c",)),
    "d1": ("x",),
}


def _merge(hypernyms, classes, num_groups, rule="pairwise"):
    return merge_classes(WordNetTree(hypernyms, classes), num_groups, rule)


def _synthetic(num_classes):
    """Return a graph with 2 to 9 children per node, some with a second parent."""
    hypernyms = {"n00000000": ()}
    level, number = ["n00000000"], 1
    while len(level) < num_classes:
        below = []
        for place, parent in enumerate(level):
            for child in range(2 + (place * 7 + len(level)) % 8):
                wnid = f"n{number:08d}"
                number += 1
                other = level[(place * 5 + child) % len(level)]
                has_two = child == 1 and other != parent
                hypernyms[wnid] = (parent, other) if has_two else (parent,)
                below.append(wnid)
        level = below
    return hypernyms, level[:num_classes]


@pytest.mark.parametrize(
    ("rule", "num_groups", "sizes", "effective"),
    [
        ("pairwise", 10, (5, 219), 5.8),
        ("pairwise", 20, (5, 94), 15.9),
        ("pairwise", 100, (1, 16), 88.7),
        ("pairwise", 200, (1, 8), 180.6),
        ("capped", 10, (69, 130), 9.6),
        ("capped", 20, (34, 62), 19.3),
        ("capped", 100, (8, 16), 96.4),
        ("capped", 200, (4, 8), 190.4),
        ("pure", 10, (1, 407), 3.2),
        ("pure", 20, (1, 407), 3.4),
        ("pure", 100, (1, 59), 32.3),
        ("pure", 200, (1, 30), 72.3),
    ],
)
def test_sizes_for_the_thousand_classes(rule, num_groups, sizes, effective):
    tree, _ = wordnet.grow_tree(WNIDS)
    groups = merge_classes(tree, num_groups, rule)
    found = [len(group) for group in groups]
    assert (min(found), max(found)) == sizes
    assert round(1000**2 / sum(size**2 for size in found), 1) == effective


@pytest.mark.parametrize("rule", RULES)
def test_there_are_exactly_n_groups_for_every_n(rule):
    classes = WNIDS[::9]
    tree, _ = wordnet.grow_tree(classes)
    for num_groups in range(2, len(classes) + 1):
        groups = merge_classes(tree, num_groups, rule)
        assert len(groups) == num_groups
        assert sorted(wnid for group in groups for wnid in group) == classes
        assert groups == sorted(groups)


def test_pairwise_merges_the_two_smallest_siblings_first():
    classes = ["b1", "b2", "b3", "c1", "c2", "d1"]
    assert _merge(SMALL, classes, 5)[0] == ["b1", "b2"]  # as deep as c: smaller wnid
    assert _merge(SMALL, classes, 4) == [["b1", "b2"], ["b3"], ["c1", "c2"], ["d1"]]
    # c is closed and a sibling of d1; the three of b form no unit and are deeper.
    assert _merge(SMALL, classes, 3) == [["b1", "b2", "b3"], ["c1", "c2"], ["d1"]]
    assert _merge(SMALL, classes, 2) == [["b1", "b2", "b3"], ["c1", "c2", "d1"]]


def test_pure_merges_whole_nodes_and_the_last_in_part():
    classes = ["b1", "b2", "b3", "c1", "c2", "d1"]
    assert _merge(SMALL, classes, 5, "pure")[3] == ["c1", "c2"]
    assert _merge(SMALL, classes, 4, "pure")[:2] == [["b1", "b2"], ["b3"]]
    assert _merge(SMALL, classes, 3, "pure")[0] == ["b1", "b2", "b3"]


def test_capped_moves_overflow_to_the_parent():
    classes = ["b1", "b2", "b3", "c1", "c2", "d1"]
    groups = _merge(SMALL, classes, 3, "capped")  # cap 2.5
    assert groups == [["b1", "b2"], ["b3", "d1"], ["c1", "c2"]]


def test_capped_exceeds_the_cap_if_unavoidable():
    hypernyms = {"a": (), **dict.fromkeys(("b", "c", "d", "e", "f"), ("a",))}
    groups = _merge(hypernyms, ["b", "c", "d", "e", "f"], 4, "capped")  # cap 1.56
    assert [len(group) for group in groups] == [2, 1, 1, 1]


@pytest.mark.parametrize("rule", RULES)
def test_class_may_be_below_another(rule):
    classes = ["b", "b1", "b2", "c", "d1"]
    for num_groups in range(2, 6):
        groups = _merge(SMALL, classes, num_groups, rule)
        assert sorted(wnid for group in groups for wnid in group) == classes
        assert len(groups) == num_groups


@pytest.mark.parametrize("rule", RULES)
def test_classes_without_a_common_root_are_merged_last(rule):
    hypernyms = {"a": (), "b": ("a",), "c": ("a",), "m": (), "n": ("m",)}
    groups = _merge(hypernyms, ["b", "c", "n"], 2, rule)
    assert groups == [["b", "c"], ["n"]]
    assert len(_merge({"a": (), "b": (), "c": ()}, ["a", "b", "c"], 2, rule)) == 2


@pytest.mark.parametrize("rule", RULES)
def test_merging_21_thousand_classes_is_fast(rule):
    hypernyms, classes = _synthetic(21_000)
    assert len(classes) == 21_000
    start = time.monotonic()
    groups = _merge(hypernyms, classes, 1000, rule)
    assert time.monotonic() - start < 20
    assert len(groups) == 1000
    assert sum(len(group) for group in groups) == 21_000
