"""Files of predictions → what must be known of their images before any is counted.

That is their classes, which become the matrix; where each class is halved; and that no
image is counted twice. Only keys and labels are read here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import seeds, storage
from transforms.confusion.confusion_file import MAX_CLASSES
from transforms.confusion.confusion_tally import Cutoff, Piece
from transforms.labels.classes import is_wnid, load_classes
from transforms.records import UsageError
from transforms.scoring import prediction_rows
from transforms.scoring.predictions import read_predictions

IntArray = npt.NDArray[np.int64]

_REPEATED = ("wnid", "model", "model_id")  # few texts, often
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """What is known of all files before any image is counted."""

    pieces: tuple[Piece, ...]
    models: tuple[str, ...]  # by name, in the order of the files
    wnids: tuple[str, ...]  # of all images, sorted
    cutoffs: tuple[Cutoff, ...]  # the last image of each class's first half
    num_images: int  # each as often as models were asked
    num_seen: int  # of them, those that the model was trained on
    by_probabilities: tuple[str, ...]  # the files that keep them
    by_rank: tuple[str, ...]  # those that do not


class _File(NamedTuple):
    """A file: for each row which image it is of, and which model was asked."""

    path: str
    rows: pa.Table
    num_pieces: int
    has_probabilities: bool


class _Codes(NamedTuple):
    """A column of texts: each row's place among the distinct ones, which are sorted."""

    values: list[str]
    codes: IntArray


def survey(paths: Sequence[str], *, seed: int) -> Surveyed:
    """Find which images files of predictions hold.

    Args:
      paths: `.npz` and `.parquet` files, as `read_predictions` takes them; here models
        may share a name, as the two of a cross-fit do, if they are not the same.
      seed: decides the halves: of each class the first ⌈n/2⌉ of its images by
        hash(fold), however many models and files they stand in.
    Raises: UsageError: all files' problems, a line each.
    """
    files, problems = list[_File](), list[str]()
    for path in paths:
        try:
            files.append(_read_file(path))
        except UsageError as error:
            problems += [
                f"--predictions {line.removeprefix('--predictions ')}"
                for line in str(error).splitlines()
            ]
    if problems:
        raise UsageError("\n".join(problems))
    rows = pa.concat_tables([file.rows for file in files])
    images, classes = _encode(rows["key"]), _encode(rows["wnid"])
    names, ids = _encode(rows["model"]), _encode(rows["model_id"])
    lengths = [file.rows.num_rows for file in files]
    path_of = np.repeat(np.array([file.path for file in files], object), lengths)
    same_model = names.codes * len(ids.values) + ids.codes
    problems += _find_repeats(images, same_model, rows["model"], path_of)
    class_of = np.empty(len(images.values), np.int64)
    class_of[images.codes[::-1]] = classes.codes[::-1]  # what the first row says
    problems += _find_contradiction(images, classes, class_of, path_of)
    problems += _find_class_problems(classes.values)
    if problems:
        raise UsageError("\n".join(f"--predictions {problem}" for problem in problems))
    return Surveyed(
        pieces=tuple(
            Piece(storage.absolute(file.path), number)
            for file in files
            for number in range(file.num_pieces)
        ),
        models=tuple(rows["model"].unique().to_pylist()),
        wnids=tuple(classes.values),
        cutoffs=find_cutoffs(images.values, class_of, seed=seed),
        num_images=rows.num_rows,
        num_seen=pc.sum(rows["seen"], min_count=0).as_py(),
        by_probabilities=tuple(f.path for f in files if f.has_probabilities),
        by_rank=tuple(f.path for f in files if not f.has_probabilities),
    )


def find_cutoffs(
    keys: Sequence[str], class_of: IntArray, *, seed: int
) -> tuple[Cutoff, ...]:
    """Find the last image of each class's first half; ties go by key.

    Args:
      keys: the images, sorted.
      class_of: shape (images,), the class of each, 0…C-1, none without an image.
      seed: decides the halves.
    """
    places = seeds.orders(seed, "fold", keys)
    order = np.lexsort((places, class_of))
    counts = np.bincount(class_of)
    last = np.cumsum(counts) - counts + (counts + 1) // 2 - 1
    return tuple(Cutoff(int(places[n]), keys[n]) for n in order[last].tolist())


def _read_file(path: str) -> _File:
    if PurePosixPath(path).suffix == prediction_rows.SUFFIX:
        return _read_parquet(path)
    (found,) = read_predictions([path])
    wnids = np.array([info.wnid for info in load_classes()])[found.truth]
    columns = {
        "wnid": pa.array(wnids),
        "model": pa.repeat(found.model, len(wnids)),
        "model_id": pa.repeat("", len(wnids)),
    }
    rows = pa.table({
        "key": pa.array(found.keys),
        **{name: column.dictionary_encode() for name, column in columns.items()},
        "seen": pa.repeat(pa.scalar(value=False), len(wnids)),
    })
    return _File(path, rows, num_pieces=1, has_probabilities=False)


def _read_parquet(path: str) -> _File:
    described = prediction_rows.describe(path)
    names = ["key", *_REPEATED, "seen"]
    try:
        file = storage.for_arrow(path)
        rows = pq.read_table(file, columns=names, read_dictionary=list(_REPEATED))
        rows.validate(full=True)  # texts may be no UTF-8
    except (pa.ArrowException, OSError) as error:
        raise UsageError(
            f"{path}: is damaged ({error!s:.200}); {prediction_rows.REMEDY}"
        ) from error
    for name in ("key", *_REPEATED):
        if rows[name].null_count or not rows.num_rows:
            raise UsageError(
                f"{path}: column {name} has gaps; {prediction_rows.REMEDY}"
            )
    return _File(
        path,
        rows.replace_schema_metadata(),
        described.num_row_groups,
        described.has_probabilities,
    )


def _encode(column: pa.ChunkedArray) -> _Codes:
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.large_string()).dictionary_encode()
    coded = pa.concat_arrays(column.unify_dictionaries().chunks)
    texts = coded.dictionary.to_pylist()
    values = sorted(set(texts))
    place = {text: number for number, text in enumerate(values)}
    places = np.array([place[text] for text in texts], np.int64)
    return _Codes(values, places[coded.indices.to_numpy()])


def _find_repeats(
    images: _Codes,
    same_model: IntArray,
    names: pa.ChunkedArray,
    path_of: npt.NDArray[np.object_],
) -> Iterator[str]:
    """Yield which models stand twice for the same images."""
    for model in np.unique(same_model):
        rows = np.flatnonzero(same_model == model)
        rows = rows[np.argsort(images.codes[rows], kind="stable")]
        again = np.flatnonzero(np.diff(images.codes[rows]) == 0)
        if not len(again):
            continue
        first, second = rows[again[0]], rows[again[0] + 1]
        name, path = names[int(second)].as_py(), path_of[second]
        if path_of[first] == path:
            key = images.values[images.codes[second]]
            yield (
                f"{path}: {len(again)} images stand more than once for {name}, e.g. "
                f"{key:.60}; keep one row of each"
            )
        else:
            yield (
                f"{path}: {path_of[first]} is of {name} already, for {len(again)} of "
                "the same images; rename the file, or give it once"
            )


def _find_contradiction(
    images: _Codes,
    classes: _Codes,
    class_of: IntArray,
    path_of: npt.NDArray[np.object_],
) -> Iterator[str]:
    """Yield an image that is of one class here and of another there."""
    first = class_of[images.codes]
    if len(odd := np.flatnonzero(first != classes.codes)):
        row = odd[0]
        yield (
            f"{path_of[row]}: image {images.values[images.codes[row]]:.60} is of "
            f"{classes.values[classes.codes[row]]}, which is of "
            f"{classes.values[first[row]]} in a row before, and so are {len(odd)} rows "
            "in all; give predictions of the same ImageNet"
        )


def _find_class_problems(wnids: Sequence[str]) -> Iterator[str]:
    if strange := [wnid for wnid in wnids if not is_wnid(wnid)]:
        shown = ", ".join(f"{wnid!r:.20}" for wnid in strange[:_SHOWN])
        yield f"{shown}: no wnid (n and 8 digits); {prediction_rows.REMEDY}"
    if not 2 <= len(wnids) <= MAX_CLASSES:
        yield (
            f"holds images of {len(wnids)} class{'es' if len(wnids) > 1 else ''}; "
            f"2 to {MAX_CLASSES} make a matrix"
        )
