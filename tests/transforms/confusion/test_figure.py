import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from tests.transforms.confusion.test_matrix import CONFUSION, WNIDS
from transforms import figures
from transforms.confusion import figure as confusion_figure
from transforms.confusion.matrix import Confusion
from transforms.labels.classes import load_classes


def draw(confusion, pairs):
    figure = confusion_figure.draw(confusion, pairs)
    return figures.to_png(figure, dpi=confusion_figure.DPI)


def test_pairs_come_strongest_first():
    pairs = confusion_figure.find_pairs(CONFUSION)
    assert [(p.name_a, p.name_b, p.num_images) for p in pairs] == [
        ("tench", "goldfish", 5),
        ("tench", "hen", 4),
        ("tench", "great white shark", 1),
    ]
    assert confusion_figure.find_pairs(CONFUSION, 1) == pairs[:1]


def test_table_of_pairs():
    lines = confusion_figure.to_csv(confusion_figure.find_pairs(CONFUSION)).decode()
    assert lines.splitlines()[:2] == [
        "wnid_a,name_a,wnid_b,name_b,rate,count",
        "n01440764,tench,n01443537,goldfish,0.25,5",
    ]


def test_figure_does_not_depend_on_the_time():
    pairs = confusion_figure.find_pairs(CONFUSION)
    data = draw(CONFUSION, pairs)
    assert data == draw(CONFUSION, pairs)
    assert Image.open(io.BytesIO(data)).size == (2040, 1320)


def test_a_model_without_errors_can_be_drawn():
    perfect = Confusion(np.diag([5.0] * 4), WNIDS, np.array([5] * 4))
    assert draw(perfect, confusion_figure.find_pairs(perfect))


@pytest.mark.parametrize("size", [2, 20, 120, 121], ids=str)
def test_every_class_is_named_where_there_is_room(size):
    wnids = [info.wnid for info in load_classes()[:size]]
    shared = Confusion(np.full((size, size), 0.25), tuple(wnids), np.full(size, size))
    other = dataclasses.replace(shared, wnids=("n00000001", *wnids[1:]))
    wnids[1] = "n00000001"
    second = dataclasses.replace(shared, wnids=tuple(wnids))
    plain = draw(shared, [])
    assert draw(other, []) != plain  # named at any size
    assert (draw(second, []) != plain) == (size <= 120)


@pytest.mark.parametrize("num_images", [1, 2, 5, 6, 20, 50, 1000])
def test_the_colour_bar_has_two_or_more_labels_all_in_percent(num_images):
    matrix = num_images * np.eye(4)
    confusion = Confusion(matrix, WNIDS, np.array([num_images] * 4))
    figure = confusion_figure.draw(confusion, [])
    figure.draw_without_rendering()
    (map_axes, _) = figure.axes
    (bar,) = map_axes.child_axes
    axis, (low, high) = bar.yaxis, bar.get_ylim()
    shown = [
        text
        for minor in (False, True)
        for place, label in zip(
            axis.get_ticklocs(minor=minor), axis.get_ticklabels(minor), strict=True
        )
        if low <= place <= high and (text := label.get_text())
    ]
    assert 2 <= len(shown) <= 10
    assert all(text.endswith("%") and "$" not in text for text in shown)
