"""Resize decoded images and rotate them upright.

The filter, Catmull-Rom, equals Pillow's BICUBIC. cykooz_resizer takes an eighth of
Pillow's time and releases the interpreter lock. Its portable, SSE4.1 and AVX2 code
paths produce identical pixels.
"""

from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

CATMULL_ROM = ResizeAlg.convolution(FilterType.catmull_rom)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def resize(image: Image.Image, size: tuple[int, int], box: CropBox) -> Image.Image:
    """Resize a part of an image.

    Args:
      image: mode RGB or L.
      size: (width, height) of the result in pixels.
      box: left, top, width and height of the part in pixels; may be fractional.

    Returns:
      A new image, or `image` itself if the size and the box leave it unchanged.
    """
    if (box.width, box.height) == image.size == size:
        return image
    resized = Image.new(image.mode, size, None)  # every pixel is set
    # A resizer serves one thread at a time; creating one takes half a microsecond.
    Resizer().resize_pil(image, resized, ResizeOptions(CATMULL_ROM, crop_box=box))
    return resized


def middle_square(width: int, height: int) -> CropBox:
    """Return the largest centred square of an image, in whole pixels."""
    side = min(width, height)
    return CropBox((width - side) // 2, (height - side) // 2, side, side)


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Rotate or flip an image according to its EXIF orientation, 1 to 8."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
