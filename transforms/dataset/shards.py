"""Write shards: convert each image once and write it in every format.

shard ── read ── decode ── resize ── encode ──┬─ a file per format
         (threads; results in order)          └─ the manifest part, last
"""

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from transforms import formats, processes, progress, storage
from transforms.dataset import manifest
from transforms.dataset import plan as dataset_plan
from transforms.dataset.manifest import ManifestRow, Part
from transforms.formats import ShardPlace, ShardWriter
from transforms.images import read as image_reading
from transforms.images.process import ProcessedImage, process
from transforms.images.settings import ImageSettings
from transforms.index import table as index_table
from transforms.labels import classes
from transforms.prefetch import map_in_order
from transforms.records import (
    DataError,
    Failure,
    ImageRef,
    Record,
    SelectedImage,
    Shard,
    UsageError,
)

# Enough waiting images that no thread idles while results are taken in order.
_LOOK_AHEAD = 8


class EncodedImage(NamedTuple):
    """A converted image, and the SHA-256 of its source bytes."""

    image: ProcessedImage
    source_sha256: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """Settings that all shards of a dataset share."""

    root: str  # folder of the dataset while it is written
    work: str  # folder for parts of the manifest until it is written
    plan_folder: str
    roots: Sequence[str]  # of the inputs
    versions: Mapping[str, str]  # of their archives, by path
    name: str
    formats: Sequence[str]
    folders: Sequence[str]  # of the groups, by label
    images: ImageSettings
    num_threads: int
    ticks: str | None = None  # path of the `progress.Ticker`
    is_spooled: bool = False  # the inputs are temporary; the manifest names keys


def encode_image(ref: ImageRef, settings: ShardSettings) -> EncodedImage | DataError:
    """Read and convert one image; return the error if the image cannot be used."""
    try:
        root = settings.roots[ref.input]
        version = settings.versions.get(f"{root}/{ref.uri}", "")
        data = image_reading.read_image_bytes(root, ref, version)
        return EncodedImage(
            process(data, settings.images), hashlib.sha256(data).hexdigest()
        )
    except DataError as error:
        return error


def _read_usable_part(work: str, plan_folder: str, shard: Shard) -> Part | None:
    """Return the manifest part of a shard unless it must be written again.

    That is so if the part is missing or damaged, if images failed, because they may
    have been repaired, and if the images were read from other places than planned: the
    plan id does not depend on the layout of the input, but the manifest does.
    """
    part = manifest.read_part(work, shard)
    if part is None or part.failures:
        return None
    try:
        rows = manifest.read_part_rows(work, shard)
    except UsageError:  # damaged
        return None
    planned = dataset_plan.read_sources(plan_folder, shard)
    sources = rows.select(["source", "source_offset", "source_length"])
    return part if sources.columns == planned.columns else None


def find_written_shard(
    root: str, shard: Shard, *, work: str, plan_folder: str
) -> Part | None:
    """Return the manifest part of a shard that an earlier run completed, else None.

    Checksums of all files are compared.

    Args:
      root: folder of the dataset while it is written.
      shard: the shard.
      work: folder for parts of the manifest.
      plan_folder: folder of the plan.
    """
    part = _read_usable_part(work, plan_folder, shard)
    if part is None:
        return None
    files = (file for files in part.files.values() for file in files)
    whole = all(storage.describe_file(root, file.path) == file for file in files)
    return part if whole else None


def list_resumable(
    root: str, shards: Sequence[Shard], *, work: str, plan_folder: str
) -> list[Part]:
    """List the manifest parts of shards whose files have the sizes recorded earlier.

    Checksums are not compared here; `ShardBuilder` compares them and may therefore
    write some of these shards again.

    Args:
      root: folder of the dataset while it is written.
      shards: all shards.
      work: folder for parts of the manifest.
      plan_folder: folder of the plan.
    """

    def find(shard: Shard) -> Part | None:
        part = _read_usable_part(work, plan_folder, shard)
        if part is None:
            return None
        files = (file for files in part.files.values() for file in files)
        try:
            is_whole = all(
                storage.num_bytes(f"{root}/{file.path}") == file.num_bytes
                for file in files
            )
        except FileNotFoundError:
            is_whole = False
        return part if is_whole else None

    with ThreadPoolExecutor(storage.num_readers(processes.num_cores(), [root])) as pool:
        return [part for part in pool.map(find, shards) if part is not None]


class ShardBuilder:
    """Write shards one after the other, with several threads if requested."""

    def __init__(self, settings: ShardSettings) -> None:
        self._settings = settings
        num_threads = storage.num_readers(settings.num_threads, settings.roots)
        self._pool = ThreadPoolExecutor(num_threads) if num_threads > 1 else None
        self._num_ahead = _LOOK_AHEAD * num_threads
        self._ticker = progress.Ticker(settings.ticks)

    def close(self) -> None:
        """Stop the threads and close the input files."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        image_reading.forget()

    def make(self, shard: Shard) -> Part:
        """Write one shard unless an earlier run has; return its manifest part."""
        settings = self._settings
        if kept := find_written_shard(
            settings.root, shard, work=settings.work, plan_folder=settings.plan_folder
        ):
            self._ticker.tick(kept.num_images)
            return kept
        images = dataset_plan.read_part(settings.plan_folder, shard)
        writers: dict[str, ShardWriter] = {}
        rows: list[ManifestRow] = []
        failures: list[Failure] = []
        conversions: Counter[str] = Counter()
        try:
            for name in settings.formats:
                writers[name] = self._open(name, shard)
            for image, prepared in self._prepare_all(images):
                if isinstance(prepared, DataError):
                    failures.append(_describe_failure(image, prepared))
                else:
                    row = _write(image, prepared, writers, shard, len(rows))
                    if settings.is_spooled:
                        row = row._replace(source=row.key, source_offset=0)
                    rows.append(row)
                    conversions.update(_list_conversions(prepared.image))
                self._ticker.tick()
            written = {name: writer.close() for name, writer in writers.items()}
        finally:
            for writer in writers.values():
                writer.discard()
        # The manifest has the locations in the first format.
        locations = next(iter(written.values())).locations
        rows = [
            row._replace(**location._asdict())
            for row, location in zip(rows, locations, strict=True)
        ]
        part = Part(
            shard=shard,
            files={name: shard_files.files for name, shard_files in written.items()},
            failures=failures,
            conversions=conversions,
            num_images=len(rows),
        )
        manifest.write_part(settings.work, part, rows)
        return part

    def _open(self, format_name: str, shard: Shard) -> ShardWriter:
        settings = self._settings
        place = ShardPlace(
            root=settings.root,
            name=settings.name,
            folders=settings.folders,
            shard=shard,
        )
        return formats.load(format_name).ShardWriter(place)

    def _prepare_all(
        self, images: Sequence[SelectedImage]
    ) -> Iterator[tuple[SelectedImage, EncodedImage | DataError]]:
        """Yield images with their results in order; bound the images in flight."""
        refs = (image.ref for image in images)
        make = functools.partial(encode_image, settings=self._settings)
        if self._pool is None:
            return zip(images, map(make, refs), strict=True)
        futures = (self._pool.submit(make, ref) for ref in refs)
        return zip(
            images, map_in_order(futures, num_ahead=self._num_ahead), strict=True
        )


def _write(
    image: SelectedImage,
    prepared: EncodedImage,
    writers: Mapping[str, ShardWriter],
    shard: Shard,
    position: int,
) -> ManifestRow:
    """Append one image to every format and return its manifest row.

    The row's `file`, `offset` and `length` are set later, when the shard is closed.
    """
    ref, made = image.ref, prepared.image
    source_offset, source_length, _ = index_table.to_columns(ref.location)
    fine_label = classes.class_index(ref.wnid)
    record = Record(ref.key, made.jpeg, image.label, fine_label, ref.wnid)
    for writer in writers.values():
        writer.add(record)
    return ManifestRow(
        key=ref.key,
        split=image.split,
        wnid=ref.wnid,
        label=image.label,
        fine_label=fine_label,
        shard=shard.number,
        position=position,
        file="",
        offset=0,
        length=0,
        width=made.width,
        height=made.height,
        source=ref.uri,
        source_offset=source_offset,
        source_length=source_length,
        source_sha256=prepared.source_sha256,
    )


def _list_conversions(image: ProcessedImage) -> Iterator[str]:
    yield from image.conversions
    if image.smaller_than_asked:
        yield "smaller_than_asked"


def _describe_failure(image: SelectedImage, error: DataError) -> Failure:
    ref = image.ref
    place = image_reading.describe_place(ref)
    return Failure(ref.key, image.split, image.label, ref.wnid, place, str(error))


_MANY_SHARDS = 8  # per process, so that one more or less hardly matters


def count_processes(num_at_once: int, num_shards: int, num_images: int) -> int:
    """Return the number of processes that keep the cores busy until the end.

    Shards have nearly equal sizes, so processes end together if each writes the same
    number. If each would write fewer than 8, more processes than cores may be used, so
    that the shards divide evenly. 1 means that no child process is needed.

    Args:
      num_at_once: number of shards to write concurrently.
      num_shards: number of all shards.
      num_images: number of all images.
    """
    each = max(num_shards // num_at_once, 1)
    most = num_at_once if each >= _MANY_SHARDS else -(-num_shards // each)
    return max(min(most, num_images // processes.LEAST_IMAGES), 1)


def settings_to_json(settings: ShardSettings) -> Mapping[str, Any]:
    """Convert settings to the JSON object that `begin` takes."""
    return dataclasses.asdict(settings)


def begin(described: Mapping[str, Any]) -> Callable[[Sequence[Any]], tuple[int, int]]:
    """Return a function that writes a shard.

    Args:
      described: the JSON form of `ShardSettings`, from `settings_to_json`.

    Returns:
      A function that takes the fields of a `Shard`, and returns the numbers of its
      written and failed images.
    """
    images = ImageSettings(**described["images"])
    maker = ShardBuilder(ShardSettings(**{**described, "images": images}))

    def write(shard: Sequence[Any]) -> tuple[int, int]:
        part = maker.make(Shard(*shard))
        return part.num_images, len(part.failures)

    return write
