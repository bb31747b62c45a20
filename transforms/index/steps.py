"""Define the Beam steps of the index: find images, join labels, write the index."""

import dataclasses
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection
from apache_beam.transforms.combiners import ToList
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms import input_warnings, layouts, processes, progress, storage
from transforms.images import read as image_reading
from transforms.images.read import PlacedRef
from transforms.index import inspection
from transforms.index import table as index_table
from transforms.index.inspection import Inspection, inspect_all
from transforms.input_warnings import InputWarning, Observation
from transforms.labels import agreement, classes, validation
from transforms.labels.agreement import PartLabels
from transforms.labels.image_names import NumberLabels
from transforms.layouts import InputPart, MisplacedImage
from transforms.prefetch import PendingResults
from transforms.processes import ProcessPool, num_cores
from transforms.records import (
    DataError,
    ImageRef,
    SkippedFile,
    UsageError,
    check_all_arrived,
    list_names,
)

# Parts in buckets that are read at once: reading an archive is a chain of small reads,
# each of which waits for the previous one.
_PIECES_AT_ONCE = 64
_COUNTED_AT_ONCE = 10  # images


class PartImages(NamedTuple):
    """The images of one part; never shuffled, because runners fuse the next steps."""

    number: int  # of the part, in the order of the inputs
    piece: InputPart
    refs: list[ImageRef]
    strays: list[SkippedFile]
    version: str = ""  # of an archive
    observations: tuple[Observation, ...] = ()
    labels: PartLabels = PartLabels()


def read_part(
    number: int,
    piece: InputPart,
    count: Callable[[int], None] = lambda _: None,
) -> PartImages:
    """Read the names and locations of all images of a part.

    Args:
      number: position of the part in the order of the inputs.
      piece: the part.
      count: progress callback, called with the number of images since its last call.

    Raises:
      UsageError: the archive changed while it was read, or the layout cannot read it.
    """
    refs: list[ImageRef] = []
    strays: list[SkippedFile] = []
    observations: list[Observation] = []
    misplaced: list[MisplacedImage] = []
    labels = PartLabels()
    # A local file has a version before it is read; an object may have one only after.
    before = _find_version(piece.path)
    for item in layouts.read(piece):
        if isinstance(item, ImageRef | MisplacedImage):
            if isinstance(item, MisplacedImage):
                misplaced.append(item)
            refs.append(item.ref if isinstance(item, MisplacedImage) else item)
            if not len(refs) % _COUNTED_AT_ONCE:
                count(_COUNTED_AT_ONCE)
        elif isinstance(item, SkippedFile):
            strays.append(item)
        elif isinstance(item, NumberLabels):
            labels = labels._replace(numbers=item)
        else:
            observations.append(item)
    count(len(refs) % _COUNTED_AT_ONCE)
    observations += observe_misplaced(piece, refs, misplaced)
    version = _find_version(piece.path)
    if before not in {"", version}:
        raise UsageError(f"{piece.path}: changed while it was read; try again")
    combined = tuple(input_warnings.combine(observations))
    return PartImages(number, piece, refs, strays, version, combined, labels)


def _find_version(path: str) -> str:
    try:
        return storage.version(path)
    except DataError as error:
        raise UsageError(f"{path}: {error}; try again") from None


def observe_misplaced(
    piece: InputPart, refs: Sequence[ImageRef], misplaced: Sequence[MisplacedImage]
) -> Iterator[Observation]:
    """Yield observations of images whose name and folder state different classes.

    Args:
      piece: the part that contains the images.
      refs: all images of the part, with the classes of their names.
      misplaced: the images whose name contradicts their folder or archive.
    """
    if not misplaced:
        return
    num_right = Counter(ref.wnid for ref in refs)
    num_right.subtract(image.ref.wnid for image in misplaced)
    by_place: dict[str, list[MisplacedImage]] = {}
    for image in misplaced:
        by_place.setdefault(image.place_wnid, []).append(image)
    for place, images in by_place.items():
        where = _describe_place(piece, place)
        if num_right[place]:
            for image in images:
                yield Observation("other_class", f"{image.name} in {where}")
        else:
            named = {image.ref.wnid: None for image in images}
            shown = list_names(map(_name_class, named), 3)
            yield Observation(
                "other_class_all",
                f"{where} of {_name_class(place)}: {len(images):,} images of {shown}",
            )


def _describe_place(piece: InputPart, wnid: str) -> str:
    """Describe the folder or archive of a class for messages.

    If the part is an archive of several classes, append the split and wnid.
    """
    return piece.uri if wnid in piece.uri else f"{piece.uri}, {piece.split}/{wnid}"


def _name_class(wnid: str) -> str:
    return f"{wnid} ({classes.display_name(wnid)})"


class _ReadPieces(beam.DoFn):
    """Read the images of each part; read up to 64 parts in buckets concurrently."""

    def __init__(self, ticks: str | None) -> None:
        self._ticks = ticks

    def setup(self) -> None:
        self._pool = ThreadPoolExecutor(_PIECES_AT_ONCE)
        self._ticker = progress.Ticker(self._ticks)

    def start_bundle(self) -> None:
        self._pending: PendingResults[PartImages] = PendingResults(_PIECES_AT_ONCE)
        self._error: Exception | None = None

    def teardown(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def process(self, numbered: tuple[int, InputPart]) -> Iterator[PartImages]:
        number, piece = numbered
        if not storage.is_remote(piece.root):
            yield read_part(number, piece, self._count)
            return
        task = self._pool.submit(self._read, number, piece)
        self._pending.add(task.result)
        yield from self._pending.take_excess()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for images in self._pending.take_all():
            yield GlobalWindows.windowed_value(images)

    def _read(self, number: int, piece: InputPart) -> PartImages:
        try:
            return read_part(number, piece, self._count)
        except Exception as error:
            self._error = error
            raise

    def _count(self, num_images: int) -> None:
        if self._error:  # another part failed, so this one is no longer needed
            raise self._error
        self._ticker.tick(num_images)


@dataclasses.dataclass
class FindImages(beam.PTransform):
    """Find the images of every part: (number, part) in, `PartImages` out."""

    ticks: str | None = None

    def expand(
        self, pieces: PCollection[tuple[int, InputPart]]
    ) -> PCollection[PartImages]:
        """Distribute the parts over workers and find the images of each part."""
        return (
            pieces
            | "SpreadPieces" >> beam.Reshuffle()
            | "ReadPieces" >> beam.ParDo(_ReadPieces(self.ticks))
        )


_FROM_NUMBER = re.compile("[0-9][^/]*$")  # in a file's name


def label_part(images: PartImages) -> PartImages:
    """Add labels to images without a class; compare all labels with official ones."""
    piece = images.piece
    if piece.needs_labels:
        refs, observations = _join_table(piece, images.refs)
        observations = input_warnings.combine([*images.observations, *observations])
        images = images._replace(refs=refs, observations=tuple(observations))
    labels = images.labels._replace(
        official=agreement.compare_with_official(images.refs),
        shards=_name_shards(piece),
    )
    return images._replace(labels=labels)


def _name_shards(piece: InputPart) -> str:
    """Return a name that is the same for all shards of a dataset and split."""
    return f"{piece.layout} {piece.split} {_FROM_NUMBER.sub('', piece.uri)}"


def _join_table(
    piece: InputPart, refs: Sequence[ImageRef]
) -> tuple[list[ImageRef], list[Observation]]:
    """Add wnids to the images of a part from a table, their names or official labels.

    Args:
      piece: the part, which may name a table of validation labels.
      refs: images of the part.

    Returns:
      The images with their wnids, and observations of contradictory classes.

    Raises:
      UsageError: the labels of some images are unknown.
    """
    if piece.labels:
        labels: Mapping[str, str] = validation.read_labels(piece.labels)
        return join_labels(refs, labels, source=piece.labels)
    if all(map(_has_class_behind, refs)):
        return list(refs), []
    if validation.are_official_stems(ref.key for ref in refs):
        return join_labels(refs, validation.official_labels(), source="official")
    raise UsageError(
        f"{piece.path}: {len(refs)} validation images without labels; they "
        "are not the 50,000 official ones, so the official labels do not fit: put "
        "LOC_val_solution.csv beside them or name it with --validation_labels"
    )


def join_labels(
    refs: Sequence[ImageRef], labels: Mapping[str, str], *, source: str
) -> tuple[list[ImageRef], list[Observation]]:
    """Add wnids to images from a table; a class in an image's name takes precedence.

    Args:
      refs: images; `wnid` is the class in the image's name, or "".
      labels: wnid of each image, by key.
      source: path of the table, for messages.

    Returns:
      The images with their wnids; and observations of contradictory classes, and of
      labels without an image.

    Raises:
      UsageError: the table lacks images whose names contain no class.
    """
    missing = [r.key for r in refs if r.key not in labels and not _has_class_behind(r)]
    if missing:
        raise UsageError(
            f"{source}: no label for {len(missing)} of {len(refs)} validation images "
            f"({list_names(missing)}); is this the table of these images?"
        )
    observations = [
        Observation("other_class", f"{ref.key} is {labels[ref.key]}, not {ref.wnid}")
        for ref in refs
        if ref.wnid not in {"", labels.get(ref.key, ref.wnid)}
    ]
    if unused := labels.keys() - {ref.key for ref in refs}:
        name = source.rpartition("/")[2]
        text = f"{name}: {len(unused):,} of {len(labels):,} are missing"
        observations.append(Observation("unlisted", text))
    return [r._replace(wnid=r.wnid or labels[r.key]) for r in refs], observations


def _has_class_behind(ref: ImageRef) -> bool:
    """Return whether the file name of a validation image ends with its class."""
    return ref.wnid != "" and not ref.key.startswith(ref.wnid)


@dataclasses.dataclass
class LabelImages(beam.PTransform):
    """Add wnids to images without a class: `PartImages` in, `PartImages` out."""

    def expand(self, images: PCollection[PartImages]) -> PCollection[PartImages]:
        """Label each part independently; a flat folder or archive is a single part."""
        return images | "LabelPieces" >> beam.Map(label_part)


_MAX_AHEAD = 10_000  # images that wait while those of a part are inspected


class IndexPart(NamedTuple):
    """A summary of one part's index file: path, counts, observations and labels."""

    number: int
    path: str
    num_images: int
    strays: tuple[str, ...]
    input: int
    uri: str
    version: str  # of an archive; "" for a folder
    observations: tuple[Observation, ...]
    labels: PartLabels


class _WriteParts(beam.DoFn):
    """Write one index file per part; inspect the images with threads if requested."""

    def __init__(self, folder: str, num_threads: int, ticks: str | None) -> None:
        self._folder = folder
        self._num_threads = num_threads  # 0: no inspection
        self._ticks = ticks
        self._counter = Metrics.counter("WriteIndex", "images_indexed")

    def setup(self) -> None:
        self._pool = ThreadPoolExecutor(self._num_threads or 1)
        self._ticker = progress.Ticker(self._ticks)

    def teardown(self) -> None:
        self._pool.shutdown()
        image_reading.forget()

    def process(self, images: PartImages) -> Iterator[IndexPart]:
        inspections: list[Inspection] | None = None
        if self._num_threads:
            inspections = []
            for inspected in inspect_all(_place(images), self._pool):
                inspections.append(inspected)
                self._ticker.tick()
        yield self._write(images, inspections)

    def _write(
        self, images: PartImages, inspections: list[Inspection] | None
    ) -> IndexPart:
        path = f"{self._folder}/{images.number:07d}.parquet"
        index_table.write_part(path, images.refs, inspections)
        self._counter.inc(len(images.refs))
        strays = tuple(f"{stray.uri}: {stray.name}" for stray in images.strays)
        piece = images.piece
        return IndexPart(
            images.number,
            path,
            len(images.refs),
            strays,
            piece.input,
            piece.uri,
            images.version,
            images.observations,
            images.labels,
        )


class _WritePartsInProcesses(_WriteParts):
    """Inspect the images of several parts concurrently in child processes.

    The processes are started once enough images are waiting to keep them busy. Smaller
    bundles are inspected with threads.
    """

    def __init__(
        self,
        folder: str,
        num_threads: int,
        ticks: str | None,
        *,
        num_processes: int,
        roots: Sequence[str],
    ) -> None:
        super().__init__(folder, num_threads, ticks)
        self._num_processes = num_processes
        self._roots = roots

    def setup(self) -> None:
        super().setup()
        self._processes: ProcessPool | None = None

    def teardown(self) -> None:
        super().teardown()
        if self._processes:
            self._processes.close()

    def start_bundle(self) -> None:
        self._waiting: deque[PartImages] = deque()
        self._pending: PendingResults[IndexPart] = PendingResults(_MAX_AHEAD)

    def process(self, images: PartImages) -> Iterator[IndexPart]:
        self._waiting.append(images)
        num_images = sum(len(piece.refs) for piece in self._waiting)
        enough = self._num_processes * processes.LEAST_IMAGES
        if not self._processes and num_images < enough:
            return
        while self._waiting:
            self._submit(self._waiting.popleft())
        yield from self._pending.take_excess()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in self._pending.take_all():
            yield GlobalWindows.windowed_value(part)
        for images in self._waiting:
            for part in super().process(images):
                yield GlobalWindows.windowed_value(part)

    def _submit(self, images: PartImages) -> None:
        if not self._processes:
            self._processes = ProcessPool(inspection, self._roots, self._num_processes)
        placed = _place(images)
        windows = [
            self._processes.submit(placed[start : start + inspection.WINDOW_IMAGES])
            for start in range(0, len(placed), inspection.WINDOW_IMAGES)
        ]
        self._pending.add(partial(self._wait, images, windows), size=len(images.refs))

    def _wait(self, images: PartImages, windows: Sequence[Future[Any]]) -> IndexPart:
        rows: list[Any] = []
        for window in windows:
            num_rows = len(rows)
            rows += window.result()
            self._ticker.tick(len(rows) - num_rows)
        return self._write(images, [Inspection(*row) for row in rows])


def _place(images: PartImages) -> list[PlacedRef]:
    root, version = images.piece.root, images.version
    return [PlacedRef(root, ref, version) for ref in images.refs]


def merge(
    parts: Sequence[IndexPart],
    output: str,
    pieces: Sequence[InputPart],
    warnings: Sequence[InputWarning] = (),
) -> int:
    """Merge the index files of all parts into the index, in the order of the parts.

    The part files are not removed, so that a runner may repeat this step.

    Args:
      parts: summaries of the parts.
      output: path of the index.
      pieces: all parts of the inputs.
      warnings: earlier warnings about the inputs, e.g. from finding the parts.

    Returns:
      The number of images.

    Raises:
      UsageError: lists all problems for which the inputs are rejected.
      JobError: the engine lost parts.
    """
    check_all_arrived(
        (pieces[part.number].path for part in parts),
        (piece.path for piece in pieces),
        what="parts of the input",
        remedy="no index is written; run again, and without --runner if this repeats",
    )
    ordered = sorted(parts)
    roots = list_roots(pieces)
    strays = [stray for part in ordered for stray in part.strays]
    warnings = [*warnings, *judge(ordered, roots)]
    index_table.merge_parts(
        [part.path for part in ordered],
        output,
        roots=roots,
        strays=strays,
        versions=_join_versions(ordered, roots),
        warnings=warnings,
    )
    return sum(part.num_images for part in ordered)


def list_roots(pieces: Iterable[InputPart]) -> list[str]:
    """Return the folder of every input, in the order of the inputs."""
    roots = {piece.input: piece.root for piece in pieces}
    return [roots[number] for number in sorted(roots)]


def judge(parts: Sequence[IndexPart], roots: Sequence[str]) -> list[InputWarning]:
    """Return warnings from the observations and labels of all parts.

    Args:
      parts: summaries of the parts.
      roots: folders of the inputs.

    Raises:
      UsageError: lists all problems for which the inputs are rejected.
    """
    warnings: list[InputWarning] = []
    problems: list[str] = []
    try:
        observations = (seen for part in parts for seen in part.observations)
        warnings += input_warnings.summarize(observations)
    except UsageError as error:
        problems.append(str(error))
    for number, root in enumerate(roots):
        verdict = agreement.check(p.labels for p in parts if p.input == number)
        warnings += verdict.warnings
        problems += [f"{root}: {problem}" for problem in verdict.problems]
    if problems:
        raise UsageError("\n".join(problems))
    return warnings


def _remove_parts(num_images: int, folder: str) -> int:
    storage.remove_folder(folder)
    return num_images


def _join_versions(
    parts: Sequence[IndexPart], roots: Sequence[str]
) -> list[dict[str, str]]:
    """Return, for each input, the versions of its archives by uri.

    Raises:
      UsageError: two parts of the same archive have different versions.
    """
    versions: list[dict[str, str]] = [{} for _ in roots]
    for part in parts:
        if part.version:
            known = versions[part.input].setdefault(part.uri, part.version)
            if known != part.version:
                raise UsageError(
                    f"{roots[part.input]}/{part.uri}: changed while it was read; try "
                    "again"
                )
    return versions


@dataclasses.dataclass
class WriteIndex(beam.PTransform):
    """Write an index: `PartImages` in, the number of images out.

    Attributes:
      output: path of the index.
      parts_folder: folder for the index files of the parts; removed at the end.
      pieces: all parts of the inputs.
      warnings: earlier warnings about the inputs, e.g. from finding the parts.
      num_inspect_threads: number of threads that inspect images; 0: no inspection.
      ticks: path of the `progress.Ticker` for inspected images.
      has_processes: whether child processes may inspect images.
    """

    output: str
    parts_folder: str
    pieces: Sequence[InputPart]
    warnings: Sequence[InputWarning] = ()
    num_inspect_threads: int = 0
    ticks: str | None = None
    has_processes: bool = False

    def expand(self, images: PCollection[PartImages]) -> PCollection[int]:
        """Write one file per part, then merge them; gather only part summaries."""
        roots = list_roots(self.pieces)
        num_processes = min(self.num_inspect_threads, num_cores())
        num_threads = self.num_inspect_threads
        if num_threads:
            num_threads = storage.num_readers(num_threads, roots)
        write = _WriteParts(self.parts_folder, num_threads, self.ticks)
        if num_processes > 1 and self.has_processes:
            write = _WritePartsInProcesses(
                self.parts_folder,
                num_threads,
                self.ticks,
                num_processes=num_processes,
                roots=roots,
            )
        return (
            images
            | "WriteParts" >> beam.ParDo(write)
            | "GatherParts" >> ToList()
            | "MergeParts"
            >> beam.Map(
                merge, output=self.output, pieces=self.pieces, warnings=self.warnings
            )
            # Prevents fusion, so that no runner merges again once the parts are gone.
            | "SettleIndex" >> beam.Reshuffle()
            | "RemoveParts" >> beam.Map(_remove_parts, folder=self.parts_folder)
        )
