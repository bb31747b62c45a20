"""Read and validate files of predictions, Parquet or NPZ.

The files are untrusted. A Parquet file's metadata is read at launch. Its rows are read
in batches of a few thousand, each of one model, so that memory stays bounded.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms import npz, storage
from transforms.arrays import BoolArray, IntArray, IntegerArray
from transforms.labels import classes, validation
from transforms.labels.classes import is_wnid
from transforms.predictions import table as predictions_table
from transforms.predictions.table import NUM_TOP, PROBABILITIES, SCHEMA, ScoredModel
from transforms.records import UsageError, list_names

Float16Array = npt.NDArray[np.float16]

SUFFIX = ".parquet"
_MAX_ROWS = 50_000_000  # of a file: ImageNet and about forty models
_MAX_OUTPUTS = 1 << 16  # the range of the table's uint16
_BATCH_ROWS = 1 << 13
_BATCH_NUMBERS = 1 << 22  # of probabilities
_MAX_P = 1 + 1e-6  # float32 rounds
_SUM_ERROR = 0.01  # float16 rounds: about 0.001 with 21,841 classes
_NEEDED = ("key", "wnid", "model", "model_id", "p_correct", "top5")
REMEDY = "make it again with python -m pipelines.predict"
_SINGLE = "use a model of single classes, e.g. one trained with --grouping all_classes"
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Description:
    """The validated metadata of a Parquet file of predictions."""

    path: str
    models: tuple[ScoredModel, ...]
    num_row_groups: int
    has_probabilities: bool

    def find_model(self, model: str, model_id: str) -> ScoredModel:
        """Return the metadata of the model with this name and id.

        Raises:
          UsageError: the file's metadata does not list the model.
        """
        for listed in self.models:
            if (listed.model, listed.model_id) == (model, model_id):
                return listed
        raise UsageError(
            f"{self.path}: has rows of {model!r:.60}, which it does not list; {REMEDY}"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """The predictions of one model for some images.

    Attributes:
      model: name of the model.
      outputs: wnid of each output of the model.
      keys: keys of the images, in the order of the file.
      wnids: wnids of the images, i.e. their true classes.
      top5: shape (images, min(5, outputs)), output indices, most probable first.
      probabilities: shape (images, outputs), float16; None if not stored or
        not requested.
    """

    model: str
    outputs: tuple[str, ...]
    keys: list[str]
    wnids: list[str]
    top5: IntArray
    probabilities: Float16Array | None = None


def find_outputs(model: ScoredModel) -> tuple[str, ...]:
    """Return the wnid of each output of a model whose outputs are single classes."""
    return tuple(output.wnids[0] for output in model.classes)


def describe(path: str) -> Description:
    """Read and validate the metadata of a Parquet file of predictions.

    Raises:
      UsageError: the file is invalid; one line per problem.
    """
    models = predictions_table.read_models(path)
    file = storage.open_parquet(path)
    names = Counter((str(model.model), str(model.model_id)) for model in models)
    problems = [
        f"lists the model {name} more than once; {REMEDY}"
        for (name, _), count in names.items()
        if count > 1
    ]
    for model in models:
        problems += _find_model_problems(model)
    schema = file.schema_arrow
    has_probabilities = PROBABILITIES.name in schema.names
    expected = [*SCHEMA, PROBABILITIES] if has_probabilities else SCHEMA
    problems += [
        f"column {field.name} is {schema.field(field.name).type}, not {field.type}; "
        f"{REMEDY}"
        for field in expected
        if schema.field(field.name).type != field.type
    ]
    if not (num_rows := file.metadata.num_rows):
        problems.append(f"contains no predictions; {REMEDY}")
    if num_rows > _MAX_ROWS:
        problems.append(f"has {num_rows} rows, the limit is {_MAX_ROWS}; split it")
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return Description(
        path=path,
        models=models,
        num_row_groups=file.num_row_groups,
        has_probabilities=has_probabilities,
    )


def _find_model_problems(model: ScoredModel) -> Iterator[str]:
    """Yield a message if a model's outputs are not distinct single classes.

    The number of outputs and the model's name are also checked.
    """
    name = f"model {model.model!s:.60}"
    if not 1 <= len(model.classes) <= _MAX_OUTPUTS:
        yield f"{name} has {len(model.classes)} outputs; {REMEDY}"
        return
    if groups := [output for output in model.classes if len(output.wnids) != 1]:
        yield (
            f"{name} predicts groups, not classes: {len(groups)} of its "
            f"{len(model.classes)} outputs, e.g. {groups[0].name!s:.40}, have several "
            f"classes; {_SINGLE}"
        )
        return
    wnids = find_outputs(model)
    invalid = [w for w in wnids if not isinstance(w, str) or not is_wnid(w)]
    if invalid or not isinstance(model.model, str):
        shown = ", ".join(f"{w!r:.20}" for w in invalid[:_SHOWN]) or name
        yield f"{name} has outputs that are not wnids ({shown}); {REMEDY}"
    elif len(set(wnids)) < len(wnids):
        yield f"{name} has several outputs for one class; {REMEDY}"


def read_batches(
    described: Description, row_groups: Iterable[int], *, with_probabilities: bool
) -> Iterator[Batch]:
    """Yield the validated predictions in some row groups.

    Args:
      described: metadata of the file.
      row_groups: indices of the row groups to read.
      with_probabilities: whether to read probabilities, if the file has them.

    Raises:
      UsageError: the file is damaged or has invalid values.
    """
    path = described.path
    names, num_rows = list(_NEEDED), _BATCH_ROWS
    if with_probabilities and described.has_probabilities:
        names.append(PROBABILITIES.name)
        longest = max(len(model.classes) for model in described.models)
        num_rows = max(1, min(num_rows, _BATCH_NUMBERS // longest))
    try:
        for part in storage.open_parquet(path).iter_batches(
            num_rows, row_groups=list(row_groups), columns=names
        ):
            table = pa.Table.from_batches([part])
            table.validate(full=True)  # strings may not be UTF-8
            yield from _split(table, described)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path}: is damaged ({error!s:.200}); {REMEDY}") from error


def _split(table: pa.Table, described: Description) -> Iterator[Batch]:
    """Split a table by model and yield one validated batch per model.

    Raises:
      UsageError: a value is missing or invalid.
    """
    for name in table.column_names:
        if table[name].null_count:
            raise UsageError(
                f"{described.path}: column {name} has missing values; {REMEDY}"
            )
    pairs = table.group_by(["model", "model_id"], use_threads=False).aggregate([])
    for pair in pairs.to_pylist():
        model = described.find_model(pair["model"], pair["model_id"])
        rows = table
        if pairs.num_rows > 1:
            is_model = pc.and_(
                pc.equal(table["model"], model.model),
                pc.equal(table["model_id"], model.model_id),
            )
            rows = table.filter(is_model)
        try:
            yield _make_batch(rows.combine_chunks(), model)
        except ValueError as error:
            raise UsageError(f"{described.path}: {error}; {REMEDY}") from None


def _make_batch(table: pa.Table, model: ScoredModel) -> Batch:
    """Convert the rows of one model to arrays and validate them.

    Raises:
      ValueError: a value is invalid.
    """
    keys = table["key"].to_pylist()
    num_outputs = len(model.classes)
    wnids = table["wnid"].to_pylist()
    if invalid := {wnid for wnid in set(wnids) if not is_wnid(wnid)}:
        raise ValueError(f"{min(invalid)!r:.20} is not a wnid (n and 8 digits)")
    p_correct = table["p_correct"].to_numpy()
    _require((p_correct >= 0) & (p_correct <= _MAX_P), keys, "p_correct", "0 to 1")
    top5 = _to_rows(table["top5"], min(NUM_TOP, num_outputs), keys).astype(np.int64)
    is_valid: BoolArray = np.all(top5 < num_outputs, axis=1)
    _require(is_valid, keys, "top5", f"0…{num_outputs - 1}")
    probabilities = None
    if PROBABILITIES.name in table.column_names:
        probabilities = _to_rows(table[PROBABILITIES.name], num_outputs, keys)
        wide = probabilities.astype(np.float32)
        is_valid = np.all((wide >= 0) & (wide <= 1), axis=1)
        _require(is_valid, keys, "probabilities", "0 to 1")
        is_valid = np.abs(wide.sum(axis=1, dtype=np.float64) - 1) <= _SUM_ERROR
        _require(is_valid, keys, "the sum of probabilities", "1")
    return Batch(
        model=model.model,
        outputs=find_outputs(model),
        keys=keys,
        wnids=wnids,
        top5=top5,
        probabilities=probabilities,
    )


def _require(is_valid: BoolArray, keys: list[str], what: str, expected: str) -> None:
    """Raise ValueError with the key of the first invalid image, if any.

    Args:
      is_valid: shape (images,).
      keys: keys of the images.
      what: name of the checked value, for the message.
      expected: description of valid values, for the message.
    """
    if not is_valid.all():
        key = keys[int(is_valid.argmin())]
        raise ValueError(f"{what} of image {key!s:.60} is not {expected}")


def _to_rows(column: pa.ChunkedArray, width: int, keys: list[str]) -> npt.NDArray:
    """Convert a column of lists to a matrix, shape (lists, width).

    Raises:
      ValueError: a list has another length or missing values.
    """
    lists = column.combine_chunks()
    lengths = pc.list_value_length(lists).to_numpy()
    _require(lengths == width, keys, "the length of a list", str(width))
    values = lists.flatten()
    if values.null_count:
        raise ValueError("a list has missing values")
    return values.to_numpy().reshape(len(lists), width)


NUM_CLASSES = 1000
_SHAPE = (validation.NUM_OFFICIAL, 5)
_MAX_BYTES = 16 * 2**20  # far above 50,000 × 5 × 8
_REMEDY = (
    "give an npz file with top5: the top 5 class indices of each official validation "
    "image, in order"
)


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one model for some images.

    Attributes:
      model: name of the model.
      top5: shape (images, min(5, num_outputs)), predicted class indices 0…999, most
        probable first.
      truth: shape (images,), true class indices 0…999.
      keys: keys of the images in the same order; empty if unknown.
      num_outputs: number of classes that the model predicts.
    """

    model: str
    top5: IntegerArray
    truth: IntegerArray
    keys: tuple[str, ...] = ()
    num_outputs: int = NUM_CLASSES


def read_predictions(paths: Sequence[str]) -> list[Predictions]:
    """Read the predictions of all models in some files.

    Args:
      paths: `.parquet` files that `pipelines.predict` wrote, for one or more models; or
        `.npz` files, named after their model, with an integer array `top5` of shape
        (50000, 5): the top-5 class indices of the official validation images 1…50000.

    Returns:
      One item per model, in the order of the paths and of the models in each file. The
      images of each item are sorted by key.

    Raises:
      UsageError: a file is invalid, or several files have predictions of one model;
        one line per problem.
    """
    all_predictions: list[Predictions] = []
    problems: list[str] = []
    path_of: dict[str, str] = {}
    repeated: list[tuple[int, str, str]] = []  # place of the problem, path, model
    for path in paths:
        try:
            file_predictions = _choose_reader(path)(path)
        except UsageError as error:
            problems += [f"--predictions {line}" for line in str(error).splitlines()]
            continue
        for predictions in file_predictions:
            if (model := predictions.model) in path_of:
                repeated.append((len(problems), path, model))
            path_of.setdefault(model, path)
        all_predictions += file_predictions
    if repeated:
        (place, path, model), *others = repeated
        more = ""
        if others:
            shown = list_names((other for _, other, _ in others), _SHOWN)
            more = f" ({len(others)} more models are repeated: {shown})"
        problems.insert(
            place,
            f"--predictions {path}: {path_of[model]} already has {model}{more}; "
            "rename the file (in a Parquet file: the model, in its card), or give it "
            "once",
        )
    if problems:
        raise UsageError("\n".join(problems))
    return all_predictions


def _choose_reader(path: str) -> Callable[[str], list[Predictions]]:
    """Return the function that reads files with the suffix of `path`.

    Raises:
      UsageError: the suffix is not supported.
    """
    reader = _READERS.get(PurePosixPath(path).suffix)
    if reader is None:
        raise UsageError(f"{path}: must end in {' or '.join(_READERS)}")
    return reader


def _read_npz(path: str) -> list[Predictions]:
    try:
        if (size := storage.num_bytes(path)) > _MAX_BYTES:
            raise UsageError(f"{path}: is too large ({size} bytes); {_REMEDY}")
        arrays = npz.read_npz(storage.read(path), ["top5"], max_bytes=_MAX_BYTES)
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise UsageError(f"{path}: {what}; {_REMEDY}") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}; {_REMEDY}") from None
    top5 = arrays["top5"]
    if problem := next(_find_problems(top5), None):
        raise UsageError(f"{path}: {problem}; {_REMEDY}")
    keys, truth = official_images()
    return [Predictions(PurePosixPath(path).stem, top5.astype(np.int64), truth, keys)]


def _find_problems(top5: IntegerArray) -> Iterator[str]:
    """Yield the problems of a `top5` array; callers report only the first."""
    if top5.shape != _SHAPE or top5.dtype.kind not in "iu":
        yield f"top5 has shape {top5.shape} of {top5.dtype}, not {_SHAPE} of integers"
        return
    outside = ((top5 < 0) | (top5 >= NUM_CLASSES)).any(axis=1)
    if outside.any():
        image = int(outside.argmax())
        is_shifted = top5.min() >= 0 and top5.max() == NUM_CLASSES
        hint = "; subtract 1 if they count from 1, or from a background class"
        yield (
            f"top5 of image {image + 1} is {top5[image].tolist()}: class indices are "
            f"0…{NUM_CLASSES - 1}, in the order of the wnids; "
            f"{outside.sum()} images have others{hint if is_shifted else ''}"
        )
        return
    ordered = np.sort(top5, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if repeated.any():
        image = int(repeated.argmax())
        yield (
            f"top5 of image {image + 1} is {top5[image].tolist()}, which repeats a "
            f"class; so do {repeated.sum()} images in all"
        )
    _, truth = official_images()
    num_correct = (top5 == truth[:, None]).sum(axis=0)
    if num_correct[-1] > max(2 * num_correct[0], len(truth) // 100):
        yield (
            f"the last column of top5 is correct for {num_correct[-1]} images, the "
            f"first for {num_correct[0]}: give the most probable class first"
        )


@cache
def official_images() -> tuple[tuple[str, ...], IntegerArray]:
    """Return the keys and class indices of the official validation images, in order.

    Both have 50,000 items; the class indices are read-only.
    """
    labels = validation.official_labels()
    index_of = {info.wnid: info.class_index for info in classes.load_classes()}
    truth = np.array([index_of[wnid] for wnid in labels.values()], dtype=np.int64)
    truth.flags.writeable = False  # all models share it
    return tuple(labels), truth


def _read_parquet(path: str) -> list[Predictions]:
    described = describe(path)
    names = [model.model for model in described.models]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise UsageError(
            f"{path}: has two models named {repeated}; name them differently in their "
            "cards and make it again, or keep one"
        )
    batches_of: dict[str, list[Batch]] = defaultdict(list)
    for batch in read_batches(
        described, range(described.num_row_groups), with_probabilities=False
    ):
        batches_of[batch.model].append(batch)
    if not batches_of:
        raise UsageError(f"{path}: contains no predictions; {REMEDY}")
    try:
        return [_join(name, batches_of[name]) for name in names if name in batches_of]
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _join(model: str, batches: Sequence[Batch]) -> Predictions:
    """Concatenate the batches of a model and sort the images by key.

    Raises:
      ValueError: an image is repeated, or a class is not one of the 1000.
    """
    outputs = _to_indices(batches[0].outputs, f"model {model} has outputs of")
    keys = [key for batch in batches for key in batch.keys]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    ordered = tuple(keys[number] for number in order)
    for key, next_key in pairwise(ordered):
        if key == next_key:
            raise ValueError(
                f"image {key:.60} appears more than once for model {model}; keep one"
            )
    wnids = [wnid for batch in batches for wnid in batch.wnids]
    truth = _to_indices(wnids, "it has images of")
    top5 = np.concatenate([outputs[batch.top5] for batch in batches])
    return Predictions(model, top5[order], truth[order], ordered, len(outputs))


def _to_indices(wnids: Sequence[str], what: str) -> IntegerArray:
    """Return the class index of each wnid, shape (wnids,).

    Args:
      wnids: wnids to convert.
      what: beginning of the error message.

    Raises:
      ValueError: some wnids are not among the 1000 classes.
    """
    index_of = {wnid: classes.class_index(wnid) for wnid in set(wnids)}
    if outside := sorted(wnid for wnid, index in index_of.items() if index < 0):
        raise ValueError(
            f"{what} {len(outside)} classes outside the 1000 of ImageNet "
            f"({', '.join(outside[:_SHOWN])}); only models and images of the 1000 can "
            "be compared (in a model's card, null marks an output without a class)"
        )
    return np.array([index_of[wnid] for wnid in wnids], dtype=np.int64)


_READERS: dict[str, Callable[[str], list[Predictions]]] = {
    ".npz": _read_npz,
    SUFFIX: _read_parquet,
}
