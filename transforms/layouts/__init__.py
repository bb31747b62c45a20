"""Find and read the parts of an input, with one module per layout of ImageNet.

A layout module defines:

- `find(path) -> FoundParts | None`: returns the parts of an input, or None if the input
  has another layout. The split of a part is the one that the name of its folder or
  archive states, or "".
- `read(part) -> Iterator[PartItem]`: yields the files of one part, and observations
  about unusual ones.
- `LOOKED_FOR`: the file names by which the layout is recognised, for the error message
  if no layout matches.

Both functions raise `UsageError` if the input is damaged or cannot be read.

Optional:

- `IS_EXTRACTED`: whether the images are plain files. If two layouts contain the same
  classes, the extracted one is preferred. Default: False.
- `READS_HEADERS`: whether `read` reads a header for each image. Default: False.
"""

import dataclasses
import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType, ModuleType
from typing import NamedTuple, TypeAlias

from transforms import input_warnings, splits, storage
from transforms.input_warnings import InputWarning, Observation
from transforms.labels import image_names
from transforms.labels.image_names import NumberLabels
from transforms.records import ImageRef, Location, SkippedFile, UsageError, list_names
from transforms.storage import Entry

IMAGE_SUFFIXES = image_names.IMAGE_SUFFIXES
WNID = re.compile(r"n\d{8}")
# Class folders may have a readable name after the wnid, and capital letters.
_CLASS_FOLDER = re.compile(r"(n\d{8})(?:[-_. ].*)?", re.IGNORECASE)
# Keys that WebDataset readers accept: no dot, no `__x__`; and short
# enough for the 100-byte name field of a tar header with the longest suffix.
KEY_PATTERN = r"^(_?[A-Za-z0-9-]|_$)[A-Za-z0-9_-]{0,89}$"
_KEY = re.compile(KEY_PATTERN)


class MisplacedImage(NamedTuple):
    """An image whose file name and folder or archive state different classes."""

    ref: ImageRef  # with the class that the name states
    name: str  # of the file
    place_wnid: str

    @property
    def key(self) -> str:
        """The key of the image, derived from its name."""
        return self.ref.key


PartItem: TypeAlias = (
    ImageRef | MisplacedImage | SkippedFile | Observation | NumberLabels
)


@dataclass(frozen=True, kw_only=True)
class InputPart:
    """An archive or folder of an input; the unit of work that one worker reads."""

    layout: str  # the module of `transforms.layouts` that reads it
    root: str  # the input's folder
    uri: str  # relative to root; "." is the root itself
    split: str  # train | validation | test; "": its name does not state it
    container: str = ""  # relative to root; its name states the split; "": uri
    wnid: str = ""  # "": the images have different classes, or no labels yet
    is_labelled: bool = False  # the images come with their wnids
    offset: int = 0
    length: int = 0  # in bytes, of a nested archive or a range of a zip's directory
    input: int = 0  # position in the list of inputs
    num_declared: int | None = None  # images that the dataset's metadata declares
    labels: str = ""  # path of the validation labels; "": the official table
    class_list: str = ""  # path of the classes of labels 0, 1, …; "": none given

    @property
    def needs_labels(self) -> bool:
        """Whether the images need labels from a table."""
        return not (self.wnid or self.is_labelled)

    @property
    def path(self) -> str:
        """The path of the part's file or folder."""
        return f"{self.root}/{self.uri}"

    @property
    def place(self) -> str:
        """The folder or archive whose name and images determine the split."""
        container = self.container or self.uri
        return self.root if container == "." else f"{self.root}/{container}"

    def child(self, name: str) -> str:
        """Return the uri of a file in this folder, relative to `root`."""
        return name if self.uri == "." else f"{self.uri}/{name}"


@dataclass(frozen=True, kw_only=True)
class FoundParts:
    """The parts that a layout recognised in an input.

    Attributes:
      description: one-line description of the input, for the user.
      pieces: the parts.
      notes: messages to the user about files that are ignored on purpose.
      warnings: warnings about missing images and doubtful labels; every dataset built
        from the input records them.
      names: keys of some images by `InputPart.place`, if `find` has already read them.
    """

    description: str
    pieces: tuple[InputPart, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[InputWarning, ...] = ()
    names: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


def make_ref(
    piece: InputPart,
    name: str,
    *,
    uri: str,
    location: Location,
    wnid: str = "",
) -> ImageRef | MisplacedImage | SkippedFile | Observation:
    """Make the image reference of a file of a part.

    Args:
      piece: part that contains the file.
      name: path or name of the image file, from which the key is derived.
      uri: file that contains the bytes of the image, relative to the input.
      location: location of the bytes in that file.
      wnid: class of the image, if `piece.wnid` is "".

    Returns:
      An image reference; a misplaced image if the name and the folder state different
      classes; a skipped file if the name has no image suffix, starts with a dot, or is
      a path with backslashes and ".."; an observation if the name cannot be a key of
      the written dataset.
    """
    if "\\" in name:
        name = name.replace("\\", "/")
        if ".." in name.split("/"):
            return SkippedFile(uri, name)
    file = name.rpartition("/")[2]  # paths of pathlib would double the time
    place = piece.wnid or wnid
    if usual := image_names.USUAL.fullmatch(file):
        key, by_name = usual.groups()
    else:
        stem, _, suffix = file.rpartition(".")
        if not stem or f".{suffix.lower()}" not in IMAGE_SUFFIXES or file[0] == ".":
            return SkippedFile(uri, name)
        key, by_name = image_names.parse(file)
        if not _KEY.fullmatch(key):
            return Observation("no_key", f"{file!r:.120} in {place or uri}")
    ref = ImageRef(
        key,
        by_name or place,
        piece.split,
        piece.input,
        uri,
        location,
    )
    if place and by_name and by_name != place:
        return MisplacedImage(ref, file, place)
    return ref


def parse_class_folder(name: str) -> str:
    """Return the wnid in a class folder's name, e.g. `n01440764_tench`; "" if none."""
    match = _CLASS_FOLDER.fullmatch(name)
    return match[1].lower() if match else ""


def parse_class_tar(name: str) -> str:
    """Return the wnid of a class archive named nXXXXXXXX.tar; "" for other names."""
    wnid = name.lower().removesuffix(".tar")
    return wnid if len(wnid) < len(name) and WNID.fullmatch(wnid) else ""


def is_image_name(name: str) -> bool:
    """Return whether a file name has an image suffix, ignoring case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


class ShardName(NamedTuple):
    """The split, number and total that a shard's file name states."""

    split: str  # as in the name, e.g. fold_a
    number: int
    num_shards: int  # 0: not stated


def find_undeclared(
    lengths: Mapping[str, int], uris: Collection[str]
) -> tuple[InputWarning, ...]:
    """Return a warning if files are missing that the dataset's metadata declares.

    Only files of the same format as the existing ones count as missing.

    Args:
      lengths: declared number of images of each file, by uri.
      uris: uris of the existing files.

    Returns:
      A tuple of one warning, or an empty tuple.
    """
    kinds = {uri.rpartition(".")[2].partition("-")[0] for uri in uris}
    missing = [
        uri
        for uri in lengths
        if uri not in uris and uri.rpartition(".")[2].partition("-")[0] in kinds
    ]
    if not missing:
        return ()
    num_images = sum(lengths[uri] for uri in missing)
    text = (
        f"files that the dataset declares and that are missing: {len(missing)} with "
        f"{num_images:,} images ({list_names(missing, 3)})"
    )
    return (InputWarning(text, is_missing=True),)


def find_missing(names: Collection[ShardName]) -> tuple[InputWarning, ...]:
    """Return a warning for each split with missing shards, except test splits.

    Shards are missing if there are fewer than their names state or, if they state no
    total, if their numbers have gaps.

    Raises:
      UsageError: the shards belong to several datasets or dataset versions.
    """
    warnings = []
    for split in sorted({name.split for name in names}):
        if splits.parse_split(split) == splits.TEST:
            continue
        shards = [name for name in names if name.split == split]
        totals = sorted({name.num_shards for name in shards})
        is_repeated = totals[0] and len({n.number for n in shards}) < len(shards)
        if len(totals) > 1 or is_repeated:
            raise UsageError(
                f"the files of {split} belong to several datasets or dataset versions "
                f"(some say -of-{totals[0]:05d}, some -of-{totals[-1]:05d}, or two "
                "have the same number); keep only those of one version"
            )
        numbers = {shard.number for shard in shards}
        total = totals[-1]
        if not total:
            # A gap shows that files are missing, unless most numbers are unused.
            first, last = min(*numbers, 1), max(numbers)
            is_dense = last - first + 1 < 2 * len(numbers)
            total = last + 1 if is_dense else 0
            numbers |= set(range(first))
        if missing := sorted(set(range(total)) - numbers):
            text = (
                f"missing files of {split}: {len(missing)} of {total} (the first is "
                f"number {missing[0]})"
            )
            warnings.append(InputWarning(text, is_missing=True))
    return tuple(warnings)


def make_shard_parts(
    root: str,
    shards: Mapping[str, ShardName],
    *,
    layout: str,
    lengths: Mapping[str, int | None] = MappingProxyType({}),
) -> tuple[InputPart, ...]:
    """Make the part of each shard, except of test splits, which have no labels.

    Args:
      root: folder of the input.
      shards: the parsed names of the shards, by uri.
      layout: the module of `transforms.layouts` that reads the parts.
      lengths: declared number of images of each shard, by uri.
    """
    return tuple(
        InputPart(
            layout=layout,
            root=root,
            uri=uri,
            # All numbers of two or more digits become *: train-*-of-*.parquet.
            container=re.sub(r"\d{2,}", "*", uri),
            split=splits.parse_split(name.split),
            is_labelled=True,
            num_declared=lengths.get(uri),
        )
        for uri, name in shards.items()
        if splits.parse_split(name.split) != splits.TEST
    )


def describe_shards(
    path: str,
    pieces: tuple[InputPart, ...],
    shards: Mapping[str, ShardName],
    *,
    kind: str,
    lengths: Mapping[str, int] = MappingProxyType({}),
) -> FoundParts:
    """Describe the parts of an input's shards, with notes and warnings.

    Test splits are noted as left out; missing shards are warned about.

    Args:
      path: path of the input; of a single file, no other shards are expected.
      pieces: the parts, at least one.
      shards: the parsed names of all shards, by uri.
      kind: kind of the files, for the user.
      lengths: declared number of images of each shard that should exist, by uri.

    Raises:
      UsageError: the shards belong to several datasets or dataset versions.
    """
    named = [name for name in shards.values() if name.split]
    tests = {n.split for n in named if splits.parse_split(n.split) == splits.TEST}
    warnings: tuple[InputWarning, ...] = ()
    if pieces[0].root == path:
        warnings = *find_missing(named), *find_undeclared(lengths, shards)
    return FoundParts(
        description=f"{kind} ({len(pieces)} files in {path})",
        pieces=pieces,
        notes=tuple(f"{path}: the files of {s} are left out" for s in sorted(tests)),
        warnings=warnings,
    )


# Files that operating systems leave among images; all layouts skip them.
_SYSTEM_NAMES = {".ds_store", "thumbs.db", "desktop.ini", "__macosx", "@eadir"}


def is_system_file(name: str) -> bool:
    """Return whether a path is metadata of an operating system, e.g. `._a.JPEG`."""
    return any(
        part.startswith("._") or part.lower() in _SYSTEM_NAMES
        for part in name.split("/")
    )


def list_entries(path: str) -> list[Entry]:
    """List a folder, sorted by name, without metadata files of operating systems.

    Raises:
      UsageError: the folder cannot be listed.
      OSError: any error that a retry may resolve.
    """
    return [entry for entry in list_all(path) if not is_system_file(entry.name)]


def list_all(path: str) -> list[Entry]:
    """List a folder, sorted by name.

    Raises:
      UsageError: the folder cannot be listed.
      OSError: any error that a retry may resolve.
    """
    try:
        return storage.list_folder(path)
    except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: {error.strerror}") from error


LAYOUTS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import and return the module of a layout."""
    return importlib.import_module(f"{__name__}.{name}")


def list_looked_for() -> tuple[str, ...]:
    """Return a description of the paths that identify each layout (`LOOKED_FOR`)."""
    return tuple(load(name).LOOKED_FOR for name in LAYOUTS)


def find(path: str) -> list[FoundParts]:
    """Return the parts that each matching layout finds in an input."""
    modules = map(load, LAYOUTS)
    return [found for m in modules if (found := m.find(path)) is not None]


_KIND_OF_NAMES = {
    (splits.TRAIN, splits.VALIDATION): "validation_in_train",
    (splits.VALIDATION, splits.TRAIN): "train_in_validation",
    (splits.TRAIN, splits.TEST): "test_images",
    (splits.VALIDATION, splits.TEST): "test_images",
}


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the files of one part and observations about unusual ones.

    Also yield observations of images whose names belong to another split, of a part
    without images, and of a number of images that differs from the declared one.
    """
    num_images = 0
    counts: Counter[str] = Counter()  # names of another split, by kind
    first: dict[str, str] = {}
    is_told = False
    for item in load(piece.layout).read(piece):
        yield item
        if isinstance(item, ImageRef | MisplacedImage):
            ref = item.ref if isinstance(item, MisplacedImage) else item
            num_images += 1
            official = splits.find_official_split(ref.key)
            if kind := _KIND_OF_NAMES.get((ref.split, official)):
                counts[kind] += 1
                first.setdefault(kind, ref.key)
        elif isinstance(item, Observation):
            is_told = True
    for kind, count in counts.items():
        yield Observation(kind, first[kind], count)
    if not (num_images or is_told):
        yield Observation("no_images", piece.uri)
    elif piece.num_declared not in {None, num_images}:
        text = f"{piece.uri} has {num_images:,} instead of {piece.num_declared:,}"
        yield Observation("declared", text)


# Parts of each folder or archive, and images of each part, whose names are sampled to
# determine the split. Folders are listed completely, because samples in name order are
# biased.
_SAMPLED_PARTS = 6
_SAMPLED_IMAGES, _SAMPLED_IN_BUCKETS = 256, 16


def settle_splits(found: FoundParts, split: str = "") -> tuple[FoundParts, list[str]]:
    """Determine each part's split: by the flag, else by its name and its image names.

    Args:
      found: parts of one input, with the splits that their names state.
      split: split that a flag sets for all parts; "": no flag is set.

    Returns:
      The parts with their splits, and a note for each folder or archive whose split was
      inferred from image names.

    Raises:
      UsageError: some folders or archives have an unclear split, no usable images,
        test images, or training images without class folders; the message lists all of
        them.
    """
    by_place: dict[tuple[str, str, str], list[InputPart]] = {}
    for piece in found.pieces:
        key = piece.layout, piece.place, piece.split
        by_place.setdefault(key, []).append(piece)
    decided: dict[tuple[str, str, str], str] = {}
    notes, problems = [], []
    for key, parts in by_place.items():
        _, place, stated = key
        try:
            names = list(found.names.get(place, ()))
            if not (names or split):
                names = _sample_names(parts)
            decided[key] = split or splits.decide(place, stated, names)
        except UsageError as error:
            problems.append(str(error))
            continue
        if decided[key] == splits.TRAIN and any(part.needs_labels for part in parts):
            problems.append(
                f"{place}: training images without class folders; sort them into "
                "folders nXXXXXXXX/"
            )
        if not (stated or split):
            notes.append(splits.describe_decision(place, decided[key], names))
    if problems:
        raise UsageError("\n".join(problems))
    pieces = tuple(
        dataclasses.replace(p, split=decided[p.layout, p.place, p.split])
        for p in found.pieces
    )
    return dataclasses.replace(found, pieces=pieces), notes


def _sample_names(pieces: Sequence[InputPart]) -> list[str]:
    """Return the keys of a sample of the images in the parts of a folder or archive.

    Raises:
      UsageError: a part cannot be read and its name states no split. Parts with a
        stated split raise no error here.
    """
    names: list[str] = []
    observations: list[Observation] = []
    step = -(-len(pieces) // _SAMPLED_PARTS)
    for piece in pieces[::step]:
        most: int | None = _SAMPLED_IMAGES
        if storage.is_remote(piece.path):
            most = _SAMPLED_IN_BUCKETS
        if storage.is_folder(piece.path):
            most = None
        try:
            for item in islice(load(piece.layout).read(piece), most):
                if isinstance(item, ImageRef | MisplacedImage):
                    names.append(item.key)
                elif isinstance(item, Observation):
                    observations.append(item)
            if not (names or piece.split):
                input_warnings.summarise(observations)  # may raise the reason
        except UsageError:
            if not piece.split:
                raise
    return names
