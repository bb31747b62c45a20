"""A Parquet file of predictions → its rows, checked, a batch of one model at a time.

The file may come from anywhere. Its description is read at launch; its rows where they
are counted, a few thousand at once, so that memory does not grow with the file.
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
import pyarrow.parquet as pq

from transforms import npz, storage
from transforms.arrays import BoolArray, IntArray, IntegerArray
from transforms.labels import classes, validation
from transforms.labels.classes import is_wnid
from transforms.predictions import table as predictions_table
from transforms.predictions.table import NUM_TOP, PROBABILITIES, SCHEMA, ScoredModel
from transforms.records import UsageError

Float16Array = npt.NDArray[np.float16]

SUFFIX = ".parquet"
_MAX_ROWS = 50_000_000  # of a file: ImageNet under some forty models
_MAX_OUTPUTS = 1 << 16  # what the table's uint16 can count
_BATCH_ROWS = 1 << 13
_BATCH_NUMBERS = 1 << 22  # where a row is as long as the list of classes
_MAX_P = 1 + 1e-6  # as float32 rounds
_SUM_ERROR = 0.01  # of float16: a thousandth where there are 21,841
_NEEDED = ("key", "wnid", "model", "model_id", "p_correct", "top5")
REMEDY = "make it again with python -m pipelines.predict"
_SINGLE = "ask a model of single classes, e.g. one trained with --grouping all_classes"
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says of itself, checked."""

    path: str
    models: tuple[ScoredModel, ...]
    num_row_groups: int
    has_probabilities: bool

    def find_model(self, model: str, model_id: str) -> ScoredModel:
        """Return what rows of a model share.

        Raises: UsageError: the file lists no such model.
        """
        for listed in self.models:
            if (listed.model, listed.model_id) == (model, model_id):
                return listed
        raise UsageError(
            f"{self.path}: has rows of {model!r:.60}, which it does not list; {REMEDY}"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """What one model says of some images.

    Attributes:
      model: its name.
      outputs: the wnid of each of its outputs.
      keys: the images, in the order of the file.
      wnids: their classes.
      top5: shape (images, min(5, outputs)), outputs, likeliest first.
      probabilities: shape (images, outputs), float16; None when not kept or asked for.
    """

    model: str
    outputs: tuple[str, ...]
    keys: list[str]
    wnids: list[str]
    top5: IntArray
    probabilities: Float16Array | None = None


def find_outputs(model: ScoredModel) -> tuple[str, ...]:
    """Return the wnid of each output of a model of single classes."""
    return tuple(output.wnids[0] for output in model.classes)


def describe(path: str) -> Description:
    """Read what a file says of itself.

    Raises: UsageError: what is wrong with it, a line each that starts with the path.
    """
    models = predictions_table.read_models(path)
    file = pq.ParquetFile(storage.for_arrow(path))
    names = Counter((str(model.model), str(model.model_id)) for model in models)
    problems = [
        f"lists the model {name} more than once; {REMEDY}"
        for (name, _), count in names.items()
        if count > 1
    ]
    for model in models:
        problems += _find_model_problems(model)
    found = file.schema_arrow
    has_probabilities = PROBABILITIES.name in found.names
    wanted = [*SCHEMA, PROBABILITIES] if has_probabilities else SCHEMA
    problems += [
        f"column {field.name} is {found.field(field.name).type}, not {field.type}; "
        f"{REMEDY}"
        for field in wanted
        if found.field(field.name).type != field.type
    ]
    if not (num_rows := file.metadata.num_rows):
        problems.append(f"holds no predictions; {REMEDY}")
    if num_rows > _MAX_ROWS:
        problems.append(f"has {num_rows} rows, of {_MAX_ROWS} at most; split it")
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return Description(
        path=path,
        models=models,
        num_row_groups=file.num_row_groups,
        has_probabilities=has_probabilities,
    )


def _find_model_problems(model: ScoredModel) -> Iterator[str]:
    """Yield why a model's outputs cannot be taken for classes."""
    name = f"model {model.model!s:.60}"
    if not 1 <= len(model.classes) <= _MAX_OUTPUTS:
        yield f"{name} has {len(model.classes)} outputs; {REMEDY}"
        return
    if groups := [output for output in model.classes if len(output.wnids) != 1]:
        yield (
            f"{name} tells groups, not classes: {len(groups)} of its "
            f"{len(model.classes)} outputs, e.g. {groups[0].name!s:.40}, stand for "
            f"several; {_SINGLE}"
        )
        return
    wnids = find_outputs(model)
    strange = [w for w in wnids if not isinstance(w, str) or not is_wnid(w)]
    if strange or not isinstance(model.model, str):
        shown = ", ".join(f"{w!r:.20}" for w in strange[:_SHOWN]) or name
        yield f"{name} has outputs that are no wnids ({shown}); {REMEDY}"
    elif len(set(wnids)) < len(wnids):
        yield f"{name} has several outputs for one class; {REMEDY}"


def read_batches(
    described: Description, row_groups: Iterable[int], *, with_probabilities: bool
) -> Iterator[Batch]:
    """Read some row groups, checked.

    Args:
      described: the file.
      row_groups: their numbers.
      with_probabilities: whether to read them, where they are kept.
    Raises: UsageError: what the file holds that cannot be.
    """
    path = described.path
    names, num_rows = list(_NEEDED), _BATCH_ROWS
    if with_probabilities and described.has_probabilities:
        names.append(PROBABILITIES.name)
        longest = max(len(model.classes) for model in described.models)
        num_rows = max(1, min(num_rows, _BATCH_NUMBERS // longest))
    try:
        for part in pq.ParquetFile(storage.for_arrow(path)).iter_batches(
            num_rows, row_groups=list(row_groups), columns=names
        ):
            table = pa.Table.from_batches([part])
            table.validate(full=True)  # texts may be no UTF-8
            yield from _split(table, described)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path}: is damaged ({error!s:.200}); {REMEDY}") from error


def _split(table: pa.Table, described: Description) -> Iterator[Batch]:
    """Take the rows of each model apart."""
    for name in table.column_names:
        if table[name].null_count:
            raise UsageError(f"{described.path}: column {name} has gaps; {REMEDY}")
    pairs = table.group_by(["model", "model_id"], use_threads=False).aggregate([])
    for pair in pairs.to_pylist():
        model = described.find_model(pair["model"], pair["model_id"])
        own = table
        if pairs.num_rows > 1:
            is_own = pc.and_(
                pc.equal(table["model"], model.model),
                pc.equal(table["model_id"], model.model_id),
            )
            own = table.filter(is_own)
        try:
            yield _make_batch(own.combine_chunks(), model)
        except ValueError as error:
            raise UsageError(f"{described.path}: {error}; {REMEDY}") from None


def _make_batch(table: pa.Table, model: ScoredModel) -> Batch:
    """Make arrays of one model's rows.

    Raises: ValueError: what cannot be, with the image's key.
    """
    keys = table["key"].to_pylist()
    num_outputs = len(model.classes)
    wnids = table["wnid"].to_pylist()
    if strange := {wnid for wnid in set(wnids) if not is_wnid(wnid)}:
        raise ValueError(f"wnid {min(strange)!r:.20} is none (n and 8 digits)")
    p_correct = table["p_correct"].to_numpy()
    _require((p_correct >= 0) & (p_correct <= _MAX_P), keys, "p_correct", "0 to 1")
    top5 = _to_rows(table["top5"], min(NUM_TOP, num_outputs), keys).astype(np.int64)
    is_good: BoolArray = np.all(top5 < num_outputs, axis=1)
    _require(is_good, keys, "top5", f"0…{num_outputs - 1}")
    probabilities = None
    if PROBABILITIES.name in table.column_names:
        probabilities = _to_rows(table[PROBABILITIES.name], num_outputs, keys)
        wide = probabilities.astype(np.float32)
        is_good = np.all((wide >= 0) & (wide <= 1), axis=1)
        _require(is_good, keys, "probabilities", "0 to 1")
        is_good = np.abs(wide.sum(axis=1, dtype=np.float64) - 1) <= _SUM_ERROR
        _require(is_good, keys, "the sum of probabilities", "1")
    return Batch(
        model=model.model,
        outputs=find_outputs(model),
        keys=keys,
        wnids=wnids,
        top5=top5,
        probabilities=probabilities,
    )


def _require(is_good: BoolArray, keys: list[str], what: str, wanted: str) -> None:
    if not is_good.all():
        key = keys[int(is_good.argmin())]
        raise ValueError(f"{what} of image {key!s:.60} is not {wanted}")


def _to_rows(column: pa.ChunkedArray, width: int, keys: list[str]) -> npt.NDArray:
    """Make a matrix of lists that must all be equally long."""
    lists = column.combine_chunks()
    lengths = pc.list_value_length(lists).to_numpy()
    _require(lengths == width, keys, "the length of a list", str(width))
    values = lists.flatten()
    if values.null_count:
        raise ValueError("a list has gaps")
    return values.to_numpy().reshape(len(lists), width)


NUM_CLASSES = 1000
_SHAPE = (validation.NUM_OFFICIAL, 5)
_MAX_BYTES = 16 * 2**20  # far above 50,000 × 5 × 8; what is larger is something else
_REMEDY = (
    "give an npz file with top5: the five likeliest class indices of each official "
    "validation image, in order"
)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model says of some images, likeliest class first.

    Attributes:
      model: its name.
      top5: shape (images, 5), class indices 0…999; fewer columns where the model knows
        fewer classes.
      truth: shape (images,), class indices 0…999.
      keys: the images' keys in the same order; empty when they are not known.
    """

    model: str
    top5: IntegerArray
    truth: IntegerArray
    keys: tuple[str, ...] = ()


def read_predictions(paths: Sequence[str]) -> list[Predictions]:
    """Read the predictions of all models in some files.

    Args:
      paths: `.parquet` files of `pipelines.predict`, of one or more models; or `.npz`
        files, named after their model, with `top5`, integers of shape (50000, 5): the
        five likeliest classes of the official validation images 1…50000 in order.
    Returns: The predictions, in the order of the paths, and of the models in each. The
      images are in the order of their keys, whatever that of the file is.
    Raises: UsageError: every file's problem, a line each.
    """
    found: list[Predictions] = []
    problems: list[str] = []
    path_of: dict[str, str] = {}
    for path in paths:
        try:
            read = _reader(path)(path)
        except UsageError as error:
            problems += [f"--predictions {line}" for line in str(error).splitlines()]
            continue
        for predictions in read:
            if (model := predictions.model) in path_of:
                problems.append(
                    f"--predictions {path}: {path_of[model]} is of {model} already; "
                    "rename the file (in a Parquet file: the model, in its card), or "
                    "give it once"
                )
            path_of.setdefault(model, path)
        found += read
    if problems:
        raise UsageError("\n".join(problems))
    return found


def _reader(path: str) -> Callable[[str], list[Predictions]]:
    """Choose how a file is read by its name's end."""
    reader = _READERS.get(PurePosixPath(path).suffix)
    if reader is None:
        raise UsageError(f"{path}: predictions are files of {', '.join(_READERS)}")
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
    """Yield what is wrong with the array."""
    if top5.shape != _SHAPE or top5.dtype.kind not in "iu":
        yield f"top5 has shape {top5.shape} of {top5.dtype}, not {_SHAPE} of integers"
        return
    outside = ((top5 < 0) | (top5 >= NUM_CLASSES)).any(axis=1)
    if outside.any():
        image = int(outside.argmax())
        yield (
            f"top5 of image {image + 1} is {top5[image].tolist()}: class indices are "
            f"0…{NUM_CLASSES - 1}, in the order of the wnids; "
            f"{outside.sum()} images have others"
        )


@cache
def official_images() -> tuple[tuple[str, ...], IntegerArray]:
    """Return keys and class indices of the official validation images in order."""
    labels = validation.official_labels()
    index_of = {info.wnid: info.class_index for info in classes.load_classes()}
    truth = np.array([index_of[wnid] for wnid in labels.values()], dtype=np.int64)
    truth.flags.writeable = False  # all models share it
    return tuple(labels), truth


def _read_parquet(path: str) -> list[Predictions]:
    described = describe(path)
    names = [model.model for model in described.models]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(
            f"{path}: has two models named {twice}; name them differently in their "
            "cards and make it again, or keep one"
        )
    batches_of: dict[str, list[Batch]] = defaultdict(list)
    for batch in read_batches(
        described, range(described.num_row_groups), with_probabilities=False
    ):
        batches_of[batch.model].append(batch)
    if not batches_of:
        raise UsageError(f"{path}: holds no predictions; {REMEDY}")
    try:
        return [_join(name, batches_of[name]) for name in names if name in batches_of]
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _join(model: str, batches: Sequence[Batch]) -> Predictions:
    """Join the batches of a model, by key.

    Raises: ValueError: what keeps its outputs from being scored by class.
    """
    outputs = _to_indices(batches[0].outputs, f"model {model} has outputs of")
    keys = [key for batch in batches for key in batch.keys]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    ordered = tuple(keys[number] for number in order)
    for one, other in pairwise(ordered):
        if one == other:
            raise ValueError(
                f"image {one:.60} stands more than once for model {model}; keep one"
            )
    wnids = [wnid for batch in batches for wnid in batch.wnids]
    truth = _to_indices(wnids, "it holds images of")
    top5 = np.concatenate([outputs[batch.top5] for batch in batches])
    return Predictions(model, top5[order], truth[order], ordered)


def _to_indices(wnids: Sequence[str], what: str) -> IntegerArray:
    """Turn wnids into class indices.

    Raises: ValueError: some are none of the 1000.
    """
    index_of = {wnid: classes.class_index(wnid) for wnid in set(wnids)}
    if outside := sorted(wnid for wnid, index in index_of.items() if index < 0):
        raise ValueError(
            f"{what} {len(outside)} classes outside the 1000 of ImageNet "
            f"({', '.join(outside[:_SHOWN])}); only models and images of the 1000 can "
            "be compared"
        )
    return np.array([index_of[wnid] for wnid in wnids], dtype=np.int64)


_READERS: dict[str, Callable[[str], list[Predictions]]] = {
    ".npz": _read_npz,
    SUFFIX: _read_parquet,
}
