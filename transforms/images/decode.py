"""Open and decode untrusted image files.

The format is detected from the first bytes; only JPEG, PNG, GIF, BMP, WebP and AVIF are
supported. The size is checked before pixels are allocated. Any exception that Pillow
raises for damaged bytes becomes a `DataError`.
"""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from PIL import AvifImagePlugin, ExifTags, Image, ImageChops, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from transforms import records
from transforms.images import signatures, zero_pages

MAX_PIXELS = 128_000_000  # 512 MB in memory
MAX_SIDE = 1_000_000  # above a few million, Pillow reports a lack of memory
# Pixels times passes over them: ten bytes of a progressive JPEG can require a pass.
# Files from cameras and encoders have about ten passes; the largest image may have 50.
MAX_PASSED_PIXELS = 50 * MAX_PIXELS
_START_OF_SCAN = b"\xff\xda"  # never within the data of a scan
_LEAST_SCAN_BYTES = 10  # its marker and header, of one component
DRAFT_MARGIN = 4  # see `decode`
_GREY_MODES = frozenset({"1", "L", "LA", "I;16"})

# Pillow warns about damaged EXIF and APNG headers, which do not affect users. A global
# filter is thread-safe, unlike `warnings.catch_warnings`.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Images are decoded in parallel, each by one thread.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

# Not `Image.open`: it warns about large images and broken MPO files, and reads all
# images of an MPO file, although the first is a plain JPEG.
_FORMATS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (signatures.JPEG, JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF8", GifImageFile),
    (b"BM", BmpImageFile),
    (b"RIFF", WebPImageFile),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MAX_BRANDS_BYTES = 256

# MemoryError is not included: sizes are bounded, so the machine has too little memory.
_ROTTEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class Pixels(NamedTuple):
    """A decoded image and its scale relative to the file."""

    image: Image.Image  # mode RGB, or L if the file is greyscale
    scale: int  # each pixel covers scale x scale pixels of the file


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Open an image and read its header, without decoding pixels.

    Raises:
      DataError: the format or kind of JPEG is unsupported, the header is damaged, a
        JPEG contains pages of zeros, or decoding would take too much memory or time.
    """
    if not data:
        raise records.DataError("empty file")
    image_file = _find_format(data)
    if image_file is None:
        raise records.DataError(signatures.describe(data))
    if image_file is JpegImageFile and (why := signatures.find_jpeg_problem(data)):
        raise records.DataError(why)
    with _data_errors("broken header"):
        image = image_file(io.BytesIO(data))
    _check_bounds(image, data)
    if isinstance(image, JpegImageFile):
        problem = zero_pages.describe(data, _count_blocks(image))
        if problem:
            raise records.DataError(problem)
    return image


def _count_blocks(image: JpegImageFile) -> int:
    """Return the total number of 8x8 blocks in all components of a JPEG."""
    samplings = [(across, down) for _, across, down, _ in image.layer]
    width = 8 * max((across for across, _ in samplings), default=1) or 8
    height = 8 * max((down for _, down in samplings), default=1) or 8
    num_units = -(-image.width // width) * -(-image.height // height)
    return num_units * sum(across * down for across, down in samplings)


def _find_format(data: bytes) -> type[ImageFile.ImageFile] | None:
    brands = signatures.list_brands(data[:_MAX_BRANDS_BYTES])
    if AvifImagePlugin.SUPPORTED and not _AVIF_BRANDS.isdisjoint(brands):
        return AvifImagePlugin.AvifImageFile
    return next((f for magic, f in _FORMATS if data.startswith(magic)), None)


def _check_bounds(image: ImageFile.ImageFile, data: bytes) -> None:
    size, num_pixels = f"{image.width}x{image.height}", image.width * image.height
    if num_pixels > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise records.DataError(
            f"image of {size} pixels is over the bound of {MAX_PIXELS} pixels"
            f" and {MAX_SIDE} a side"
        )
    if isinstance(image, JpegImageFile):
        # Counting takes 5 % of the time per image; most files are too short to need it.
        if len(data) // _LEAST_SCAN_BYTES * num_pixels <= MAX_PASSED_PIXELS:
            return
        num_scans = data.count(_START_OF_SCAN)
        if num_scans * num_pixels > MAX_PASSED_PIXELS:
            raise records.DataError(
                f"image of {size} pixels in {num_scans} scans would take too long"
            )


def find_orientation(image: ImageFile.ImageFile) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if it is missing or damaged."""
    exif = Image.Exif()  # image.getexif() would decode a PNG completely
    try:
        exif.load(image.info.get("exif", b""))
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    except _ROTTEN:
        return 1
    return orientation if orientation in range(2, 9) else 1


def find_conversions(image: ImageFile.ImageFile, orientation: int) -> tuple[str, ...]:
    """List the properties of an opened image that a plain RGB JPEG does not have.

    Returns:
      A sorted subset of 16bit, alpha, cmyk, greyscale, icc, orientation and palette,
      and the format in lower case if it is not JPEG.
    """
    mode, info = image.mode, image.info
    raw_mode = str(image.tile[0].args) if image.tile else mode
    signs = {
        "16bit": "16B" in raw_mode,
        "alpha": "A" in mode or "transparency" in info,
        "cmyk": mode == "CMYK",
        "greyscale": raw_mode.startswith("LA") or mode in _GREY_MODES,
        "icc": bool(info.get("icc_profile")),
        "orientation": orientation != 1,
        "palette": mode == "P",
        str(image.format).lower(): image.format != "JPEG",
    }
    return tuple(sorted(word for word, present in signs.items() if present))


def decode(image: ImageFile.ImageFile, shrink: float = 1.0) -> Pixels:
    """Decode all pixels of an opened image, JPEGs at a reduced scale if possible.

    A JPEG that will be downscaled strongly is decoded at 1/2, 1/4 or 1/8 of its size,
    but at no less than `DRAFT_MARGIN` times its final size. The resized result then
    differs from that of a full decode by a mean absolute difference of less than 1 of
    255 levels. Over 200 images at exactly this margin, the mean is 0.25, 0.30 and
    0.37 for the three scales, and the maximum 0.79. The maximum would be 1.2 for a
    margin of 3, and 2.7 for a margin of 2.

    Args:
      image: an opened image; it cannot be used afterwards.
      shrink: factor by which the image will be downscaled; the smaller one if those of
        width and height differ.

    Returns:
      RGB or greyscale pixels without alpha and metadata; the EXIF orientation is not
      applied.

    Raises:
      DataError: the file is truncated or damaged.
    """
    scale = 1
    # Adobe inverts CMYK values; Pillow assumes that all CMYK files are inverted.
    plain_ink = image.mode == "CMYK" and "adobe" not in image.info
    if isinstance(image, JpegImageFile):
        scale = next((s for s in (8, 4, 2) if s * DRAFT_MARGIN <= shrink), 1)
    with _data_errors("broken image"):
        if scale > 1:
            image.draft(None, (image.width // scale, image.height // scale))
        image.load()
        image.info.clear()  # would affect conversion and encoding
        pixels = ImageChops.invert(image) if plain_ink else image
        return Pixels(_to_rgb_or_grey(pixels), scale)


def _to_rgb_or_grey(image: Image.Image) -> Image.Image:
    if image.mode in {"RGB", "L"}:
        return image
    if image.mode == "I;16":
        # Keep the high bytes; Pillow would clip values above 255 to white.
        return Image.frombytes("L", image.size, image.tobytes("raw", "I;16")[1::2])
    return image.convert("L" if image.mode in _GREY_MODES else "RGB")


@contextlib.contextmanager
def _data_errors(what: str) -> Iterator[None]:
    try:
        yield
    except _ROTTEN as error:
        if "truncated" in str(error).lower():
            raise records.DataError("truncated image") from error
        cause = " ".join(str(error).split()) or type(error).__name__
        raise records.DataError(f"{what}: {cause}") from error
