import pytest

from transforms.labels.classes import load_classes
from transforms.labels.wordnet import (
    ROOT,
    GroupNamer,
    WordNetTree,
    grow_tree,
    join_names,
)

GRAPH = {
    "fish": (),
    "carp": ("fish",),
    "n01440764": ("carp",),
    "koi": ("carp",),
    "shark": ("fish",),
    "ray": ("fish",),
    "tool": (),
}
NAMER = GroupNamer(
    WordNetTree(GRAPH, ["n01440764", "koi", "shark", "ray", "tool", "fish"]),
    {node: node.upper() for node in GRAPH},
)


@pytest.mark.parametrize(
    ("wnids", "name"),
    [
        (["koi", "n01440764"], "CARP"),
        (["koi"], "KOI"),
        (["n01440764"], "tench"),
        (["fish"], "FISH"),
        (["fish", "koi", "n01440764", "ray", "shark"], "FISH"),
        (["koi", "n01440764", "ray"], "FISH: CARP + RAY"),
        (["koi", "n01440764", "ray", "shark"], "FISH: CARP + RAY (+1 more)"),
        (["fish", "koi"], "FISH: FISH + KOI"),
        (["koi", "tool"], "everything: KOI + TOOL"),
    ],
)
def test_groups_are_named_by_ancestor_and_parts(wnids, name):
    assert NAMER.name_group(wnids) == name


def test_path_is_of_names():
    assert NAMER.name_path("n01440764") == ["FISH", "CARP", "tench"]
    assert NAMER.name_path(ROOT) == []


def test_two_names_are_shown_and_the_rest_counted():
    assert join_names(["a"]) == "a"
    assert join_names(["a", "b"]) == "a + b"
    assert join_names(["a", "b", "c", "d"]) == "a + b (+2 more)"


def _find(*names):
    wnids = {info.name: info.wnid for info in load_classes()}
    return [wnids[name] for name in names]


CATS = ("tabby cat", "tiger cat", "Persian cat", "Siamese cat", "Egyptian Mau")
WHALES = ("grey whale", "killer whale")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (CATS, "domestic cat"),
        (CATS[:3], "domestic cat"),  # most of them
        (CATS[:2], "tabby cat, tiger cat"),
        ((*CATS, *WHALES), "domestic cat, whale"),
        ((*CATS, *WHALES, "abacus", "acorn"), "domestic cat, whale +2"),
        (("abacus",), "abacus"),
        (("acorn", "abacus"), "acorn, abacus"),  # not "object"
    ],
)
def test_brief_names_are_the_commonest_kinds(names, expected):
    tree, word_of = grow_tree(info.wnid for info in load_classes())
    assert GroupNamer(tree, word_of).name_briefly(_find(*names)) == expected
