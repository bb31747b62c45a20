"""The bytes of a picture → the numbers that a model is asked with, as its card says."""

import numpy as np
import numpy.typing as npt
from cykooz_resizer import CropBox
from PIL import Image

from transforms.images import decode, resize
from transforms.images.settings import ImageSettings, target_size
from transforms.models.card import Preprocessing
from transforms.records import DataError

_GREY = 127


def prepare(data: bytes, settings: Preprocessing) -> npt.NDArray[np.uint8]:
    """Make the middle square of a picture: upright, in RGB, at the model's size.

    Returns: Shape (crop_px, crop_px, 3).
    Raises: DataError: the bytes are no picture, are broken, or are out of bounds.
    """
    image = decode.open_image(data)
    orientation = decode.find_orientation(image)
    shorter = ImageSettings(image_size=settings.resize_px, upscale=True)
    size = target_size(*image.size, shorter)  # of the picture as it lies
    if size[0] * size[1] > decode.MAX_PIXELS:
        raise DataError(
            f"image of {image.width}x{image.height} pixels would become one of "
            f"{size[0]}x{size[1]}, over the bound of {decode.MAX_PIXELS} pixels"
        )
    shrink = min(image.width / size[0], image.height / size[1])
    box = (0, 0, *image.size)
    pixels = decode.decode(image, shrink)
    resized = resize.resize(
        pixels.image, size, CropBox(*(length / pixels.scale for length in box))
    )
    upright = resize.turn_upright(resized, orientation)
    return np.asarray(_crop_middle(upright, settings.crop_px).convert("RGB"))


def _crop_middle(image: Image.Image, side: int) -> Image.Image:
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def make_grey(settings: Preprocessing) -> npt.NDArray[np.uint8]:
    """Make a picture of one grey."""
    return np.full((settings.crop_px, settings.crop_px, 3), _GREY, np.uint8)


def input_shape(settings: Preprocessing) -> tuple[int, int, int]:
    """Return the shape of one picture as the model takes it."""
    side = settings.crop_px
    return (side, side, 3) if settings.layout == "channels_last" else (3, side, side)


def make_batch(
    pictures: npt.NDArray[np.uint8], settings: Preprocessing
) -> npt.NDArray[np.float32]:
    """Turn pictures, shape (images, crop_px, crop_px, 3), into a model's input."""
    batch = pictures.astype(np.float32)
    batch -= np.asarray(settings.mean, np.float32)
    batch /= np.asarray(settings.std, np.float32)
    if settings.channel_order == "bgr":
        batch = batch[..., ::-1]
    if settings.layout == "channels_first":
        batch = batch.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch)
