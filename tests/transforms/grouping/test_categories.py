from collections import Counter

import pytest

from transforms.grouping.methods.curated import load_categories, load_fixes
from transforms.labels.classes import class_index, display_name, load_classes

WNIDS = [info.wnid for info in load_classes()]


def test_every_class_has_one_of_67_categories():
    categories = load_categories()
    assert list(categories) == WNIDS
    sizes = Counter(categories.values())
    assert len(sizes) == 67
    assert sizes.most_common(2) == [("dog", 119), ("bird", 59)]
    assert sizes["vehicle"] == sizes["electronics"] == 49
    assert {category for category, size in sizes.items() if size == 1} == {
        "armadillo",
        "dinosaur",
        "trilobite",
    }


@pytest.mark.parametrize(
    ("index", "category"),
    [(134, "bird"), (517, "vehicle"), (638, "clothing"), (639, "clothing")],
    ids=["crane_the_bird", "crane_the_machine", "maillot", "tank_suit"],
)
def test_classes_that_share_a_word_are_distinguished(index, category):
    assert load_categories()[WNIDS[index]] == category


def test_fixes_move_classes_between_known_categories():
    categories = load_categories()
    fixes = load_fixes()
    assert [fix.wnid for fix in fixes] == sorted({fix.wnid for fix in fixes})
    for fix in fixes:
        assert categories[fix.wnid] == fix.from_category != fix.to_category
        assert fix.to_category in categories.values()
        assert fix.reason
    fixed = load_categories(with_fixes=True)
    assert {w for w in WNIDS if fixed[w] != categories[w]} == {f.wnid for f in fixes}
    assert len(set(fixed.values())) == 67


def test_known_errors_of_the_source_are_corrected():
    fixed = {display_name(w): c for w, c in load_categories(with_fixes=True).items()}
    assert fixed["ring-tailed lemur"] == "primate"
    assert fixed["computer mouse"] == "electronics"
    assert fixed["common sorrel"] == "ungulate"
    assert class_index(load_fixes()[0].wnid) >= 0
