"""Define the settings of image conversion and compute the size of resized images."""

import dataclasses
from importlib import metadata

from PIL import features

RESIZE_MODES = ("shorter_side", "longer_side", "center_crop", "squash", "none")
CHROMA = "4:2:0"
FILTER = "catmull_rom"
MAX_SIDE = 65500  # pixels; the limit of libjpeg


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """The settings with which images are resized and encoded.

    Attributes:
      image_size: length in pixels of the resized side, or of both for a square.
      resize_mode: one of `RESIZE_MODES`; see `target_size`.
      upscale: whether `shorter_side` and `longer_side` enlarge smaller images;
        `center_crop` and `squash` always do.
      jpeg_quality: quality from 1 to 100, as Pillow defines it.
    """

    image_size: int = 256
    resize_mode: str = "shorter_side"
    upscale: bool = False
    jpeg_quality: int = 90

    def describe(self) -> dict[str, str | int | bool]:
        """Return all settings that affect the pixels, for the recipe."""
        return {**dataclasses.asdict(self), "chroma": CHROMA, "filter": FILTER}


def describe_libraries() -> dict[str, str]:
    """Return the versions of the libraries that affect the pixels."""
    return {
        "pillow": metadata.version("pillow"),
        "libjpeg_turbo": features.version_feature("libjpeg_turbo") or "none",
        "cykooz_resizer": metadata.version("cykooz-resizer"),
    }


def target_size(width: int, height: int, settings: ImageSettings) -> tuple[int, int]:
    """Return the (width, height) in pixels to which an upright image is resized.

    - `shorter_side` and `longer_side` resize that side to `image_size` and keep the
      aspect ratio. The other side is rounded half up, to at least 1 pixel. Smaller
      images are enlarged only if `upscale` is set.
    - `center_crop` and `squash` return a square of `image_size`.
    - `none` keeps the size.
    """
    size = settings.image_size
    if settings.resize_mode in {"center_crop", "squash"}:
        return size, size
    side = _measured_side(width, height, settings)
    if settings.resize_mode == "none" or (side < size and not settings.upscale):
        return width, height
    return _scaled(width, side, size), _scaled(height, side, size)


def is_smaller_than_asked(width: int, height: int, settings: ImageSettings) -> bool:
    """Return whether a resized image is smaller than `image_size`.

    Always False for `resize_mode="none"`.
    """
    if settings.resize_mode == "none":
        return False
    return _measured_side(width, height, settings) < settings.image_size


def _measured_side(width: int, height: int, settings: ImageSettings) -> int:
    return (max if settings.resize_mode == "longer_side" else min)(width, height)


def _scaled(length: int, side: int, size: int) -> int:
    # Round half up in integers: round() rounds to even, and floats may miss a half.
    return max(1, (2 * length * size + side) // (2 * side))
