"""Define the silhouettes and backdrops of families of related classes.

WordNet numbers animals, plants and food by topic, so the leading digits of a wnid
determine the family. Artefacts are numbered alphabetically; their families are listed
one by one or chosen by hash.
"""

import bisect
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from transforms import seeds

Points = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Part = tuple[str, Sequence[float]]  # role; an ellipse (x, y, rx, ry) or a polygon
Tint = tuple[float, float, float]  # hue, lightness, saturation


class Family(NamedTuple):
    """The silhouette and colours that related classes share.

    Coordinates of parts are about -1 to 1, with y pointing down; subjects face left.
    """

    sky: Tint
    ground: Tint
    hues: tuple[float, float]  # of the coat: lowest hue and width of the range
    parts: tuple[Part, ...]


_SKY, _SEA, _DUSK = (0.56, 0.80, 0.55), (0.53, 0.62, 0.55), (0.07, 0.82, 0.60)
_GRASS, _SAND, _ROAD = (0.27, 0.52, 0.38), (0.12, 0.70, 0.42), (0.70, 0.52, 0.07)
_ROOM, _FLOOR, _SHADE = (0.11, 0.86, 0.40), (0.06, 0.50, 0.35), (0.38, 0.60, 0.25)

_FAMILIES = {
    "fish": Family(_SEA, _SAND, (0.95, 0.75), (
        ("behind", (0.45, 0, 1, -0.55, 0.86, 0, 1, 0.55)),
        ("behind", (-0.3, -0.3, 0.15, -0.8, 0.45, -0.2)),
        ("coat", (-0.15, 0, 0.8, 0.46)),
        ("accent", (-0.1, 0.08, 0.3, 0.12, 0.2, 0.4)),
        ("light", (-0.62, -0.1, 0.13, 0.13)), ("ink", (-0.64, -0.1, 0.07, 0.07)),
    )),
    "bird": Family(_SKY, _GRASS, (0.93, 0.75), (
        ("behind", (0.4, 0, 1.1, 0.25, 1, 0.5, 0.35, 0.4)),
        ("behind", (-0.7, -0.5, -1.1, -0.3, -0.7, -0.2)),
        ("ink", (-0.1, 0.4, -0.02, 0.4, -0.02, 1, -0.1, 1)),
        ("ink", (0.15, 0.4, 0.23, 0.4, 0.23, 1, 0.15, 1)),
        ("coat", (0.08, 0.12, 0.62, 0.44)), ("coat", (-0.45, -0.38, 0.36, 0.34)),
        ("accent", (-0.15, -0.1, 0.35, -0.15, 0.85, 0.22, 0.2, 0.38)),
        ("light", (-0.55, -0.44, 0.1, 0.1)), ("ink", (-0.56, -0.44, 0.06, 0.06)),
    )),
    "frog": Family(_SHADE, _GRASS, (0.08, 0.38), (
        ("behind", (-0.75, 0.5, 0.3, 0.22)), ("behind", (0.75, 0.5, 0.3, 0.22)),
        ("coat", (0, 0.2, 0.85, 0.48)), ("coat", (-0.42, -0.32, 0.25, 0.25)),
        ("coat", (0.42, -0.32, 0.25, 0.25)),
        ("light", (-0.42, -0.34, 0.16, 0.16)), ("light", (0.42, -0.34, 0.16, 0.16)),
        ("ink", (-0.42, -0.34, 0.08, 0.08)), ("ink", (0.42, -0.34, 0.08, 0.08)),
        ("ink", (-0.5, 0.2, 0, 0.32, 0.5, 0.2, 0, 0.4)),
    )),
    "dog": Family(_SKY, _GRASS, (0.99, 0.13), (
        ("behind", (0.6, 0, 0.95, -0.65, 1.08, -0.55, 0.75, 0.2)),
        ("coat", (0.15, 0.15, 0.62, 0.32)), ("coat", (-0.55, -0.32, 0.34, 0.31)),
        ("coat", (-0.4, 0.2, -0.2, 0.2, -0.22, 0.95, -0.38, 0.95)),
        ("coat", (-0.12, 0.3, 0.06, 0.3, 0.04, 0.9, -0.1, 0.9)),
        ("coat", (0.36, 0.3, 0.54, 0.3, 0.52, 0.9, 0.38, 0.9)),
        ("coat", (0.56, 0.2, 0.76, 0.2, 0.74, 0.95, 0.58, 0.95)),
        ("light", (-0.82, -0.2, 0.22, 0.15)), ("ink", (-1, -0.25, 0.09, 0.08)),
        ("accent", (-0.3, -0.28, 0.14, 0.32)), ("ink", (-0.64, -0.42, 0.07, 0.07)),
    )),
    "cat": Family(_ROOM, _FLOOR, (0.98, 0.16), (
        ("behind", (-0.8, -0.1, -0.78, -1, -0.15, -0.55)),
        ("behind", (0.8, -0.1, 0.78, -1, 0.15, -0.55)),
        ("coat", (0, 0.08, 0.86, 0.7)),
        ("light", (-0.36, -0.05, 0.2, 0.17)), ("light", (0.36, -0.05, 0.2, 0.17)),
        ("ink", (-0.36, -0.05, 0.07, 0.16)), ("ink", (0.36, -0.05, 0.07, 0.16)),
        ("light", (-0.14, 0.44, 0.2, 0.15)), ("light", (0.14, 0.44, 0.2, 0.15)),
        ("ink", (-0.12, 0.26, 0.12, 0.26, 0, 0.4)),
    )),
    "bug": Family(_SHADE, _SHADE, (0.50, 0.65), (
        ("behind", (-0.5, 0.45, 0.36, 0.34)), ("behind", (0.5, 0.45, 0.36, 0.34)),
        ("coat", (-0.52, -0.22, 0.46, 0.5)), ("coat", (0.52, -0.22, 0.46, 0.5)),
        ("ink", (0, -0.4, -0.36, -0.98, -0.28, -1)),
        ("ink", (0, -0.4, 0.36, -0.98, 0.28, -1)), ("ink", (0, 0.08, 0.12, 0.66)),
    )),
    "car": Family(_DUSK, _ROAD, (0.55, 0.60), (
        ("behind", (-0.55, -0.1, -0.32, -0.55, 0.38, -0.55, 0.68, -0.1)),
        ("coat", (-1, 0.4, -1, 0.05, -0.6, -0.1, 0.9, -0.1, 1, 0.1, 1, 0.4)),
        ("light", (-0.42, -0.12, -0.26, -0.45, 0, -0.45, 0, -0.12)),
        ("light", (0.07, -0.12, 0.07, -0.45, 0.34, -0.45, 0.54, -0.12)),
        ("ink", (-0.55, 0.4, 0.25, 0.25)), ("ink", (0.55, 0.4, 0.25, 0.25)),
        ("accent", (-0.55, 0.4, 0.12, 0.12)), ("accent", (0.55, 0.4, 0.12, 0.12)),
    )),
    "boat": Family(_DUSK, _SEA, (0.85, 0.85), (
        ("ink", (-0.04, -1, 0.04, -1, 0.04, 0.5, -0.04, 0.5)),
        ("coat", (-0.1, -0.9, -0.1, 0.35, -0.75, 0.35)),
        ("coat", (0.1, -0.75, 0.85, 0.35, 0.1, 0.35)),
        ("accent", (-0.95, 0.45, 0.95, 0.45, 0.6, 0.9, -0.6, 0.9)),
    )),
    "instrument": Family(_ROOM, _FLOOR, (0.96, 0.18), (
        ("behind", (-0.09, -0.95, 0.09, -0.95, 0.09, 0.2, -0.09, 0.2)),
        ("behind", (0, -0.92, 0.17, 0.14)),
        ("coat", (0, 0.02, 0.4, 0.36)), ("coat", (0, 0.52, 0.56, 0.46)),
        ("ink", (0, 0.26, 0.16, 0.16)), ("accent", (0, 0.74, 0.26, 0.06)),
    )),
    "fruit": Family(_ROOM, _FLOOR, (0.94, 0.38), (
        ("behind", (0.02, -0.62, 0.3, -1, 0.85, -0.95, 0.5, -0.6)),
        ("coat", (0, 0.12, 0.76, 0.72)),
        ("ink", (-0.06, -0.5, -0.12, -0.95, 0, -0.98, 0.06, -0.5)),
        ("light", (-0.32, -0.16, 0.15, 0.12)),
    )),
    "mountain": Family(_DUSK, _SHADE, (0.60, 0.55), (
        ("behind", (0.15, 0.75, 0.62, -0.4, 1.15, 0.75)),
        ("coat", (-1.05, 0.75, -0.28, -0.9, -0.02, -0.9, 0.75, 0.75)),
        ("light", (-0.47, -0.5, -0.28, -0.9, -0.02, -0.9, 0.17, -0.5, -0.15, -0.3)),
    )),
    "flower": Family(_SKY, _GRASS, (0.70, 0.48), (
        ("ink", (-0.05, 0.2, 0.05, 0.2, 0.05, 1.1, -0.05, 1.1)),
        ("coat", (0, -0.6, 0.27, 0.36)), ("coat", (0, 0.3, 0.27, 0.36)),
        ("coat", (-0.42, -0.36, 0.34, 0.28)), ("coat", (0.42, -0.36, 0.34, 0.28)),
        ("coat", (-0.42, 0.06, 0.34, 0.28)), ("coat", (0.42, 0.06, 0.34, 0.28)),
        ("accent", (0, -0.15, 0.26, 0.26)),
    )),
    "mushroom": Family(_SHADE, _FLOOR, (0.93, 0.20), (
        ("light", (-0.22, 0, 0.22, 0, 0.32, 0.9, -0.32, 0.9)),
        ("coat", (-0.95, 0.12, -0.8, -0.4, -0.4, -0.75, 0, -0.85, 0.4, -0.75, 0.8, -0.4,
                  0.95, 0.12, 0.5, 0.22, 0, 0.25, -0.5, 0.22)),
    )),
}  # fmt: skip

_ANY = ""
_STARTS = (  # first digits of a wnid → family of the wnids from there on
    ("n00", _ANY), ("n014", "fish"), ("n0151", "bird"), ("n01629", "frog"),
    ("n0176", "bug"), ("n0179", "bird"), ("n0187", "dog"), ("n0191", "bug"),
    ("n0200", "bird"), ("n0206", "fish"), ("n0208", "dog"), ("n02123", "cat"),
    ("n0216", "bug"), ("n0232", "dog"), ("n02514", "fish"), ("n0266", _ANY),
    ("n07", "fruit"), ("n0919", "mountain"), ("n098", _ANY), ("n11", "flower"),
    ("n1214", "fruit"), ("n1298", "mushroom"), ("n131", _ANY),
)  # fmt: skip
_NAMED = {
    "n02676566": "instrument",  # acoustic guitar
    "n02701002": "car",  # ambulance
    "n02981792": "boat",  # catamaran
    "n03100240": "car",  # convertible
    "n03272010": "instrument",  # electric guitar
    "n04146614": "car",  # school bus
    "n04147183": "boat",  # schooner
    "n04285008": "car",  # sports car
    "n04536866": "instrument",  # violin
    "n04612504": "boat",  # yawl
    "n07734744": "mushroom",  # among the food
}
_OTHERS = ("boat", "car", "instrument")


def find_family(wnid: str) -> Family:
    """Return the family of a class, which does not depend on a random seed."""
    name = _NAMED.get(wnid)
    if name is None:
        place = bisect.bisect_right(_STARTS, wnid, key=_first) - 1
        name = _STARTS[max(place, 0)][1]
    return _FAMILIES[name or _OTHERS[seeds.order(0, "draw", wnid) % len(_OTHERS)]]


def _first(start: tuple[str, str]) -> str:
    return start[0]


def outline(numbers: Sequence[float]) -> Points:
    """Convert a shape to the corners of a polygon, shape (corners, 2).

    Args:
      numbers: an ellipse (x, y, x radius, y radius), or the coordinates of a polygon
        (x0, y0, x1, y1, …) with at least three corners.
    """
    if len(numbers) > 4:
        return np.array(numbers, dtype=np.float64).reshape(-1, 2)
    x, y, width, height = numbers
    # Rounded, so that no difference between maths libraries can move a pixel.
    circle = [
        (math.cos(math.tau * i / 24), math.sin(math.tau * i / 24)) for i in range(24)
    ]
    return np.round(circle, 9) * (width, height) + (x, y)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return outline((left, top, right, top, right, bottom, left, bottom))


_STEPS = [step / 10 for step in range(-10, 11)]
PATTERNS: tuple[Points, ...] = (  # patches on the coat, shape (patches, corners, 2)
    np.stack([_box(-1.2, y, 1.2, y + 0.2) for y in _STEPS[1::4]]),
    np.empty((0, 4, 2)),
    np.stack([
        outline((x + 0.2 * (row % 2), y, 0.12, 0.12))
        for row, y in enumerate(_STEPS[1::3])
        for x in _STEPS[::4]
    ]),
    np.stack([_box(x, -1.2, x + 0.16, 1.2) for x in _STEPS[1::4]]),
)


@functools.lru_cache(maxsize=64)
def trace(family: Family) -> list[tuple[str, Points]]:
    """Return each part's role and corners, shape (corners, 2), from back to front."""
    return [(role, outline(numbers)) for role, numbers in family.parts]
