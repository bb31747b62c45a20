"""Merge the predictions, write the failures and summarise every model."""

import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms import storage
from transforms.arrays import IntArray, IntegerArray
from transforms.dataset import manifest
from transforms.models import inference
from transforms.models.inference import AccuracyCounts, ModelSpec
from transforms.predictions import table as predictions_table
from transforms.predictions.chance import (
    are_flattened,
    count_pairs,
    describe_flattened,
    describe_order,
    is_at_chance,
)
from transforms.records import Failure

if TYPE_CHECKING:
    from transforms.models.steps import ScoredPart


def write_predictions(
    parts: "Sequence[ScoredPart]",
    models: Sequence[ModelSpec],
    output: str,
    *,
    num_images: int,
    max_failure_fraction: float,
) -> list[str]:
    """Write the table of predictions, and the failures beside it.

    Args:
      parts: parts of the table, in the order of the images.
      models: models, in the order of the table.
      output: path of the table.
      num_images: number of images that were read.
      max_failure_fraction: share of the images that may be unreadable.

    Returns:
      The lines that summarise the accuracy of every model.

    Raises:
      JobError: too many images cannot be read.
    """
    failures = [failure for part in parts for failure in part.failures]
    manifest.check_failures(
        failures,
        num_images=num_images,
        max_fraction=max_failure_fraction,
        problem="images cannot be read",
    )
    numbers = range(len(models))
    predictions_table.merge_parts(
        [part.paths[number] for number in numbers for part in parts],
        output,
        [spec.scored for spec in models],
    )
    _write_failures(failures, output)
    summary: list[str] = []
    for number, spec in enumerate(models):
        accuracy_counts = (part.accuracy_counts[number] for part in parts)
        pairs = _count_pairs(spec, [part.paths[number] for part in parts])
        summary += describe_accuracy(
            spec, functools.reduce(AccuracyCounts.plus, accuracy_counts), pairs
        )
    return summary


def _count_pairs(spec: ModelSpec, paths: Sequence[str]) -> IntArray:
    """Count images by true and most probable output, shape (outputs, outputs)."""
    output_of = {w: n for n, c in enumerate(spec.card.classes) for w in c.wnids}
    truth: list[int] = []
    likeliest: list[IntegerArray] = []
    for path in paths:
        rows = pq.read_table(storage.for_arrow(path), columns=["wnid", "top5"])
        truth += (output_of[wnid] for wnid in rows["wnid"].to_pylist())
        likeliest.append(pc.list_element(rows["top5"], 0).to_numpy())
    num_outputs = len(spec.card.classes)
    return count_pairs(np.array(truth, int), np.concatenate(likeliest), num_outputs)


def _write_failures(failures: Sequence[Failure], output: str) -> None:
    """Write a CSV of the unreadable images, if any, to the folder of the table."""
    folder, _, file = storage.absolute(output).rpartition("/")
    name = f"{PurePath(file).stem}.failures.csv"
    storage.remove_file(f"{folder}/{name}")  # of an earlier run
    if failures:
        storage.write(folder, name, manifest.write_failures(failures))
        sys.stderr.write(f"{len(failures)} images cannot be read: {folder}/{name}\n")


def describe_accuracy(
    spec: ModelSpec, counts: AccuracyCounts, pairs: IntArray
) -> Iterator[str]:
    """Yield a model's accuracy, and warnings about class order and probabilities.

    Args:
      spec: the model.
      counts: accuracy counts over all images.
      pairs: number of images by true (rows) and most probable (columns) output,
        shape (outputs, outputs).
    """
    num_images = max(counts.num_images, 1)
    yield (
        f"{spec.card.model}: {counts.num_images} images, "
        f"top-1 {counts.num_top1 / num_images:.3f}, "
        f"top-5 {counts.num_top5 / num_images:.3f}, "
        f"mean p_correct {counts.sum_correct / num_images:.4f}"
    )
    chance = inference.find_chance(counts, len(spec.card.classes))
    mean = counts.sum_correct / num_images
    if is_at_chance(counts.num_top1, counts.num_images, chance):
        yield (
            f"warning: {spec.card.model} is no better than chance; are `classes` in "
            "the order of its outputs, and is `preprocessing` what it was trained with?"
        )
    elif problem := describe_order(pairs):
        yield f"warning: {spec.card.model} {problem}"
    if are_flattened(
        counts.num_top1, counts.num_images, mean_p_correct=mean, chance=chance
    ):
        yield f"warning: {spec.card.model} {describe_flattened(mean)}"
