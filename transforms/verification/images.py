"""Check the location and the bytes of every image in the manifest, and hash them."""

import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from transforms import formats, storage
from transforms.images import decode
from transforms.images.settings import target_size
from transforms.progress import make_bar
from transforms.records import DataError, ImageLocation
from transforms.verification.dataset import DatasetFiles
from transforms.verification.results import Problems

_BATCH = 256  # images that wait for a thread
_UNREAD = b""


class _ImageRow(NamedTuple):
    """The location and the size in pixels of an image, as stated in the manifest."""

    key: str
    split: str
    shard: int
    label: int
    file: str
    offset: int
    length: int
    width: int
    height: int


class _ReadResult(NamedTuple):
    """The SHA-256 of an image's bytes, b"" if not read, and its problem, "" if none."""

    digest: bytes
    problem: str


def check_images(dataset: DatasetFiles) -> Problems:
    """Check each image's file, byte range, JPEG data and size in pixels.

    The hashes of the images are stored in `dataset.digests`. Images in damaged files
    get no hash, so that other formats are not compared with them.
    """
    dataset.digests.clear()
    dataset.copies.clear()
    digests: list[bytes] = []
    num_bytes = 0
    files = set(dataset.mark.files)
    rows = map(_ImageRow._make, dataset.rows(*_ImageRow._fields))
    read_image = partial(_read_image, dataset, files)
    with (
        make_bar(
            "decoding", total=dataset.num_images, unit="image", leave=False
        ) as bar,
        ThreadPoolExecutor(dataset.num_readers) as pool,
    ):
        for batch in _batches(rows):
            for place, result in zip(batch, pool.map(read_image, batch), strict=True):
                is_intact = dataset.is_intact(place.file)
                digests.append(result.digest if is_intact else _UNREAD)
                num_bytes += place.length
                if result.problem:
                    yield f"{place.key} in {place.file}: {result.problem}"
            bar.update(len(batch))
    storage.forget_open_files()
    dataset.digests.extend(digests)
    return f"{len(digests)} decoded, {num_bytes / 1e6:,.1f} MB"


def _batches(rows: Iterator[_ImageRow]) -> Iterator[list[_ImageRow]]:
    while batch := list(itertools.islice(rows, _BATCH)):
        yield batch


def _read_image(
    dataset: DatasetFiles, files: set[str], place: _ImageRow
) -> _ReadResult:
    """Read, hash and decode one image, and check its file, byte range and size.

    Args:
      dataset: dataset of the image.
      files: paths that the commit mark lists.
      place: manifest row of the image.
    """
    expected = _expected_file(dataset, place)
    if place.file != expected:
        return _ReadResult(_UNREAD, f"must be in {expected}")
    if place.file not in files:
        return _ReadResult(_UNREAD, "complete.json does not list the file")
    size = dataset.sizes.get(place.file) or 0
    if place.offset < 0 or not 0 < place.length <= size - place.offset:
        location = f"{place.length} bytes at byte {place.offset}"
        return _ReadResult(_UNREAD, f"has {location} of a file of {size} bytes")
    data = formats.read_image(
        dataset.directory, ImageLocation(place.file, place.offset, place.length)
    )
    digest = hashlib.sha256(data).digest()
    try:
        problem = _find_problem(data, place.width, place.height)
    except DataError as error:
        return _ReadResult(digest, str(error))
    resized = target_size(place.width, place.height, dataset.image_settings)
    # Resizing a resized image again must not change its size.
    if not problem and resized != (place.width, place.height):
        problem = (
            f"has {place.width}x{place.height} pixels, which contradicts the recipe"
        )
    return _ReadResult(digest, problem)


def _expected_file(dataset: DatasetFiles, place: _ImageRow) -> str:
    return dataset.locate_image(
        dataset.formats[0],
        split=place.split,
        shard=place.shard,
        label=place.label,
        key=place.key,
    )


def _find_problem(data: bytes, width: int, height: int) -> str:
    image = decode.open_image(data)
    kind, mode, size = image.format, image.mode, image.size
    decode.decode(image)
    if kind != "JPEG" or mode not in {"RGB", "L"}:
        return f"is {kind} in {mode}, not an RGB or greyscale JPEG"
    if size != (width, height):
        return f"has {size[0]}x{size[1]} pixels, not {width}x{height}"
    return ""
