"""Test the page of groups."""

import re

import numpy as np
import pytest

from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Confusion
from transforms.grouping.table import CONFUSION_MODELS, make_table
from transforms.labels.classes import load_classes
from transforms.records import ImageClass
from transforms.reports.groups import (
    GroupCounts,
    GroupsPage,
    make_page,
    measure_confusions,
    name_briefly,
)

CLASSES = [ImageClass(c.wnid, c.class_index, c.name, 0, 0) for c in load_classes()[:80]]
WNIDS = tuple(c.wnid for c in CLASSES)


def _make_table(num_groups, names=None):
    groups = {wnid: n % num_groups for n, wnid in enumerate(WNIDS)}
    return make_table(CLASSES, groups, names)


def _write(folder, name, *, shift, model):
    """Write a matrix in which every class is confused with the one `shift` after it."""
    size = len(WNIDS)
    matrix = 9.0 * np.eye(size) + np.roll(np.eye(size), shift, axis=1)
    matrix[0, 1] += 2
    num_images = matrix.sum(axis=1).astype(int)
    path = folder / name
    confusion = Confusion(matrix, WNIDS, num_images, (model,))
    path.write_bytes(confusion_matrix.to_npz(confusion))
    return str(path)


def _make_page(table, confusions, **changes):
    counts = [GroupCounts()] * table.num_groups
    return make_page(
        GroupsPage(
            title="groups",
            method="",
            table=table,
            counts=counts,
            confusions=confusions,
            **changes,
        )
    )


def test_held_out_confusion_comes_first_with_chance_beside_it(tmp_path):
    table = _make_table(20)
    inside = _write(tmp_path, "a.npz", shift=20, model="donor")
    outside = _write(tmp_path, "b.npz", shift=1, model="other")
    quality = {CONFUSION_MODELS: ["donor"]}
    measured = measure_confusions(table, quality, confusion=inside, heldout=outside)
    assert [(m.models, m.is_held_out) for m in measured] == [
        (("other",), True),
        (("donor",), False),
    ]
    assert measured[0].captured.share < 0.1
    assert measured[1].captured.share > 0.9
    page = _make_page(table, measured)
    html = page.html.decode()
    tiles = re.findall(r"<b>([^<]+)</b><span><abbr[^>]*>([^<]+)<", html)
    assert tiles[:2] == [
        ("0.0%", "captured confusion, held out (by chance 3.8%)"),
        ("97.6%", "captured confusion, not held out (by chance 3.8%)"),
    ]
    (chart,) = page.charts
    assert chart.note.startswith(
        "Dots show the share of the errors of other that stay within a group; the "
        "groups do not depend on these errors."
    )
    assert len(chart.figure.axes[0].get_yticks()) == 20


def test_a_matrix_that_the_method_does_not_read_is_held_out(tmp_path):
    table = _make_table(20)
    path = _write(tmp_path, "a.npz", shift=20, model="m")
    (measured,) = measure_confusions(table, {}, confusion=path, heldout=None)
    assert measured.is_held_out
    assert measure_confusions(table, {}, confusion=None, heldout=None) == []


@pytest.mark.parametrize(("num_groups", "num_rows"), [(40, 40), (70, 10), (80, 0)])
def test_dot_plot_shows_groups_of_several_classes(tmp_path, num_groups, num_rows):
    table = _make_table(num_groups)
    path = _write(tmp_path, "a.npz", shift=1, model="m")
    confusions = measure_confusions(table, {}, confusion=path, heldout=None)
    charts = {chart.name: chart for chart in _make_page(table, confusions).charts}
    assert ("captured" in charts) == bool(num_rows)
    if num_rows:
        assert len(charts["captured"].figure.axes[0].get_yticks()) == num_rows


def test_shortened_names_of_the_dot_plot_keep_their_counts(tmp_path):
    table = _make_table(5)
    path = _write(tmp_path, "a.npz", shift=1, model="m")
    confusions = measure_confusions(table, {}, confusion=path, heldout=None)
    names = {
        "primate, musteline mammal +23": "primate … +23",
        "tench, Tinca tinca + goldfish (+18 more)": "tench … (+18 more)",
        "terrier, hound +9": "terrier, hound +9",
        "lesser panda, red panda, bear cat": "lesser panda …",
        "snake": "snake",
    }
    page = _make_page(table, confusions, brief_names=tuple(names))
    (chart,) = (chart for chart in page.charts if chart.name == "captured")
    shown = [t.get_text() for t in chart.figure.axes[0].get_yticklabels()]
    assert sorted(shown) == [f"{n} · {name}" for n, name in enumerate(names.values())]


def test_groups_have_brief_names_unless_people_named_them():
    table = _make_table(2, {0: "mine", 1: "yours"})
    assert name_briefly(table, "manual") == ("mine", "yours")
    brief = name_briefly(table, "confusion")
    assert not {"mine", "yours"} & set(brief)
    page = _make_page(table, (), brief_names=brief).html.decode()
    assert f"<summary>{brief[0]}</summary>" in page
    assert "In the dataset: mine" in page
    unknown = make_table([ImageClass("n99999999", -1, "x", 0, 0)], {"n99999999": 0})
    assert name_briefly(unknown, "confusion") == unknown.names


def test_terms_of_the_page_are_explained_at_its_end():
    html = _make_page(_make_table(2), ()).html.decode()
    explained = html.partition("What these words mean")[2]
    assert re.findall("<dt>(.*?)</dt>", explained) == ["effective number of groups"]
