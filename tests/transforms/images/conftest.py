"""An image with the frequencies of a photograph, and a function to encode it."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw


@pytest.fixture(scope="session")
def photograph() -> Image.Image:
    """Waves whose amplitude decreases with frequency, and two hard-edged shapes."""
    y, x = np.mgrid[0:601, 0:803].astype(np.float64)
    channels = []
    for channel in range(3):
        level = np.full(x.shape, 120.0 + 10 * channel)
        for wave in range(1, 30):
            angle = 2.4 * wave + channel / 3
            along = x * np.cos(angle) + y * np.sin(angle)
            level += 60 / wave * np.sin(along * wave / 22 + angle)
        channels.append(np.clip(level, 0, 255))
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.ellipse((100, 150, 420, 400), fill=(200, 60, 40), outline=(0, 0, 0), width=5)
    pen.rectangle((600, 30, 760, 300), fill=(20, 90, 220))
    return image


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """A function that encodes an image with Pillow."""

    def encode_image(image: Image.Image, form: str = "JPEG", **options) -> bytes:
        file = io.BytesIO()
        image.save(file, form, **options)
        return file.getvalue()

    return encode_image
