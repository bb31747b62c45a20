"""The manifest's places → every image, decoded in full, and its checksum."""

import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from transforms import storage
from transforms.images import decode
from transforms.images.settings import target_size
from transforms.progress import make_bar
from transforms.records import DataError
from transforms.verification.dataset import DatasetFiles
from transforms.verification.results import Problems

_BATCH = 256  # images that wait for a thread
_UNREAD = b""


class _Place(NamedTuple):
    """Where the manifest says that an image lies, and its size in pixels."""

    key: str
    split: str
    shard: int
    label: int
    file: str
    offset: int
    length: int
    width: int
    height: int


class _Seen(NamedTuple):
    """What was found at a place."""

    digest: bytes
    problem: str


def check_images(dataset: DatasetFiles) -> Problems:
    """Cut every image out of its file and decode it; keep the checksums."""
    dataset.digests.clear()
    digests: list[bytes] = []
    num_bytes = 0
    files = set(dataset.mark.files)
    rows = map(_Place._make, dataset.rows(*_Place._fields))
    look = partial(_look, dataset, files)
    with (
        make_bar(
            "decoding", total=dataset.num_images, unit="image", leave=False
        ) as bar,
        ThreadPoolExecutor(dataset.num_readers) as pool,
    ):
        for batch in _batches(rows):
            for place, seen in zip(batch, pool.map(look, batch), strict=True):
                digests.append(seen.digest)
                num_bytes += place.length
                if seen.problem:
                    yield f"{place.key}: {seen.problem}"
            bar.update(len(batch))
    storage.forget_open_files()
    dataset.digests.extend(digests)
    return f"{len(digests)} decoded, {num_bytes / 1e6:,.1f} MB"


def _batches(rows: Iterator[_Place]) -> Iterator[list[_Place]]:
    while batch := list(itertools.islice(rows, _BATCH)):
        yield batch


def _look(dataset: DatasetFiles, files: set[str], place: _Place) -> _Seen:
    """Read and decode one image."""
    expected = _expected_file(dataset, place)
    if place.file != expected or place.file not in files:
        return _Seen(_UNREAD, f"lies in {place.file}, not in {expected}")
    size = dataset.sizes.get(place.file) or 0
    if place.offset < 0 or not 0 < place.length <= size - place.offset:
        where = f"{place.length} bytes at byte {place.offset} of {place.file}"
        return _Seen(_UNREAD, f"{where}, which has {size}")
    path = f"{dataset.directory}/{place.file}"
    data = storage.read_range(path, place.offset, place.length)
    digest = hashlib.sha256(data).digest()
    try:
        problem = _find_problem(data, place.width, place.height)
    except DataError as error:
        return _Seen(digest, str(error))
    made = target_size(place.width, place.height, dataset.image_settings)
    if not problem and made != (place.width, place.height):  # a made one stays as it is
        problem = f"has {place.width}x{place.height} pixels, as the recipe makes none"
    return _Seen(digest, problem)


def _expected_file(dataset: DatasetFiles, place: _Place) -> str:
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
        return f"is {kind} in {mode}, not a JPEG in colour or grey"
    if size != (width, height):
        return f"has {size[0]}x{size[1]} pixels, not {width}x{height}"
    return ""
