"""Test drawn images: reproducible, distinct by class, learnable, easy and hard."""

import hashlib

import numpy as np
import pytest

from transforms.miniature import drawing, silhouettes
from transforms.miniature.archives import CLASSES

SIDE_PX = 24


def pixels(wnid, number, **settings):
    return np.asarray(drawing.draw_image(wnid, number, **settings))


def test_picture_is_the_golden_one():
    data = pixels("n02088364", 1)
    assert data.shape == (85, 68, 3)
    assert hashlib.sha256(data.tobytes()).hexdigest() == (
        "812c56825e511144aa09e99bd4d38a5a9136a00f07c215c6061bc0ca463b2a0d"
    )


def test_order_of_drawing_does_not_matter():
    first = [pixels(wnid, 5) for wnid in CLASSES]
    again = [pixels(wnid, 5) for wnid in reversed(CLASSES)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("wnid", "number", "seed"),
    [("n02099601", 1, 0), ("n02088364", 2, 0), ("n02088364", 1, 1)],
    ids=["class", "number", "seed"],
)
def test_picture_depends_on(wnid, number, seed):
    other = drawing.draw_image(wnid, number, seed=seed)
    assert other.tobytes() != drawing.draw_image("n02088364", 1).tobytes()


def test_sizes_vary_around_the_one_asked_for():
    images = [drawing.draw_image("n01443537", n, size=(200, 100)) for n in range(40)]
    sides = {tuple(sorted(image.size)) for image in images}
    assert len(sides) > 20
    assert all(85 <= low <= 115 and 170 <= high <= 230 for low, high in sides)
    assert {image.width > image.height for image in images} == {True, False}
    assert {image.mode for image in images} == {"RGB"}


def test_every_class_has_its_own_look():
    looks = [drawing._find_look(wnid, 0) for wnid in CLASSES]
    seen = {
        (look.family, round(look.hue, 2), look.lightness, look.accent) for look in looks
    }
    assert len(seen) == len(CLASSES)


@pytest.mark.parametrize(
    ("one", "other", "related"),
    [
        ("n02088364", "n02099601", True),
        ("n02123394", "n02123159", True),
        ("n03100240", "n04285008", True),
        ("n07734744", "n12998815", True),
        ("n02088364", "n02123394", False),
        ("n01558993", "n01443537", False),
    ],
    ids=["dogs", "cats", "cars", "mushrooms", "dog and cat", "bird and fish"],
)
def test_relatives_share_a_family(one, other, related):
    same = silhouettes.find_family(one) is silhouettes.find_family(other)
    assert same == related


@pytest.mark.parametrize("wnid", ["", "n00000001", "n06359193", "n15075141", "cat"])
def test_any_class_name_can_be_drawn(wnid):
    assert pixels(wnid, 0).ndim == 3


def test_difficulties_fill_the_unit_interval_and_most_are_easy():
    values = np.array([drawing.difficulty("n02123394", n, 0) for n in range(1000)])
    assert values.min() >= 0
    assert values.max() < 1
    assert 0.4 < np.mean(values < 0.25) < 0.6
    assert np.mean(values > 0.8) > 0.05


def draw_set(wnids, numbers):
    """Draw (small centred pixels, labels, difficulties)."""
    cases = [(label, wnid, n) for label, wnid in enumerate(wnids) for n in numbers]
    small = [drawing.draw_image(w, n).resize((SIDE_PX, SIDE_PX)) for _, w, n in cases]
    features = np.stack([np.asarray(image).ravel() / 255 - 0.5 for image in small])
    hardness = np.array([drawing.difficulty(w, n, 0) for _, w, n in cases])
    return features, np.array([label for label, _, _ in cases]), hardness


def test_small_model_learns_the_classes_and_finds_hard_ones_hard():
    wnids = CLASSES[:20]
    train, labels, _ = draw_set(wnids, range(40))
    test, truth, hardness = draw_set(wnids, range(1000, 1025))
    # Ridge regression to one-hot labels, in its dual form.
    targets = np.eye(len(wnids))[labels] - 1 / len(wnids)
    kernel = train @ train.T + 30 * np.eye(len(train))
    scores = test @ (train.T @ np.linalg.solve(kernel, targets))
    is_right = scores.argmax(axis=1) == truth
    assert is_right.mean() > 0.5  # chance is 0.05
    easy, hard = is_right[hardness < 0.1].mean(), is_right[hardness > 0.5].mean()
    assert easy > 0.75
    assert easy > hard + 0.2


def test_relatives_are_confused_more_than_strangers():
    wnids = CLASSES[:10]  # five pairs of relatives
    train, labels, _ = draw_set(wnids, range(40))
    test, truth, _ = draw_set(wnids, range(1000, 1025))
    means = np.stack([train[labels == label].mean(axis=0) for label in range(10)])
    distances = ((test[:, None] - means) ** 2).sum(axis=2)
    predicted = distances.argmin(axis=1)
    wrong = predicted != truth
    to_relative = predicted[wrong] // 2 == truth[wrong] // 2
    assert to_relative.mean() > 2 / 9  # by chance one in nine
