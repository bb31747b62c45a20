"""Compare grouping methods at one N by their model rankings and captured confusion."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines import grouping_flags
from pipelines.grouping_flags import GroupingFlags
from pipelines.streams import print_warnings
from transforms import grouping
from transforms.arrays import IntegerArray
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Confusion
from transforms.evaluation.by_predictions import (
    advise,
    compare_groupings,
    format_comparison,
    make_group_of,
    warn_of_order,
)
from transforms.grouping.table import CONFUSION_MODELS, LEFT_OUT, GroupTable
from transforms.labels.classes import load_classes
from transforms.predictions.reading import read_predictions
from transforms.records import ImageClass, UsageError


class _OfficialConfusion:
    """A confusion matrix over the 1000 classes, in their official order."""

    def __init__(self, path: str) -> None:
        wnids = [info.wnid for info in load_classes()]
        self._matrix: Confusion = confusion_matrix.read_confusion(path).select(
            wnids, source=path
        )

    def captured(self, labels: IntegerArray, /) -> float:
        """Return the share of errors that confuse classes of one group, 0 to 1.

        Args:
          labels: group label of each official class, shape (1000,); -1 is ignored.
        """
        return confusion_matrix.capture(self._matrix, labels.tolist()).share


def compare_methods(
    held: Sequence[ImageClass],
    flags: GroupingFlags,
    options_of: Mapping[str, Any],
    *,
    predictions: Sequence[str],
    heldout: str | None,
) -> str:
    """Group the classes by every available method; return scores and a recommendation.

    Args:
      held: the classes of the input.
      flags: N, seed and the tables that methods read.
      options_of: options of each method, by its name.
      predictions: prediction files of trained models.
      heldout: path of a confusion matrix that no method reads; None uses
        --confusion.

    Raises:
      UsageError: no method can group the classes, or a file is invalid.
    """
    model_predictions = read_predictions(predictions)
    print_warnings(warn_of_order(model_predictions))
    tables: dict[str, IntegerArray] = {}
    models_of: dict[str, Sequence[str]] = {}
    for name, table, models in _group_all(held, flags, options_of):
        group_of = make_group_of(table.label_of)
        tables[name] = np.where(group_of < 0, LEFT_OUT, group_of)
        if models is not None:
            models_of[name] = models
    if not tables:
        raise UsageError(
            "--compare: no method can group these classes; the reasons are listed above"
        )
    matrix = heldout or flags.confusion
    full, rows = compare_groupings(
        model_predictions,
        tables,
        confusion=_OfficialConfusion(matrix) if matrix else None,
        confusion_models=models_of,
        seed=flags.seed,
    )
    advice = advise(
        full, [row.score for row in rows], [p.model for p in model_predictions]
    )
    return format_comparison(rows, advice=advice)


def _group_all(
    held: Sequence[ImageClass], flags: GroupingFlags, options_of: Mapping[str, Any]
) -> Iterator[tuple[str, GroupTable, Sequence[str] | None]]:
    """Yield the name, groups and confusion models (or None) of each method.

    Methods with a fixed N are skipped; a message explains why others are left out.
    """
    for method in grouping.METHODS:
        if grouping.find_num_groups_source(method) in {"classes", "method"}:
            continue  # N is fixed
        tables = grouping.list_tables(method)
        if missing := [table for table in tables if not getattr(flags, table)]:
            sys.stderr.write(f"{method}: left out, it needs --{missing[0]} FILE\n")
            continue
        method_flags = dataclasses.replace(  # only N matters, not the number of images
            flags,
            grouping=method,
            preset=None,
            images_per_group=None,
            min_validation_images=0,
        )
        try:
            table, result = grouping_flags.group_classes(
                held, method_flags, options_of.get(method)
            )
        except UsageError as error:
            sys.stderr.write(f"{method}: left out, {error}\n")
            continue
        models: Any = result.quality.get(CONFUSION_MODELS)
        yield method, table, models
