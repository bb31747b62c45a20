"""Write files of predictions, as `pipelines.predict` does."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.labels.classes import class_index
from transforms.labels.validation import official_labels
from transforms.predictions import table as predictions_table
from transforms.predictions.table import ModelClass, ScoredModel, Scores


def scored(
    wnids: Sequence[str], model: str = "cnn", model_id: str = "f0"
) -> ScoredModel:
    """Return a model with these output classes; "n…+n…" is a group of classes."""
    classes = tuple(ModelClass(wnid, tuple(wnid.split("+"))) for wnid in wnids)
    return ScoredModel(
        model=model,
        model_id=model_id,
        classes=classes,
        trained_on_subset_id="",
        trained_on_split="",
        correct="class",
    )


def rows(
    model: ScoredModel,
    keys: Sequence[str],
    wnids: Sequence[str],
    probabilities: npt.ArrayLike,
    *,
    seen: bool | None = None,
    keep: bool = False,
) -> pa.Table:
    """Return the rows of a model's predictions for images."""
    values = np.asarray(probabilities, np.float64).reshape(
        len(keys), len(model.classes)
    )
    top5 = np.argsort(-values, axis=1, kind="stable")[:, :5].astype(np.uint16)
    stored = values.astype(np.float16) if keep else None
    p_correct = np.full(len(keys), 0.5, np.float32)
    return predictions_table.make_table(
        Scores(p_correct, top5, stored),
        model=model,
        keys=keys,
        splits=["validation"] * len(keys),
        wnids=wnids,
        seen=[seen] * len(keys),
    )


def write(path: Path, models: Sequence[ScoredModel], *tables: pa.Table) -> str:
    """Write a file of these rows; return its path."""
    part = path.with_suffix(".part")
    predictions_table.write_part(pa.concat_tables(tables), str(part))
    predictions_table.merge_parts([str(part)], str(path), models)
    part.unlink()
    return str(path)


def write_top5(folder: Path) -> list[Path]:
    """Write three models with increasing error rates; errors are off by one class."""
    truth = np.array([class_index(wnid) for wnid in official_labels().values()])
    paths = []
    for name, period in (("good", 10), ("fair", 5), ("poor", 3)):
        first = truth.copy()
        first[::period] ^= 1
        top5 = np.stack([first, *((first + step) % 1000 for step in (2, 3, 4, 5))], 1)
        np.savez_compressed(folder / f"{name}.npz", top5=top5.astype(np.uint16))
        paths.append(folder / f"{name}.npz")
    return paths
