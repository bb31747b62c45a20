"""Recognise raw inputs and find the labels of their validation images."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from transforms import layouts, storage
from transforms.images import read as image_reading
from transforms.index import table as index_table
from transforms.labels import classes, validation
from transforms.layouts import FoundParts, InputPart
from transforms.records import UsageError, list_names

LABELS_FILE = "LOC_val_solution.csv"
_ARCHIVE = re.compile(r"\.(tar|tar\.\w+|tgz|zip|parquet|arrow|tfrecord[^.]*)$")
_EXPECTED = {
    True: "nXXXXXXXX/*.JPEG or nXXXXXXXX.tar (val: images too), and be named train or "
    "val",
    False: "nXXXXXXXX.tar archives, or images",
}
_LEVELS_UP = 5  # from ILSVRC/Data/CLS-LOC/val to one folder above ILSVRC's parent


def find_pieces(
    inputs: Sequence[str], validation_labels: str | None
) -> tuple[list[InputPart], list[str]]:
    """Recognise raw inputs and find the labels of their validation images.

    Returns:
      The input parts in the order of the inputs, and notes for the user.

    Raises:
      UsageError: every input without ImageNet images, and every label problem.
    """
    pieces: list[InputPart] = []
    notes: list[str] = []
    problems: list[str] = []
    image_reading.forget()  # versions cached by an earlier job do not apply
    for position, path in enumerate(inputs):
        try:
            recognised = _find_layouts(path)
            notes += _describe_left_out(storage.absolute(path), recognised)
            for layout in recognised:
                notes += [layout.description, *layout.notes]
                pieces += [
                    dataclasses.replace(piece, input=position)
                    for piece in layout.pieces
                ]
        except UsageError as error:
            what = str(error).removeprefix(f"{path}: ")
            problems.append(f"--input {path}: {what}")
        except OSError as error:
            problems.append(f"--input {path}: {error.strerror or error}")
    try:
        pieces = _find_labels(pieces, validation_labels)
    except (UsageError, OSError) as error:
        problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return pieces, notes


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


def _find_layouts(path: str) -> list[FoundParts]:
    if index_table.is_index(path):
        raise UsageError("an index must be the only input of a build")
    if not storage.exists(path):
        raise UsageError("no such file or folder")
    absolute = storage.absolute(path)
    modules = (layouts.load(name) for name in layouts.LAYOUTS)
    recognised = [f for module in modules if (f := module.find(absolute)) is not None]
    problems = _find_unread(absolute, recognised)
    if not recognised:
        problems.append(
            f"no ImageNet found here; looked for {'; '.join(layouts.list_looked_for())}"
        )
    if problems:
        raise UsageError("; ".join(problems))
    return recognised


def _find_unread(path: str, recognised: Sequence[FoundParts]) -> list[str]:
    """Return a problem for each entry that is named like a split but not recognised."""
    if not storage.is_folder(path):
        return []
    read = _list_read(path, recognised)
    return [
        f"{path}/{entry.name} contains no recognised images; it should contain "
        f"{_EXPECTED[entry.is_folder]}"
        for entry in storage.list_folder(path)
        if _looks_like_a_split(entry.name) and entry.name not in read
    ]


def _list_read(path: str, recognised: Sequence[FoundParts]) -> set[str]:
    """Return the names of the entries of a folder that contain input parts."""
    return {
        piece.path.removeprefix(f"{path}/").split("/", 1)[0]
        for part in recognised
        for piece in part.pieces
        if piece.uri != "." and piece.path.startswith(f"{path}/")
    }


def _describe_left_out(path: str, recognised: Sequence[FoundParts]) -> list[str]:
    """Describe skipped folders and archives beside the input parts."""
    is_flat = any(piece.uri == "." for part in recognised for piece in part.pieces)
    if not storage.is_folder(path) or is_flat:
        return []
    read = _list_read(path, recognised)
    note_text = " ".join(note for part in recognised for note in part.notes)
    names = [
        entry.name
        for entry in storage.list_folder(path)
        if (entry.is_folder or _ARCHIVE.search(entry.name))
        and entry.name not in read
        and entry.name[0] not in "._"
        and not re.search(rf"\b{re.escape(entry.name)}\b", note_text)
    ]
    if not names or not read:
        return []
    return [f"{path}: left out: {list_names(names)}"]


def _looks_like_a_split(name: str) -> bool:
    is_split_folder = name.lower() in {"train", "val", "validation"}
    return is_split_folder or layouts.is_split_file(name)


def _find_labels(
    pieces: Sequence[InputPart], validation_labels: str | None
) -> list[InputPart]:
    """Set the labels file of every flat validation part, and check each file once."""
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
        path = f"{folder}/{LABELS_FILE}"
        if storage.is_file(path):
            return path
        folder = folder.rpartition("/")[0]
        if folder.endswith("/") or not folder:  # stop at a bucket or the root
            break
    return ""


def _check_labels(path: str, trained: set[str]) -> None:
    """Check that the classes of a labels table are known.

    Raises:
      UsageError: wnids that are neither official nor among the training images.
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
