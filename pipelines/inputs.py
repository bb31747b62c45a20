"""Recognise raw inputs and find the labels of their validation images."""

import dataclasses
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pipelines.cli import describe_pattern
from pipelines.input_flags import NO_PATH, InputFlags
from transforms import folder_contents, layouts, splits, storage
from transforms.images import read as image_reading
from transforms.index import table as index_table
from transforms.input_warnings import InputWarning
from transforms.labels import class_lists, classes, validation
from transforms.layouts import FoundParts, InputPart, MisplacedImage
from transforms.records import ImageRef, UsageError, describe_count, list_names

_EXPECTED = {
    True: "nXXXXXXXX/*.JPEG or nXXXXXXXX.tar, named by wnids (val: images too)",
    False: "nXXXXXXXX.tar archives, or images",
}
_LEVELS_UP = 5  # from ILSVRC/Data/CLS-LOC/val to one folder above ILSVRC's parent
_SEARCHED_FOLDERS = 50  # limit of the search for ImageNet below an input
_NEAREST_SHOWN = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecognisedInputs:
    """The parts of all inputs, with notes and warnings about them.

    Attributes:
      parts: parts in the order of the inputs.
      notes: messages to the user about recognised and ignored inputs.
      warnings: warnings of missing images and doubtful labels; built datasets record
        these warnings.
    """

    parts: Sequence[InputPart]
    notes: Sequence[str]
    warnings: Sequence[InputWarning]


def recognise(
    inputs: Sequence[str],
    validation_labels: str | None,
    inputs_of_splits: Mapping[str, Sequence[str]] | None = None,
    class_list: str | None = None,
) -> RecognisedInputs:
    """Recognise raw inputs and find the labels of their validation images.

    Args:
      inputs: paths; names of folders and images determine the splits.
      validation_labels: path of the labels table, or None.
      inputs_of_splits: further paths, by the split of all their images.
      class_list: path of the list of classes for integer labels, or None.

    Raises:
      UsageError: lists every input without ImageNet images, every unclear split, every
        unreadable part and every label problem.
    """
    given = [("--input", path, "") for path in inputs]
    for split, paths in (inputs_of_splits or {}).items():
        given += [(splits.FLAGS[split], path, split) for path in paths]
    pieces: list[InputPart] = []
    notes: list[str] = []
    warnings: list[InputWarning] = []
    problems: list[str] = []
    image_reading.forget()  # versions cached by an earlier job do not apply
    try:
        class_lists.read(class_list or "")
    except UsageError as error:
        problems.append(str(error))
        class_list = None
    for position, (name, path, split) in enumerate(given):
        try:
            recognised = _recognise_one(path, split, class_list or "")
            notes += recognised.notes
            warnings += recognised.warnings
            pieces += [
                dataclasses.replace(piece, input=position) for piece in recognised.parts
            ]
        except UsageError as error:
            problems.append(f"{name} {path}: {str(error).removeprefix(f'{path}: ')}")
        except OSError as error:
            reason = error.strerror or error
            place = error.filename or path
            shown = "" if place == path else f"{place}: "
            problems.append(f"{name} {path}: {shown}{reason}")
    try:
        pieces = _find_labels(pieces, validation_labels)
    except (UsageError, OSError) as error:
        problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return RecognisedInputs(parts=pieces, notes=notes, warnings=warnings)


def check_reach(
    paths: Sequence[str],
    flags: InputFlags,
    others: Iterable[tuple[str, str]],
    *,
    beam_flags: Sequence[str],
) -> None:
    """Check that workers can reach the images and other paths of a job.

    Only the launcher reads an index and the tables of labels and classes.

    Args:
      paths: the values of --input.
      flags: the other inputs.
      others: pairs of a description, e.g. "--output subsets", and the path.
      beam_flags: flags of the Beam runner.

    Raises:
      UsageError: lists the paths that workers cannot reach.
    """
    if not beam_flags:
        return
    from pipelines import engine

    options = engine.make_beam_options(beam_flags)
    if not engine.can_check_reach(options):
        return
    places = flags.list_image_places(paths)
    if index := index_table.only_index(paths):
        roots = index_table.read_description(index)["inputs"]
        places = [(f"--input {index}: an index of images in {r}", r) for r in roots]
    engine.check_reach(options, [*places, *others])


def recognise_flags(paths: Sequence[str], flags: InputFlags) -> RecognisedInputs:
    """Recognise the inputs of a job as `recognise` does, and print the notes."""
    recognised = recognise(
        paths, flags.validation_labels, flags.inputs_of_splits, flags.class_list
    )
    for line in recognised.notes:
        sys.stderr.write(f"found {line}\n")
    return recognised


@contextmanager
def report_fetched() -> Iterator[None]:
    """Report how much the block has read from the Hugging Face Hub, if anything."""
    with tempfile.TemporaryDirectory() as folder:
        counts = f"{folder}/fetched"
        with storage.counting_fetched(counts):
            yield
        line = storage.describe_fetched(counts)
    if line:
        sys.stderr.write(f"{line}\n")


def _find_unreadable(parts: Sequence[InputPart]) -> Iterator[str]:
    """Yield a message for each reason why parts of an input cannot be read."""
    uris: dict[str, list[str]] = {}
    for uri, path in {part.uri: part.path for part in parts}.items():
        if reason := storage.find_read_problem(path):
            uris.setdefault(reason, []).append(uri)
    for reason, names in uris.items():
        yield f"{list_names(names)}: {reason}"


def check_versions(index: str, versions: Mapping[str, str]) -> None:
    """Check that indexed archives are unchanged.

    Raises:
      UsageError: an archive changed or was deleted after it was indexed.
    """
    if changed := storage.find_changed(versions):
        raise UsageError(
            f"--input {index}: {list_names(changed, 1)} changed since it was indexed, "
            "or was deleted; rebuild the index with python -m pipelines.index"
        )


def _recognise_one(path: str, split: str, class_list: str) -> RecognisedInputs:
    """Find the parts of one input in every layout and determine their splits.

    Args:
      path: path of the input.
      split: split of all images; "" infers it from names.
      class_list: path of the list of classes for integer labels, or "".

    Raises:
      UsageError: the input is missing, unreadable, ambiguous or not ImageNet.
    """
    if index_table.is_index(path):
        raise UsageError(
            f"{NO_PATH}is an index; build, predict and verify read it as their only "
            "input, and index reads raw images"
        )
    absolute = storage.pin(path)
    if not storage.exists(absolute):
        raise UsageError(f"{NO_PATH}{describe_pattern(path)}")
    if problem := storage.find_read_problem(path):
        raise UsageError(problem)
    found = [_set_class_list(part, class_list) for part in layouts.find(absolute)]
    parts = [piece for part in found for piece in part.pieces]
    if unreadable := list(_find_unreadable(parts)):
        raise UsageError("; ".join(unreadable))
    stated = {piece.split for piece in parts} - {""}
    if split and len(stated) > 1:
        raise UsageError(
            f"has images of several splits ({', '.join(sorted(stated))}); give the "
            "folder of one"
        )
    settled, notes = _settle_all(found, split)
    settled, left_out = _drop_copies(settled)
    problems = _find_unread(absolute, settled) + _find_unfinished(settled)
    if not (settled or problems):
        looked_for = "; ".join(layouts.list_looked_for())
        problems.append(
            f"no ImageNet found here; looked for {looked_for}; "
            f"{_describe_nearest(absolute)}"
        )
    if problems:
        raise UsageError("; ".join(problems))
    others = _describe_left_out(absolute, found)
    for part in settled:
        notes += [part.description, *part.notes]
    return RecognisedInputs(
        parts=[piece for part in settled for piece in part.pieces],
        notes=[*others, *notes, *left_out],
        warnings=[warning for part in settled for warning in part.warnings],
    )


def _set_class_list(found: FoundParts, class_list: str) -> FoundParts:
    pieces = (dataclasses.replace(p, class_list=class_list) for p in found.pieces)
    return dataclasses.replace(found, pieces=tuple(pieces)) if class_list else found


def _settle_all(
    found: Sequence[FoundParts], split: str
) -> tuple[list[FoundParts], list[str]]:
    """Determine the splits of all parts; return the parts and notes about them.

    Raises:
      UsageError: lists all folders and archives whose split is unclear.
    """
    settled: list[FoundParts] = []
    notes: list[str] = []
    problems: list[str] = []
    for part in found:
        try:
            decided, said = layouts.settle_splits(part, split)
        except UsageError as error:
            problems.append(str(error))
            continue
        settled.append(decided)
        notes += said
    if problems:
        raise UsageError("; ".join(problems))
    return settled, notes


class _Listed(NamedTuple):
    """Class counts and validation keys of the images of one layout and split."""

    counts: Counter[str]  # by class; "": it is not known before labels are joined
    keys: set[str]  # of validation images, which may have no classes

    def contains(self, other: "_Listed") -> bool:
        """Return whether these images include the other ones.

        Compare image keys if classes are unknown, otherwise the counts of each class.
        """
        if "" in self.counts or "" in other.counts:
            return other.keys <= self.keys
        return other.counts <= self.counts


def _drop_copies(found: Sequence[FoundParts]) -> tuple[list[FoundParts], list[str]]:
    """Drop the parts of layouts whose images another layout also contains.

    Archives often remain beside the files extracted from them. If two layouts share a
    class of a split, the one with more images is read. On a tie, a layout with labels
    is preferred, then a layout of extracted files.

    Returns:
      The parts to read, and notes about the other parts.

    Raises:
      UsageError: two layouts of a split share classes, and neither is known to contain
        all images of the other.
    """
    kept, notes, problems = list(found), [], []
    for split in splits.FLAGS:
        candidates = [part for part in kept if _select(part, split)]
        listed = {
            _layout(part): _list_images(_select(part, split))
            for part in candidates
            if any(_overlap(part, o, split) for o in candidates if o is not part)
        }
        ranks = {
            _layout(part): _rank(part, split, listed.get(_layout(part)))
            for part in candidates
        }
        candidates.sort(key=lambda part: ranks[_layout(part)], reverse=True)
        read: list[FoundParts] = []
        for part in candidates:
            rivals = [other for other in read if _overlap(part, other, split)]
            if not rivals:
                read.append(part)
                continue
            inside = listed[_layout(part)]
            outside = _unite([listed[_layout(rival)] for rival in rivals])
            pieces = [piece for rival in rivals for piece in _select(rival, split)]
            left_out = _select(part, split)
            shown = _show_places(left_out, inside)
            read_shown = _show_places(pieces, outside)
            adjective = splits.ADJECTIVES[split]
            if inside is None or outside is None or not outside.contains(inside):
                problems.append(
                    f"{shown} ambiguous: {read_shown} beside it, and neither is known "
                    f"to have all {adjective} images of the other; give the one to "
                    "read with --input"
                )
                continue
            rest = tuple(piece for piece in part.pieces if piece.split != split)
            kept[kept.index(part)] = dataclasses.replace(part, pieces=rest)
            is_same = inside.counts.total() == outside.counts.total()
            has = f"has the same {adjective} images" if is_same else "has more images"
            notes.append(f"{shown} left out: {read_shown} read, which {has}")
    if problems:
        raise UsageError("; ".join(problems))
    return [part for part in kept if part.pieces], notes


def _layout(part: FoundParts) -> str:
    return part.pieces[0].layout


def _select(part: FoundParts, split: str) -> list[InputPart]:
    return [piece for piece in part.pieces if piece.split == split]


def _list_images(pieces: Sequence[InputPart]) -> _Listed | None:
    """List the images of parts; return None if parts are remote or unreadable."""
    if any(storage.is_remote(piece.path) for piece in pieces):
        return None
    listed = _Listed(Counter(), set())
    try:
        for piece in pieces:
            for item in layouts.load(piece.layout).read(piece):
                if isinstance(item, ImageRef | MisplacedImage):
                    ref = item.ref if isinstance(item, MisplacedImage) else item
                    listed.counts[ref.wnid] += 1
                    if piece.split == splits.VALIDATION:
                        listed.keys.add(ref.key)
    except UsageError:
        return None
    return listed


def _unite(listed: Sequence[_Listed | None]) -> _Listed | None:
    """Combine the images of disjoint layouts; return None if any is unknown."""
    united = _Listed(Counter(), set())
    for one in listed:
        if one is None:
            return None
        united.counts.update(one.counts)
        united.keys.update(one.keys)
    return united


def _show_places(pieces: Sequence[InputPart], listed: _Listed | None) -> str:
    places = list(dict.fromkeys(piece.place for piece in pieces))
    wnids = {piece.wnid for piece in pieces} if listed is None else set(listed.counts)
    counted = "unknown number of images"
    if listed is not None:
        counted = describe_count(listed.counts.total(), "image")
    if "" not in wnids:
        counted = f"{describe_count(len(wnids), 'class')}, {counted}"
    verb = "is" if len(places) == 1 else "are"
    return f"{list_names(places, _NEAREST_SHOWN)} ({counted}) {verb}"


def _list_wnids(part: FoundParts, split: str) -> set[str]:
    """Return the wnids of a split's parts; empty if a part may have several classes."""
    wnids = {piece.wnid for piece in _select(part, split)}
    return set() if "" in wnids else wnids


def _overlap(one: FoundParts, other: FoundParts, split: str) -> bool:
    wnids = _list_wnids(one, split), _list_wnids(other, split)
    return not all(wnids) or bool(wnids[0] & wnids[1])


def _rank(
    part: FoundParts, split: str, listed: _Listed | None
) -> tuple[int, bool, bool]:
    """Return the sort key of a layout: layouts with a larger key are preferred."""
    pieces = _select(part, split)
    layout = layouts.load(pieces[0].layout)
    is_labelled = not any(piece.needs_labels for piece in pieces)
    is_extracted = getattr(layout, "IS_EXTRACTED", False)
    num_images = listed.counts.total() if listed else 0
    return num_images, is_labelled, is_extracted


def _find_unread(path: str, recognised: Sequence[FoundParts]) -> list[str]:
    """Return a message for each folder or archive named like a split but not read."""
    if not storage.is_folder(path):
        return []
    if any(piece.container == "." for part in recognised for piece in part.pieces):
        return []
    read_splits = {piece.split for part in recognised for piece in part.pieces}
    read = _list_read(path, recognised)
    problems = []
    for entry in storage.list_folder(path):
        split = splits.parse_split(entry.name)
        is_holder = entry.is_folder or folder_contents.is_archive(entry.name)
        is_read = entry.name in read or split in read_splits
        if is_holder and not is_read and splits.is_plain(entry.name):
            inside = f"{path}/{entry.name}"
            problems.append(
                f"{inside} contains no recognised images; it should contain "
                f"{_EXPECTED[entry.is_folder]}; {folder_contents.describe(inside)}"
            )
    return problems


def _find_unfinished(recognised: Sequence[FoundParts]) -> list[str]:
    """Return a message for each archive that is not completely downloaded."""
    files = {piece.path for part in recognised for piece in part.pieces}
    problems = []
    for folder in {file.rpartition("/")[0] for file in files}:
        names = [e.name for e in storage.list_folder(folder) if not e.is_folder]
        problems += [
            f"{folder}/{name} is not downloaded completely (beside it is {control}); "
            "finish the download"
            for name, control in folder_contents.list_unfinished(names).items()
            if f"{folder}/{name}" in files
        ]
    return problems


def _describe_nearest(path: str) -> str:
    """Describe what an input contains, and which paths below it contain ImageNet."""
    described = folder_contents.describe(path)
    nearest = list(_search(path)) if storage.is_folder(path) else []
    if nearest:
        shown = list_names(nearest, _NEAREST_SHOWN)
        return f"{described}; ImageNet is in {shown}: use that path"
    return described


def _search(path: str) -> Iterator[str]:
    """Yield the folders and archives below a folder that a layout recognises.

    The search is breadth-first and ends after `_SEARCHED_FOLDERS` entries.
    """
    waiting = [path]
    num_searched = 0
    while waiting and num_searched < _SEARCHED_FOLDERS:
        folder = waiting.pop(0)
        for entry in layouts.list_entries(folder):
            is_candidate = entry.is_folder or folder_contents.is_archive(entry.name)
            if not is_candidate or entry.name.startswith("."):
                continue
            num_searched += 1
            if num_searched > _SEARCHED_FOLDERS:
                return
            inside = f"{folder}/{entry.name}"
            try:
                if layouts.find(inside):
                    yield inside
                elif entry.is_folder:
                    waiting.append(inside)
            except (UsageError, OSError):
                continue


def _list_read(path: str, recognised: Sequence[FoundParts]) -> set[str]:
    """Return the names of the entries of a folder that contain input parts."""
    return {
        piece.path.removeprefix(f"{path}/").split("/", 1)[0]
        for part in recognised
        for piece in part.pieces
        if piece.uri != "." and piece.path.startswith(f"{path}/")
    }


def _describe_left_out(path: str, found: Sequence[FoundParts]) -> list[str]:
    """Describe skipped folders and archives beside the input parts.

    Args:
      path: the input.
      found: the parts found in the input; their notes describe some skipped folders.
    """
    is_flat = any(piece.uri == "." for part in found for piece in part.pieces)
    if not storage.is_folder(path) or is_flat:
        return []
    read = _list_read(path, found)
    notes = [note for part in found for note in part.notes]
    names, num_system_files = [], 0
    for entry in storage.list_folder(path):
        is_holder = entry.is_folder or folder_contents.is_archive(entry.name)
        if layouts.is_system_file(entry.name):
            num_system_files += 1
        elif (
            is_holder
            and entry.name not in read
            and entry.name[0] not in "._"
            and not any(_mentions(note, path, entry.name) for note in notes)
        ):
            names.append(entry.name)
    lines = []
    if names and read:
        lines.append(f"{path}: left out: {list_names(names)}")
    if num_system_files:
        files = describe_count(num_system_files, "file")
        lines.append(f"{path}: {files} of operating systems left out")
    return lines


def _mentions(note: str, path: str, name: str) -> bool:
    """Return whether a note is about an entry of a folder or lists it as left out."""
    listed = note.removeprefix(f"{path}: ").partition("left out: ")[2].split(", ")
    return note.startswith(f"{path}/{name} ") or name in listed


def _find_labels(
    pieces: Sequence[InputPart], validation_labels: str | None
) -> list[InputPart]:
    """Set the labels file of every part that needs one, and check each file once."""
    trained = {piece.wnid for piece in pieces}
    labelled = []
    checked: set[str] = set()
    if validation_labels:
        _check_labels(validation_labels, trained)
        checked.add(validation_labels)
    for piece in pieces:
        path = ""
        if piece.needs_labels:
            path = validation_labels or piece.labels or _labels_beside(piece)
        if path and path not in checked:
            _check_labels(path, trained)
            checked.add(path)
        labelled.append(dataclasses.replace(piece, labels=path))
    return labelled


def _labels_beside(piece: InputPart) -> str:
    """Find Kaggle's table beside the images or a few levels up; return "" if absent."""
    folder = piece.root if piece.uri == "." else piece.path
    if not storage.is_folder(folder):
        folder = folder.rpartition("/")[0]
    for _ in range(_LEVELS_UP):
        path = f"{folder}/{validation.KAGGLE_TABLE}"
        if storage.is_file(path):
            return path
        folder = folder.rpartition("/")[0]
        if folder.endswith("/") or not folder:  # stop at a bucket or the root
            break
    return ""


def _check_labels(path: str, trained: set[str]) -> None:
    """Check that the classes of a labels table are known.

    Raises:
      UsageError: the table cannot be read, or has wnids that are neither official
        nor among the training images.
    """
    try:
        wnids = set(validation.read_labels(path).values())
    except OSError as error:
        raise UsageError(
            f"--validation_labels {path}: cannot be read ({error.strerror}); give the "
            "table LOC_val_solution.csv"
        ) from error
    known = {info.wnid for info in classes.load_classes()} | trained
    if unknown := sorted(wnids - known):
        raise UsageError(
            f"{path}: unknown wnid {list_names(unknown)}: neither one of the 1000 "
            "classes nor among the training images"
        )
