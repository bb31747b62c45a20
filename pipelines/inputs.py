"""What the user names → what the launcher needs: pieces, labels, an index."""

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
_LEVELS_UP = 5  # from ILSVRC/Data/CLS-LOC/val to the folder above ILSVRC, and one more


def find_pieces(
    inputs: Sequence[str], validation_labels: str | None
) -> tuple[list[InputPart], list[str]]:
    """Recognise raw inputs and find the labels of their validation images.

    Returns: The pieces in the order of the inputs, and what to tell the user.
    Raises: UsageError: every input that holds no ImageNet, and every label problem.
    """
    pieces: list[InputPart] = []
    told: list[str] = []
    problems: list[str] = []
    image_reading.forget()  # an earlier job's versions are nothing to this one
    for position, path in enumerate(inputs):
        try:
            recognised = _find_layouts(path)
            told += _describe_left_out(storage.absolute(path), recognised)
            for found in recognised:
                told += [found.description, *found.notes]
                pieces += [
                    dataclasses.replace(piece, input=position) for piece in found.pieces
                ]
        except (UsageError, OSError) as error:
            problems.append(f"--input {path}: {error}")
    try:
        pieces = _find_labels(pieces, validation_labels)
    except (UsageError, OSError) as error:
        problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return pieces, told


def check_versions(index: str, versions: Mapping[str, str]) -> None:
    """See that archives in buckets are what they were when they were indexed.

    Raises: UsageError: one that is not: what the index says of it is of another.
    """
    if changed := storage.find_changed(versions):
        raise UsageError(
            f"--input {index}: {list_names(changed, 1)} changed since it was indexed, "
            "or is gone; make the index again with python -m pipelines.index"
        )


def _find_layouts(path: str) -> list[FoundParts]:
    if index_table.is_index(path):
        raise UsageError("an index goes alone; give it as the only --input of a build")
    if not storage.exists(path):
        raise UsageError("no such file or folder")
    absolute = storage.absolute(path)
    modules = (layouts.load(name) for name in layouts.LAYOUTS)
    found = [f for module in modules if (f := module.find(absolute)) is not None]
    problems = _find_unread(absolute, found)
    if not found:
        problems.append(
            f"no ImageNet found here; looked for {'; '.join(layouts.list_looked_for())}"
        )
    if problems:
        raise UsageError("; ".join(problems))
    return found


def _find_unread(path: str, found: Sequence[FoundParts]) -> list[str]:
    """Name what is called like a split but was not understood."""
    if not storage.is_folder(path):
        return []
    read = _list_read(path, found)
    return [
        f"{path}/{entry.name} holds no images that are understood; it should hold "
        f"{_EXPECTED[entry.is_folder]}"
        for entry in storage.list_folder(path)
        if _looks_like_a_split(entry.name) and entry.name not in read
    ]


def _list_read(path: str, found: Sequence[FoundParts]) -> set[str]:
    """Return the names in a folder that pieces lie at or below."""
    return {
        piece.path.removeprefix(f"{path}/").split("/", 1)[0]
        for part in found
        for piece in part.pieces
        if piece.uri != "." and piece.path.startswith(f"{path}/")
    }


def _describe_left_out(path: str, found: Sequence[FoundParts]) -> list[str]:
    """Name folders and archives beside those that are read: they may hold images."""
    is_flat = any(piece.uri == "." for part in found for piece in part.pieces)
    if not storage.is_folder(path) or is_flat:
        return []
    read = _list_read(path, found)
    noted = " ".join(note for part in found for note in part.notes)
    names = [
        entry.name
        for entry in storage.list_folder(path)
        if (entry.is_folder or _ARCHIVE.search(entry.name))
        and entry.name not in read
        and entry.name[0] not in "._"
        and not re.search(rf"\b{re.escape(entry.name)}\b", noted)
    ]
    if not names or not read:
        return []
    return [f"{path}: left out: {list_names(names)}"]


_ARCHIVE = re.compile(r"\.(tar|tar\.\w+|tgz|zip|parquet|arrow|tfrecord[^.]*)$")
_EXPECTED = {
    True: "nXXXXXXXX/*.JPEG or nXXXXXXXX.tar (val: images too), and be called train or "
    "val",
    False: "nXXXXXXXX.tar archives, or images",
}


def _looks_like_a_split(name: str) -> bool:
    is_split_folder = name.lower() in {"train", "val", "validation"}
    return is_split_folder or layouts.is_split_file(name)


def _find_labels(
    pieces: Sequence[InputPart], validation_labels: str | None
) -> list[InputPart]:
    """Name the labels of every flat validation piece, and check them now."""
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
    """Find Kaggle's table beside the images or a little above; "" when it is not."""
    folder = piece.root if piece.uri == "." else piece.path
    if not storage.is_folder(folder):
        folder = folder.rpartition("/")[0]
    for _ in range(_LEVELS_UP):
        path = f"{folder}/{LABELS_FILE}"
        if storage.is_file(path):
            return path
        folder = folder.rpartition("/")[0]
        if folder.endswith("/") or not folder:  # a bucket, or the root, is the last
            break
    return ""


def _check_labels(path: str, trained: set[str]) -> None:
    """Refuse a table whose classes nobody knows.

    Raises: UsageError: wnids that are neither of the 1000 nor in the training images.
    """
    try:
        wnids = set(validation.read_labels(path).values())
    except OSError as error:
        raise UsageError(
            f"--validation_labels {path}: cannot be read ({error.strerror}); name the "
            "table LOC_val_solution.csv"
        ) from error
    known = {info.wnid for info in classes.load_classes()} | trained
    if unknown := sorted(wnids - known):
        raise UsageError(
            f"{path}: unknown wnid {list_names(unknown)}: neither one of the 1000 "
            "classes nor among the training images"
        )
