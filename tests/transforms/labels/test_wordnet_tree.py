import pytest

from transforms.labels.wordnet import ROOT, WordNetTree

# r ─┬─ p ─┬─ 1, 2          3 is below q and, via s, below p
#    └─ q ─┴─ 3, 4
GRAPH = {
    "r": (),
    "p": ("r",),
    "q": ("r",),
    "s": ("p",),
    "1": ("p",),
    "2": ("p",),
    "3": ("q", "s"),
    "4": ("q",),
}


def test_parent_is_the_hypernym_with_the_fewest_classes():
    tree = WordNetTree(GRAPH, "1234")
    assert tree.parent_of["3"] == "s"
    assert tree.path("3") == ("r", "p", "s", "3")
    assert tree.num_under == {
        ROOT: 4, "r": 4, "p": 3, "q": 1, "s": 1, "1": 1, "2": 1, "3": 1, "4": 1
    }  # fmt: skip


def test_then_the_one_farthest_from_the_root_then_the_smaller_wnid():
    assert WordNetTree(GRAPH, "123").parent_of["3"] == "s"  # q and s hold 3 alone
    graph = {"r": (), "q": ("r",), "p": ("r",), "1": ("q", "p")}
    assert WordNetTree(graph, "1").parent_of["1"] == "p"


@pytest.mark.parametrize(
    ("nodes", "lowest"),
    [("12", "p"), ("13", "p"), ("34", "r"), ("3", "3"), ("1p", "p")],
)
def test_lowest_common_ancestor(nodes, lowest):
    assert WordNetTree(GRAPH, "1234").lowest_common_ancestor(nodes) == lowest


def test_nodes_without_a_common_ancestor():
    tree = WordNetTree({"a": (), "b": ()}, "ab")
    assert tree.lowest_common_ancestor("ab") == ROOT
    assert tree.similarities("ab").tolist() == [[1, 0], [0, 1]]


def test_similarity_is_that_of_wu_and_palmer():
    likeness = WordNetTree(GRAPH, "1234").similarities("134")
    assert likeness[0].tolist() == pytest.approx([1, 2 * 2 / (3 + 4), 2 * 1 / (3 + 3)])
