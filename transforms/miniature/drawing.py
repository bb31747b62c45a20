"""Draw images of a class, as replacements for photographs that cannot be distributed.

Related classes share a silhouette and a backdrop. Each class has its own colours and
coat pattern. Each image has its own position, size, tilt, lighting and difficulty: in
hard images, the subject is small, faded and partly covered, and the image is cluttered
and noisy.
"""

import colorsys
import functools
import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from transforms import seeds
from transforms.miniature import silhouettes
from transforms.miniature.silhouettes import Points

Option = TypeVar("Option")
Colour = tuple[int, int, int]

_OVERSAMPLING = 2  # images are drawn larger and averaged, for smooth edges
_INK, _LIGHT = (38, 34, 44), (246, 242, 232)
_SHADES = np.linspace(255, 165, 64).astype(np.uint8)
_FROM_ABOVE = Image.fromarray(np.repeat(_SHADES, 3).reshape(64, 1, 3))


class _Draws(NamedTuple):
    """Deterministic random values for a class or an image.

    Each value is determined by the seed, the key of the class or image, and the name
    `what`.
    """

    seed: int
    key: str

    def number(self, what: str) -> int:
        return seeds.order(self.seed, "draw", f"{self.key}/{what}")

    def between(self, what: str, low: float, high: float) -> float:
        return low + (high - low) * self.number(what) / (1 << 63)

    def pick(self, what: str, options: Sequence[Option]) -> Option:
        return options[self.number(what) % len(options)]

    def noise(self, what: str, shape: tuple[int, ...]) -> Points:
        """Return an array of this shape with random values in [-1, 1)."""
        start = str(self.number(what)).encode()
        data = hashlib.shake_128(start).digest(math.prod(shape))
        return np.frombuffer(data, np.uint8).reshape(shape) / 128 - 1


class _Look(NamedTuple):
    """The appearance that all images of a class share; colours are 0 to 1."""

    family: silhouettes.Family
    hue: float
    lightness: float
    saturation: float
    accent: float  # hue
    pattern: Points  # (patches, corners, 2), drawn on the coat


def difficulty(wnid: str, number: int, seed: int = 0) -> float:
    """Return the difficulty of an image, 0 to 1; half of all images are below 0.25."""
    return _Draws(seed, f"{wnid}/{number}").between("difficulty", 0, 1) ** 2


def draw_image(
    wnid: str, number: int, *, seed: int = 0, size: tuple[int, int] = (96, 72)
) -> Image.Image:
    """Draw one image of a class; the result is the same on every machine.

    Args:
      wnid: class of the image, any wnid; related classes look similar.
      number: number of the image within its class.
      seed: random seed of the appearance of classes and images.
      size: approximate width and height in pixels, varied by up to 15 %. A quarter of
        the images have width and height swapped.

    Returns:
      An RGB image.
    """
    look = _find_look(wnid, seed)
    draws = _Draws(seed, f"{wnid}/{number}")
    hardness = difficulty(wnid, number, seed)
    canvas = _paint_backdrop(look, draws, hardness, size=_vary_size(size, draws))
    _paint_clutter(canvas, draws, hardness)
    _paint_subject(canvas, look, draws, hardness)
    _paint_cover(canvas, look, draws, hardness)
    return _expose(canvas.reduce(_OVERSAMPLING), draws, hardness)


@functools.lru_cache(maxsize=1024)
def _find_look(wnid: str, seed: int) -> _Look:
    draws = _Draws(seed, wnid)
    family = silhouettes.find_family(wnid)
    start, width = family.hues
    hue = start + draws.between("hue", 0, width)
    return _Look(
        family=family,
        hue=hue,
        lightness=draws.pick("lightness", (0.32, 0.48, 0.7)),
        saturation=draws.between("saturation", 0.5, 0.8),
        accent=hue + width * draws.pick("accent", (-0.6, -0.3, 0.3, 0.6)),
        pattern=draws.pick("pattern", silhouettes.PATTERNS),
    )


def _colour(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(
        hue % 1, min(max(lightness, 0), 1), min(max(saturation, 0), 1)
    )
    return round(red * 255), round(green * 255), round(blue * 255)


def _vary_size(size: tuple[int, int], draws: _Draws) -> tuple[int, int]:
    width = round(size[0] * draws.between("width", 0.85, 1.15))
    height = round(size[1] * draws.between("height", 0.85, 1.15))
    return (height, width) if draws.number("upright") % 4 == 0 else (width, height)


def _paint_backdrop(
    look: _Look, draws: _Draws, hardness: float, *, size: tuple[int, int]
) -> Image.Image:
    """Paint sky, ground and soft clouds; the ground darkens towards the bottom."""
    sky_hue, sky, sky_saturation = look.family.sky
    hue, ground, saturation = look.family.ground
    shift = draws.between("backdrop", -0.04, 0.04) * (1 + 3 * hardness)
    horizon = draws.between("horizon", 4.5, 8.5)
    rows = [
        _colour(sky_hue + shift, sky + 0.015 * row, sky_saturation)
        if row < horizon
        else _colour(hue + shift, ground + 0.02 * (horizon - row), saturation)
        for row in range(12)
    ]
    clouds = draws.noise("clouds", (12, 16, 1)) * (7 + 22 * hardness)
    tiny = np.array(rows, dtype=np.float64)[:, None, :] + clouds
    backdrop = Image.fromarray(np.clip(tiny, 0, 255).astype(np.uint8))
    large = (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING)
    return backdrop.resize(large, Image.Resampling.BILINEAR)


def _fill(draw: ImageDraw.ImageDraw, points: Points, colour: Colour | int) -> None:
    draw.polygon(points.ravel().tolist(), fill=colour)


def _paint_clutter(canvas: Image.Image, draws: _Draws, hardness: float) -> None:
    """Draw ellipses of random colours behind the subject; harder images have more."""
    draw = ImageDraw.Draw(canvas)
    scale = min(canvas.size)
    for item in range(int(hardness * 7)):
        x = draws.between(f"x{item}", 0, canvas.width)
        y = draws.between(f"y{item}", 0, canvas.height)
        radius = draws.between(f"radius{item}", 0.05, 0.16) * scale
        hue = draws.between(f"hue{item}", 0, 1)
        _fill(draw, silhouettes.outline((x, y, radius, radius)), _colour(hue, 0.6, 0.5))


def _place(
    draws: _Draws, hardness: float, size: tuple[int, int]
) -> tuple[Points, Points]:
    """Choose the scale, tilt, mirroring and position of the subject.

    Returns:
      The matrix to multiply row vectors by, shape (2, 2), and the centre (x, y) in
      pixels, shape (2,).
    """
    scale = min(size) * draws.between("scale", 0.34, 0.47) * (1 - 0.35 * hardness)
    tilt = math.radians(draws.between("tilt", -1, 1) * (6 + 40 * hardness))
    cosine, sine = round(math.cos(tilt), 9) * scale, round(math.sin(tilt), 9) * scale
    mirror = draws.pick("mirror", (1, -1))
    matrix = np.array([[cosine * mirror, sine * mirror], [-sine, cosine]])
    reach = 0.12 + 0.12 * hardness
    x = size[0] * (0.5 + draws.between("x", -reach, reach))
    y = size[1] * (0.52 + draws.between("y", -reach, reach) * 0.6)
    return matrix, np.array([x, y])


def _paint_subject(
    canvas: Image.Image, look: _Look, draws: _Draws, hardness: float
) -> None:
    """Paint the subject from back to front: outline, rear parts, coat, front parts."""
    matrix, centre = _place(draws, hardness, canvas.size)
    parts = [(role, p @ matrix + centre) for role, p in silhouettes.trace(look.family)]
    hue = look.hue + draws.between("drift", -0.1, 0.1) * hardness
    saturation = look.saturation * (1 - 0.5 * hardness)
    coat = _colour(hue, look.lightness, saturation)
    contrast = 0.36 if look.lightness < 0.5 else -0.36
    accent = _colour(look.accent, look.lightness + contrast, saturation)
    behind = _colour(hue, look.lightness * 0.72, saturation)
    rim = _colour(hue, look.lightness * 0.35, saturation * 0.6)

    draw = ImageDraw.Draw(canvas)
    width = round(min(canvas.size) / 36)
    for role, points in parts:
        if role in {"coat", "behind"}:
            closed = np.concatenate([points, points[:1]]).ravel().tolist()
            draw.line(closed, fill=rim, width=width)
    mask = Image.new("L", canvas.size)
    on_mask = ImageDraw.Draw(mask)
    for role, points in parts:
        if role == "coat":
            _fill(on_mask, points, 255)
        elif role == "behind":
            _fill(draw, points, behind)
    patches = look.pattern @ matrix + centre
    canvas.paste(_weave_coat(canvas.size, coat, accent, patches), mask=mask)
    colours = {"accent": accent, "ink": _INK, "light": _LIGHT}
    for role, points in parts:
        if role in colours:
            _fill(draw, points, colours[role])


def _weave_coat(
    size: tuple[int, int], coat: Colour, accent: Colour, patches: Points
) -> Image.Image:
    """Draw an image of the coat: its colour and pattern, lit from above."""
    cloth = Image.new("RGB", size, coat)
    draw = ImageDraw.Draw(cloth)
    for patch in patches:
        _fill(draw, patch, accent)
    light = _FROM_ABOVE.resize(size, Image.Resampling.NEAREST)
    return ImageChops.multiply(cloth, light)


def _paint_cover(
    canvas: Image.Image, look: _Look, draws: _Draws, hardness: float
) -> None:
    """Draw blades of grass that partly cover the subject; harder images have more."""
    draw = ImageDraw.Draw(canvas)
    hue, lightness, saturation = look.family.ground
    width, height = canvas.size
    for blade in range(int(hardness * 8) - 1):
        x = draws.between(f"blade{blade}", 0.1, 0.9) * width
        lean = draws.between(f"lean{blade}", -0.12, 0.12) * width
        top = draws.between(f"top{blade}", 0.05, 0.55) * height
        half = 0.03 * width
        colour = _colour(hue, lightness * (0.6 + 0.1 * (blade % 3)), saturation)
        corners = (x - half, height, x + lean, top, x + half, height)
        _fill(draw, silhouettes.outline(corners), colour)


def _expose(image: Image.Image, draws: _Draws, hardness: float) -> Image.Image:
    """Change brightness, tint and contrast, and add noise; more so in hard images."""
    pixels = np.asarray(image).astype(np.float64)
    dusk = hardness * draws.between("dusk", 0, 0.4)
    light = draws.between("light", 0.88, 1.12) - dusk
    tint = draws.noise("tint", (3,)) * (4 + 16 * hardness)
    contrast = 1 - 0.35 * hardness
    grain = draws.noise("grain", (*pixels.shape[:2], 1)) * (4 + 52 * hardness**2)
    pixels = (pixels - 128) * contrast * light + 128 * light + tint + grain
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
