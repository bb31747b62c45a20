"""A Parquet file of predictions → its rows, checked, a batch of one model at a time.

The file may come from anywhere. Its description is read at launch; its rows where they
are counted, a few thousand at once, so that memory does not grow with the file.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.labels.classes import is_wnid
from transforms.records import UsageError
from transforms.tables import predictions_table
from transforms.tables.predictions_table import (
    NUM_TOP,
    PROBABILITIES,
    SCHEMA,
    ScoredModel,
)

IntArray = npt.NDArray[np.int64]
Float16Array = npt.NDArray[np.float16]
BoolArray = npt.NDArray[np.bool_]

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
