"""Index the parts of raw ImageNet: find images, join labels, write and merge tables."""

import re
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import pyarrow as pa

from transforms import input_warnings, layouts, storage
from transforms.index import table as index_table
from transforms.input_warnings import InputWarning, Observation
from transforms.labels import agreement, classes, validation
from transforms.labels.agreement import PartLabels
from transforms.labels.image_names import NumberLabels
from transforms.layouts import InputPart, MisplacedImage
from transforms.prefetch import map_in_order
from transforms.processes import ProcessPool
from transforms.progress import Ticker
from transforms.records import (
    DataError,
    ImageRef,
    SkippedFile,
    UsageError,
    check_all_arrived,
    cut_lines,
    list_names,
)

_COUNTED_AT_ONCE = 10  # images
# Listing as many images takes a second, which is what starting processes costs.
_LEAST_IN_PROCESSES = 100_000
_PARTS_AHEAD = 16  # per process: keeps it busy while one lists a larger part
_FROM_NUMBER = re.compile("[0-9][^/]*$")  # in a file's name


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


def label_part(images: PartImages) -> PartImages:
    """Add labels to images without a class; compare all labels with official ones.

    Raises:
      UsageError: the labels of some images are unknown.
    """
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


class IndexPart(NamedTuple):
    """A summary of one part's index file: path, counts, observations and labels."""

    number: int
    path: str
    num_images: int
    strays: tuple[str, ...]  # files that are not images, as "uri: name"
    input: int  # position in the list of inputs
    uri: str
    version: str  # of an archive; "" for a folder
    observations: tuple[Observation, ...]
    labels: PartLabels


def summarise(images: PartImages, path: str = "") -> IndexPart:
    """Return the summary of a part whose images are written at `path`."""
    return IndexPart(
        images.number,
        path,
        len(images.refs),
        tuple(f"{stray.uri}: {stray.name}" for stray in images.strays),
        images.piece.input,
        images.piece.uri,
        images.version,
        images.observations,
        images.labels,
    )


def merge(
    parts: Sequence[IndexPart],
    output: str,
    pieces: Sequence[InputPart],
    warnings: Sequence[InputWarning] = (),
    check: Callable[[str], object] | None = None,
) -> int:
    """Merge the index files of all parts into the index, in the order of the parts.

    The part files are kept, so a runner can repeat this step.

    Args:
      parts: summaries of the parts.
      output: path of the index.
      pieces: all parts of the inputs.
      warnings: earlier warnings about the inputs, e.g. from finding the parts.
      check: as in `index_table.write`.

    Returns:
      The number of images.

    Raises:
      UsageError: the labels or images of an input are not acceptable, an archive
        changed while it was read, or `check` failed; one line per problem.
      JobError: the engine lost parts.
    """
    check_all_arrived(
        (pieces[part.number].path for part in parts),
        (piece.path for piece in pieces),
        what="parts of the input",
        remedy="no index is written; run again, and without --runner if this repeats",
    )
    ordered = sorted(parts)
    described = _describe(ordered, list_roots(pieces), warnings)
    paths = [part.path for part in ordered]
    index_table.merge_parts(paths, output, check, **described)
    return sum(part.num_images for part in ordered)


IndexedPart = tuple[IndexPart, pa.Table]


def begin(
    ticks: str | None,
) -> Callable[[tuple[int, InputPart]], IndexedPart | UsageError]:
    """Return a function that lists and labels the images of a numbered part.

    It returns errors, so that those of all parts are reported.

    Args:
      ticks: path of the `Ticker` for images found; None shows no progress.
    """
    ticker = Ticker(ticks)

    def index_part(numbered: tuple[int, InputPart]) -> IndexedPart | UsageError:
        try:
            images = label_part(read_part(*numbered, ticker.tick))
        except UsageError as error:
            return error
        return summarise(images), index_table.make_table(images.refs)

    return index_part


def index_parts(
    pieces: Sequence[InputPart], *, num_processes: int, ticks: str | None = None
) -> Generator[IndexedPart]:
    """Yield the summary and the images of each part, in order.

    Child processes list the rest as soon as it seems to have enough images.

    Args:
      pieces: the parts of the inputs.
      num_processes: number of processes; 1 starts none.
      ticks: as in `begin`.

    Raises:
      UsageError: lists every part that cannot be read.
    """
    problems: list[str] = []
    with closing(
        _index_parts(pieces, num_processes=num_processes, ticks=ticks)
    ) as results:
        for result in results:
            if isinstance(result, UsageError):
                problems.append(str(result))
            else:
                yield result
    if problems:
        raise UsageError("\n".join(cut_lines(problems, more="and {} more")))


def _index_parts(
    pieces: Sequence[InputPart], *, num_processes: int, ticks: str | None
) -> Generator[IndexedPart | UsageError]:
    rest = deque(enumerate(pieces))
    index_part = begin(ticks)
    num_images = 0
    while rest:
        indexed = index_part(rest.popleft())
        yield indexed
        if not isinstance(indexed, UsageError):
            num_images += indexed[0].num_images
        num_expected = num_images / (len(pieces) - len(rest)) * len(rest)
        if num_expected >= _LEAST_IN_PROCESSES and min(num_processes, len(rest)) > 1:
            break
    if not rest:
        return
    num_processes = min(num_processes, len(rest))
    with closing(ProcessPool(sys.modules[__name__], ticks, num_processes)) as pool:
        yield from map_in_order(
            map(pool.submit, rest), num_ahead=_PARTS_AHEAD * num_processes
        )


def write_index(
    pieces: Sequence[InputPart],
    output: str,
    warnings: Sequence[InputWarning] = (),
    *,
    check: Callable[[str], object] | None = None,
    num_processes: int = 1,
    ticks: str | None = None,
) -> None:
    """Index the parts on this machine, as `steps.WriteIndex` does on an engine.

    Args:
      pieces: the parts of the inputs.
      output: path of the index.
      warnings: earlier warnings about the inputs, e.g. from finding the parts.
      check: as in `index_table.write`.
      num_processes: number of processes; 1 starts none.
      ticks: path of the `Ticker` for images found; None shows no progress.

    Raises:
      UsageError: the labels or images of an input are not acceptable, an archive
        changed while it was read, or `check` failed; one line per problem.
      JobError: a process was killed.
    """
    parts: list[IndexPart] = []
    roots = list_roots(pieces)

    def read_tables(indexed: Iterator[IndexedPart]) -> Iterator[pa.Table]:
        for part, table in indexed:
            parts.append(part)
            yield table

    with closing(
        index_parts(pieces, num_processes=num_processes, ticks=ticks)
    ) as indexed:
        index_table.write(
            read_tables(indexed),
            output,
            describe_all=lambda: index_table.describe(
                **_describe(parts, roots, warnings)
            ),
            check=check,
        )


def list_roots(pieces: Iterable[InputPart]) -> list[str]:
    """Return the folder of every input, in the order of the inputs."""
    roots = {piece.input: piece.root for piece in pieces}
    return [roots[number] for number in sorted(roots)]


def _describe(
    parts: Sequence[IndexPart], roots: Sequence[str], warnings: Sequence[InputWarning]
) -> dict[str, Any]:
    """Judge the inputs, and return the arguments of `index_table.describe`."""
    return {
        "roots": roots,
        "strays": [stray for part in parts for stray in part.strays],
        "warnings": [*warnings, *judge(parts, roots)],
        "versions": _join_versions(parts, roots),
    }


def judge(parts: Sequence[IndexPart], roots: Sequence[str]) -> list[InputWarning]:
    """Return warnings from the observations and labels of all parts.

    Args:
      parts: summaries of the parts.
      roots: folders of the inputs.

    Raises:
      UsageError: the labels or images of an input are not acceptable; one line per
        problem.
    """
    warnings: list[InputWarning] = []
    problems: list[str] = []
    try:
        observations = (seen for part in parts for seen in part.observations)
        warnings += input_warnings.summarise(observations)
    except UsageError as error:
        problems.append(str(error))
    for number, root in enumerate(roots):
        verdict = agreement.check(p.labels for p in parts if p.input == number)
        warnings += verdict.warnings
        problems += [f"{root}: {problem}" for problem in verdict.problems]
    if problems:
        raise UsageError("\n".join(problems))
    return warnings


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
