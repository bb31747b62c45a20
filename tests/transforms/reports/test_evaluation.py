"""Test that the page is self-contained, without scripts, and names all models."""

import html.parser
import re

import numpy as np
import pytest

from tests import making_curves
from tests.making_curves import SUBSET_ID, rows
from transforms.evaluation.by_accuracies import evaluate_accuracies
from transforms.evaluation.by_curves import evaluate_curves
from transforms.evaluation.by_predictions import evaluate_predictions
from transforms.predictions.reading import Predictions
from transforms.reports import evaluation


def make_page(found):
    return evaluation.make_page(found).html


NAMES = ("resnet50", "wide & <deep>", "vit", "mobile")


class Outline(html.parser.HTMLParser):
    """Records open tags, links and text."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.pictures = 0

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in {"src", "href", "xlink:href"} and v]
        self.links = [link for link in self.links if not link.startswith("#")]
        self.pictures += tag == "svg"
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, _attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def outline(page):
    found = Outline()
    found.feed(page.decode())
    found.close()
    return found


def curves_of(tmp_path, *subset_ids, turned=False):
    curves = {n: [0.5 - 0.1 * k, 0.9 - 0.1 * k] for k, n in enumerate(NAMES)}
    full = rows({**curves, NAMES[0]: [0.1, 0.9]}) + rows(curves, seed=1)
    if turned:
        curves |= {NAMES[0]: curves[NAMES[1]], NAMES[1]: curves[NAMES[0]]}
    small = [
        row
        for one in subset_ids
        for seed in (0, 1)
        for row in rows(
            curves, subset_id=one, train_images=9, validation_images=500, seed=seed
        )
    ]
    return evaluate_curves(
        [making_curves.write(tmp_path / "full.csv", full)],
        [making_curves.write(tmp_path / "subset.csv", small)],
        seed=0,
    )


def predictions_of(_):
    truth = np.arange(1000) % 10
    models = []
    for name, every in zip(NAMES, (50, 20, 7, 3), strict=True):
        first = truth.copy()
        first[::every] += 1
        top5 = np.stack([first, *(first + n for n in (2, 3, 4, 5))], axis=1)
        models.append(Predictions(name, top5, truth))
    some = np.where(np.arange(1000) < 8, np.arange(1000) // 2, -1)
    return evaluate_predictions(
        models, {"some": some, "all": np.arange(1000) // 2}, seed=0
    )


def accuracies_of(tmp_path):
    path = tmp_path / "t.csv"
    lines = [f"{name},{n},{n * n % 5}" for n, name in enumerate(NAMES)]
    path.write_text("\n".join(["model,one,two", *lines]))
    return evaluate_accuracies([str(path)], columns=["one", "two"])


MADE = {
    "one subset": lambda tmp_path: curves_of(tmp_path, SUBSET_ID),
    "two subsets": lambda tmp_path: curves_of(tmp_path, SUBSET_ID, "other"),
    "predictions": predictions_of,
    "accuracies": accuracies_of,
}


@pytest.fixture(params=MADE.values(), ids=MADE)
def page(request, tmp_path):
    return make_page(request.param(tmp_path))


def test_the_page_is_well_formed(page):
    found = outline(page)
    assert found.open == []
    assert page.startswith(b"<!doctype html>")


def test_page_is_self_contained(page):
    found = outline(page)
    assert found.links == []
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert not re.search(rb"https?:|url\(|@import", page)


def test_page_has_light_and_dark_themes_and_fits_a_phone(page):
    assert b"prefers-color-scheme: dark" in page
    assert b"width=device-width" in page
    colors = set(re.findall(rb"var\((--[\w-]+)\)", page))
    style, dark = page.split(b"</style>")[0], b"(prefers-color-scheme: dark)"
    assert style.count(dark) == 1
    assert all(style.count(b"%s:" % name) >= 2 for name in colors)


def test_every_model_is_named(page):
    words = outline(page).words
    assert all(name in words for name in NAMES)


def test_the_same_evaluation_makes_the_same_page(tmp_path):
    first, second = (make_page(curves_of(tmp_path, SUBSET_ID)) for _ in range(2))
    assert first == second
    assert str(tmp_path).encode() not in first


def test_one_subset_has_its_verdict_and_charts(tmp_path):
    found = outline(make_page(curves_of(tmp_path, SUBSET_ID)))
    assert found.pictures == 7
    assert "Useful" in found.words
    assert "How good is small aaaaaaaa?" in found.words
    assert any(word.startswith("It keeps the order of 6") for word in found.words)


@pytest.mark.parametrize(("turned", "kind"), [(False, b"good"), (True, b"bad")])
def test_a_verdict_has_its_colour(tmp_path, turned, kind):
    page = make_page(curves_of(tmp_path, SUBSET_ID, turned=turned))
    assert b'<div class="verdict %s">' % kind in page


def test_several_subsets_share_the_first_table(tmp_path):
    found = outline(make_page(curves_of(tmp_path, SUBSET_ID, "other")))
    words = found.words
    assert words.index("verdict") < words.index("small other")
    assert "How good are 2 subsets?" in words


def test_warnings_are_shown(tmp_path):
    page = make_page(curves_of(tmp_path, SUBSET_ID))
    assert b"Before trusting these figures" in page
    assert b"4 models are few" in page


def test_terms_are_defined_beside_their_labels(tmp_path):
    page = make_page(curves_of(tmp_path, SUBSET_ID)).decode()
    assert re.search(
        r'<abbr title="Share of the pairs[^"]+">resolving power</abbr>', page
    )
    assert re.search(r'<abbr title="Images seen until[^"]+">gain, 95 %: ', page)


def test_predictions_end_in_a_recommendation_and_bounds():
    page = make_page(predictions_of(None)).decode()
    assert "<b>Recommendation</b><p>Use some" in page
    assert "noise ceiling: single classes" in page
