"""Compare a dataset with its input, reading the input again."""

import functools
import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import formats, seeds, storage
from transforms.images import decode
from transforms.images import read as image_reading
from transforms.images.process import process
from transforms.images.settings import describe_libraries
from transforms.index import table as index_table
from transforms.index.inventory import Inventory
from transforms.labels import classes
from transforms.prefetch import map_in_order
from transforms.progress import make_bar
from transforms.records import DataError, ImageLocation, ImageRef
from transforms.verification import results as check_results
from transforms.verification.dataset import DatasetFiles
from transforms.verification.results import Problems, Row

# Mean absolute difference, of 255, up to which images written by other versions of the
# libraries count as equal; different images differ by tens.
_MAX_DIFFERENCE = 2.0
_LOOK_AHEAD = 8  # images in progress per thread
_SPLITS = {"train": "training", "validation": "validation"}


@dataclass(frozen=True, kw_only=True)
class SourceIndex:
    """The index of the current input, with which a dataset is compared.

    Attributes:
      path: path of the input's index, a Parquet file.
      inventory: image counts and fingerprint of the input.
    """

    path: str
    inventory: Inventory

    def read(self) -> Iterator[pa.Table]:
        """Yield the row groups of the index as tables.

        The column `problem` is "" for usable images and for indexes without inspection.
        """
        with storage.parquet_errors(self.path, index_table.REMEDY):
            file = storage.open_parquet(self.path)
            names = index_table.SCHEMA.names
            is_inspected = "problem" in file.schema_arrow.names
            for number in range(file.num_row_groups):
                if is_inspected:
                    yield file.read_row_group(number, columns=[*names, "problem"])
                    continue
                table = file.read_row_group(number, columns=names)
                yield table.append_column("problem", pa.repeat("", table.num_rows))


def compare(
    dataset: DatasetFiles, source: SourceIndex, *, num_images: int | None
) -> Iterator[Row]:
    """Compare a dataset with its input; yield one report row per check.

    Args:
      dataset: the dataset.
      source: the input.
      num_images: number of images to convert again, selected by hash; None for all.
    """
    yield describe_input(source)
    checks = {
        "images of the input": functools.partial(check_images, dataset, source),
        "counts of the input": functools.partial(check_counts, dataset, source),
        "image contents": functools.partial(
            check_contents, dataset, source, num_images=num_images
        ),
    }
    for name, check in checks.items():
        yield check_results.run(name, check)


def describe_input(source: SourceIndex) -> Row:
    """Return a report row with the image counts of the input and its warnings."""
    lines = source.inventory.describe().splitlines()
    if len(lines) == 1:
        return Row("input", check_results.OK, lines[0])
    return Row("input", check_results.WARNING, "as it is now", tuple(lines))


def check_images(dataset: DatasetFiles, source: SourceIndex) -> Problems:
    """Check that each selected image is still in the input, usable and unchanged.

    Its class, its split and, where comparable, the length of its file must be the same.
    """
    images = _list_selected(dataset)
    is_missing = np.ones(images.num_rows, bool)
    keys = images["key"].combine_chunks()
    for table in source.read():
        positions = pc.index_in(table["key"], value_set=keys)
        rows = table.filter(pc.is_valid(positions))
        positions = positions.drop_null()
        is_missing[positions.to_numpy()] = False
        yield from _find_differences(rows, images.take(positions))
    missing = images.filter(pa.array(is_missing)).to_pylist()
    for image in missing:
        yield f"{image['key']} ({image['wnid']}, {image['split']}) is not in the input"
    return (
        f"{images.num_rows - len(missing)} of {images.num_rows} images are in the input"
    )


def _list_selected(dataset: DatasetFiles) -> pa.Table:
    """Return a table of all selected images: written ones, then failed ones.

    Failed images have an empty source and a source length of 0.
    """
    names = ["key", "split", "wnid", "source", "source_length"]
    written = dataset.manifest.select(names)
    failed = [(f.key, f.split, f.wnid, "", 0) for f in dataset.failures]
    columns = list(zip(*failed, strict=True)) or [()] * len(names)
    arrays = [
        pa.array(c, field.type)
        for c, field in zip(columns, written.schema, strict=True)
    ]
    return pa.concat_tables([written, pa.table(arrays, schema=written.schema)])


def _find_differences(rows: pa.Table, images: pa.Table) -> Iterator[str]:
    """Yield a message for each difference between the input and the dataset.

    Args:
      rows: rows of the input's index.
      images: the selected images with the same keys, in the same order.
    """
    is_same_file = pc.and_(
        pc.equal(rows["uri"], images["source"]), pc.equal(rows["encoding"], "raw")
    )
    differences = {
        "{key} is unusable in the input: {problem}": pc.not_equal(rows["problem"], ""),
        "{key} is of {wnid} in the input, of {own_wnid} in the dataset": pc.not_equal(
            rows["wnid"], images["wnid"]
        ),
        # The validation split of a dataset can hold training images.
        "{key} is in {split} in the input, in {own_split} in the dataset": pc.and_(
            pc.not_equal(rows["split"], "train"),
            pc.not_equal(images["split"], "validation"),
        ),
        "{key} has {length} bytes in {uri}, {own_source_length} at the build": pc.and_(
            is_same_file, pc.not_equal(rows["length"], images["source_length"])
        ),
    }
    own = images.rename_columns([f"own_{name}" for name in images.column_names])
    for text, differs in differences.items():
        for row, image in zip(
            rows.filter(differs).to_pylist(),
            own.filter(differs).to_pylist(),
            strict=True,
        ):
            yield text.format(**row, **image)


def check_counts(dataset: DatasetFiles, source: SourceIndex) -> Problems:
    """Check that no class of the input has gained or lost images since the build.

    If the counts are equal, the fingerprints of the input are also compared.

    Unusable images are included in the counts, because without an inspection they
    cannot be told apart from usable ones.
    """
    inventory, entries = source.inventory, dataset.statistics["classes"]
    now: Counter[tuple[str, str]] = Counter()
    for counted in (inventory.num_images, inventory.num_bad):
        now.update({(key.wnid, key.split): n for key, n in counted.items()})
    at_build = {
        (entry["wnid"], split): entry["found"].get(split, 0)
        + entry["unusable"].get(split, 0)
        for entry in entries
        for split in _SPLITS
    }
    counts = {key: count for key, count in at_build.items() if count}
    for wnid in sorted({wnid for wnid, _ in (*now, *counts)}):
        changes = [
            f"{now[wnid, split]} {adjective} images, {counts.get((wnid, split), 0)} "
            "when the dataset was built"
            for split, adjective in _SPLITS.items()
            if now[wnid, split] != counts.get((wnid, split), 0)
        ]
        if changes:
            yield f"{wnid} ({classes.display_name(wnid)}): {'; '.join(changes)}"
    has_changed = dict(now) != counts
    fingerprint = dataset.recipe["input_fingerprint"]
    summary = f"{sum(now.values())} images of {len(inventory.wnids())} classes"
    if inventory.fingerprint == fingerprint:
        return f"{summary}, the same fingerprint"
    if not has_changed and _has_comparable_lengths(dataset, source):
        yield (
            f"the fingerprint is {inventory.fingerprint[:12]}…, not "
            f"{fingerprint[:12]}…: images have other names or lengths"
        )
    return f"{summary}, another fingerprint"


def _has_comparable_lengths(dataset: DatasetFiles, source: SourceIndex) -> bool:
    """Return whether fingerprints at the build and now are comparable.

    A fingerprint hashes the lengths of the usable images. For Parquet files, these are
    row numbers; for zip files, compressed lengths. The fingerprints are therefore not
    comparable if such files occur or if the numbers of unusable images differ.
    """
    entries = dataset.statistics["classes"]
    num_bad = sum(sum(entry["unusable"].values()) for entry in entries)
    files = dataset.manifest["source"].unique().to_pylist()
    return (
        num_bad == sum(source.inventory.num_bad.values())
        and not any(file.endswith((".parquet", ".zip")) for file in files)
        and all(pc.all(pc.equal(t["encoding"], "raw")).as_py() for t in source.read())
    )


class _WrittenImage(NamedTuple):
    """The location of a written image, and the SHA-256 of its source bytes."""

    key: str
    file: str
    offset: int
    length: int
    source_sha256: str


def check_contents(
    dataset: DatasetFiles, source: SourceIndex, *, num_images: int | None
) -> Problems:
    """Convert images of the input again and compare them with the written images.

    Args:
      dataset: the dataset.
      source: the input.
      num_images: number of images to compare, selected by hash; None for all.
    """
    images = {image.key: image for image in _select_images(dataset, num_images)}
    keys = pa.array(list(images), pa.string())
    refs = [
        ref
        for table in source.read()
        for ref in index_table.to_refs(
            table.filter(pc.is_in(table["key"], value_set=keys))
        )
    ]
    refs.sort(key=lambda ref: (ref.input, ref.uri, ref.location))
    compare = functools.partial(_compare_image, dataset, source)
    places = [*source.inventory.roots, dataset.directory]
    num_threads = storage.num_readers(dataset.num_threads, places)
    num_equal = 0
    with (
        make_bar("comparing", total=len(refs), unit="image", leave=False) as bar,
        ThreadPoolExecutor(num_threads) as pool,
    ):
        pending = (pool.submit(compare, ref, images[ref.key]) for ref in refs)
        problems = map_in_order(pending, num_ahead=_LOOK_AHEAD * num_threads)
        for ref, problem in zip(refs, problems, strict=True):
            bar.update()
            if problem:
                yield f"{ref.key}: {problem}"
            num_equal += not problem
    image_reading.forget()
    how = "" if _has_same_libraries(dataset) else ", written by other library versions"
    return f"{num_equal} of {dataset.num_images} images compared and equal{how}"


def _select_images(
    dataset: DatasetFiles, num_images: int | None
) -> Iterator[_WrittenImage]:
    table = dataset.manifest.select(_WrittenImage._fields)
    if num_images is not None:
        keys = table["key"].to_pylist()
        orders = seeds.orders(dataset.recipe["seed"], "verify", keys)
        table = table.take(np.argsort(orders, kind="stable")[:num_images])
    for batch in table.to_batches():
        columns = batch.to_pydict().values()
        yield from map(_WrittenImage._make, zip(*columns, strict=True))


def _compare_image(
    dataset: DatasetFiles, source: SourceIndex, ref: ImageRef, image: _WrittenImage
) -> str:
    """Convert an image again and compare it with the written one.

    Returns:
      A description of the difference; "" if the images are equal, or differ slightly
      and the build used other versions of the image libraries. A changed source file is
      a difference even if the converted image is the same.
    """
    root = source.inventory.roots[ref.input]
    place = image_reading.describe_place(ref)
    try:
        version = source.inventory.versions.get(f"{root}/{ref.uri}", "")
        data = image_reading.read_image_bytes(root, ref, version)
        expected = process(data, dataset.image_settings).jpeg
    except DataError as error:
        return f"{place} of the input: {error}"
    if image.file not in dataset.mark.files:
        return f"complete.json does not list {image.file}"
    try:
        location = ImageLocation(image.file, image.offset, image.length)
        written = formats.read_image(dataset.directory, location)
        difference = _measure_difference(written, expected)
    except DataError as error:
        return f"{image.file}: {error}"
    is_equal = written == expected
    shown = f"mean difference {difference:.1f} of 255"
    if math.isinf(difference):
        shown = "another size"
    if hashlib.sha256(data).hexdigest() != image.source_sha256:
        shown = "the written image is the same" if is_equal else shown
        return f"{place} has other bytes than at the build; {shown}"
    if is_equal or (difference <= _MAX_DIFFERENCE and not _has_same_libraries(dataset)):
        return ""
    return f"{image.file} does not match the image of {place}: {shown}"


def _measure_difference(written: bytes, expected: bytes) -> float:
    """Return the mean absolute difference of two JPEGs' RGB values, 0 to 255.

    Images of different sizes have an infinite difference.

    Raises:
      DataError: an image is damaged.
    """
    if written == expected:
        return 0.0
    pixels = [
        np.asarray(
            decode.decode(decode.open_image(data)).image.convert("RGB"), np.int16
        )
        for data in (written, expected)
    ]
    if pixels[0].shape != pixels[1].shape:
        return math.inf
    return float(np.abs(pixels[0] - pixels[1]).mean())


def _has_same_libraries(dataset: DatasetFiles) -> bool:
    """Return whether the image libraries have the same versions as at the build."""
    versions = dataset.recipe["versions"]
    return all(
        versions.get(name) == version for name, version in describe_libraries().items()
    )
