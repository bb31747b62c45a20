"""Check the location and the bytes of every image in the manifest, and hash them."""

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from transforms import formats, storage
from transforms.images import decode
from transforms.images import read as image_reading
from transforms.images.settings import target_size
from transforms.records import DataError
from transforms.verification import results as check_results
from transforms.verification.dataset import (
    CheckedFile,
    CheckedImage,
    DatasetFiles,
    FileResults,
)
from transforms.verification.results import Problems

ByteRanges = Sequence[tuple[int, int]]  # offset and length of each image


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


def check_file(directory: str, path: str, images: ByteRanges = ()) -> CheckedFile:
    """Hash a file, and hash and decode its images.

    Args:
      directory: folder of the dataset.
      path: path of the file, relative to the folder.
      images: byte ranges of the images in the file.
    """
    try:
        written = storage.describe_file(directory, path)
    except OSError as error:
        return CheckedFile("", check_results.describe_error(error))
    if written is None:
        return CheckedFile("", f"{path} is missing")
    encoding = formats.image_encoding(path) if images else ""
    place = f"{directory}/{path}"
    checked = [_check_image(place, *image, encoding) for image in images]
    return CheckedFile(written.sha256, "", checked)


def _check_image(path: str, offset: int, length: int, encoding: str) -> CheckedImage:
    """Read, hash and decode one image."""
    try:
        packed = storage.read_range(path, offset, length)
        data = image_reading.unpack(packed, encoding, offset)
    except (DataError, OSError) as error:
        return CheckedImage("", str(error))
    digest = hashlib.sha256(data).hexdigest()
    try:
        image = decode.open_image(data)
        kind, mode, size = image.format, image.mode, image.size
        decode.decode(image)
    except DataError as error:
        return CheckedImage(digest, str(error))
    problem = ""
    if kind != "JPEG" or mode not in {"RGB", "L"}:
        problem = f"is {kind} in {mode}, not an RGB or greyscale JPEG"
    return CheckedImage(digest, problem, *size)


def list_byte_ranges(dataset: DatasetFiles) -> dict[str, list[tuple[int, int]]]:
    """Return the byte ranges of the images in each file that the manifest names.

    Images with an invalid location are omitted.
    """
    ranges: dict[str, list[tuple[int, int]]] = {}
    for row, problem in _locate(dataset):
        if not problem:
            ranges.setdefault(row.file, []).append((row.offset, row.length))
    return ranges


def _locate(dataset: DatasetFiles) -> Iterator[tuple[_ImageRow, str]]:
    """Yield each row of the manifest and the problem of its location, "" if none."""
    locate = _make_locator(dataset)
    files = dataset.mark.files
    for row in map(_ImageRow._make, dataset.rows(*_ImageRow._fields)):
        size = dataset.sizes.get(row.file) or 0
        problem = ""
        if row.file != (expected := locate(row)):
            problem = f"must be in {expected}"
        elif row.file not in files:
            problem = "complete.json does not list the file"
        elif row.offset < 0 or not 0 < row.length <= size - row.offset:
            end = row.offset + row.length
            problem = f"needs bytes {row.offset} to {end} of a file of {size} bytes"
        yield row, problem


def _make_locator(dataset: DatasetFiles) -> Callable[[_ImageRow], str]:
    """Return a function that returns the path at which an image must be."""
    name = dataset.formats[0]
    if formats.has_shard_files(name):
        locate_shard = functools.cache(functools.partial(dataset.locate_shard, name))
        return lambda row: locate_shard(split=row.split, shard=row.shard)
    return lambda row: dataset.locate_image(
        name, split=row.split, shard=row.shard, label=row.label, key=row.key
    )


def check_images(results: FileResults) -> Problems:
    """Check each image's file, byte range, JPEG data and size in pixels.

    The hashes of the images are stored in `results.digests`. Images in damaged files
    get no hash, so that other formats are not compared with them.
    """
    dataset, digests = results.dataset, results.digests
    num_bytes = num_decoded = 0
    find_target = functools.cache(
        functools.partial(target_size, settings=dataset.image_settings)
    )
    remaining = {path: iter(file.images) for path, file in results.checked.items()}
    for row, misplaced in _locate(dataset):
        checked = CheckedImage("", misplaced)
        if not misplaced:
            unread = results.checked[row.file].problem or "was not read"
            checked = next(remaining[row.file], CheckedImage("", unread))
        problem, size = checked.problem, (checked.width, checked.height)
        if not problem and size != (row.width, row.height):
            problem = f"has {size[0]}x{size[1]} pixels, not {row.width}x{row.height}"
        # Resizing a resized image again must not change its size.
        elif not problem and find_target(*size) != size:
            problem = f"has {size[0]}x{size[1]} pixels, which contradicts the recipe"
        digests.append(checked.sha256 if results.is_intact(row.file) else "")
        num_bytes += row.length
        num_decoded += size != (0, 0)
        if problem:
            yield f"{row.key} in {row.file}: {problem}"
    return f"{num_decoded} decoded, {num_bytes / 1e6:,.1f} MB"
