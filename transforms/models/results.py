"""Merge the parts into the table of predictions, and summarise every model."""

import functools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.arrays import IntArray, IntegerArray
from transforms.dataset import manifest
from transforms.models import image_chunks, inference, parts
from transforms.models.image_chunks import Chunk
from transforms.models.inference import AccuracyCounts
from transforms.models.parts import ScoredPart
from transforms.models.spec import ModelSpec
from transforms.predictions import table as predictions_table
from transforms.predictions.chance import (
    are_flattened,
    count_pairs,
    describe_flattened,
    describe_order,
    is_at_chance,
)
from transforms.prefetch import prefetch
from transforms.records import Failure, JobError, check_all_arrived, describe_count

_REMEDY = "no table is written; run again, and without --runner if this repeats"


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """Settings of the step that writes the table.

    Attributes:
      work: work folder of the run.
      output: path of the table.
      models: models, in the order of the table.
      num_images: number of listed images, by wnid.
      chunks: chunks of the image list.
      max_failure_fraction: share of the images that may be unreadable.
      summary: file name of the summary that the launcher waits for; "" for none.
    """

    work: str
    output: str
    models: tuple[ModelSpec, ...]
    num_images: Mapping[str, int]
    chunks: Sequence[Chunk]
    max_failure_fraction: float
    summary: str = ""


def write_table(scored: Sequence[ScoredPart], settings: TableSettings) -> None:
    """Write the table of predictions, the failures beside it, and the summary.

    A repeated call writes the same files.

    Raises:
      JobError: too many images cannot be read, or the engine lost chunks or images.
    """
    check_all_arrived(
        (part.chunk.number for part in scored),
        (chunk.number for chunk in settings.chunks),
        what="chunks of images",
        remedy=_REMEDY,
    )
    scored = sorted(scored)
    failures = [failure for part in scored for failure in part.failures]
    manifest.check_failures(
        failures,
        num_images=sum(settings.num_images.values()),
        max_fraction=settings.max_failure_fraction,
        problem="images cannot be read",
        remedy="the other predictions are kept: repair the images or raise "
        "--max_failure_fraction, then run again",
    )
    _check_counts(scored, settings, failures)
    paths = [
        [parts.find_path(settings.work, part.chunk, model) for part in scored]
        for model in range(len(settings.models))
    ]
    predictions_table.merge_parts(
        [path for paths_of_model in paths for path in paths_of_model],
        settings.output,
        [spec.scored for spec in settings.models],
    )
    summary = _write_failures(failures, settings.output)
    for number, spec in enumerate(settings.models):
        accuracy_counts = (part.accuracy_counts[number] for part in scored)
        summary += describe_accuracy(
            spec,
            functools.reduce(AccuracyCounts.plus, accuracy_counts),
            _count_pairs(spec, paths[number]),
        )
    if settings.summary:
        storage.write(settings.work, settings.summary, json.dumps(summary).encode())


def read_summary(settings: TableSettings) -> list[str] | None:
    """Return the lines about every model; None until the table is written."""
    try:
        return json.loads(storage.read(f"{settings.work}/{settings.summary}"))
    except FileNotFoundError:
        return None


def clear(_: None, settings: TableSettings) -> None:
    """Remove the work folder, except for the summary if the launcher waits for it."""
    if not settings.summary:
        storage.remove_folder(settings.work)
        return
    parts.remove(settings.work)
    image_chunks.remove(settings.work)


def _check_counts(
    scored: Sequence[ScoredPart],
    settings: TableSettings,
    failures: Sequence[Failure],
) -> None:
    """Check that every model predicted all images of its classes that can be read."""
    readable = Counter(settings.num_images)
    readable.subtract(failure.wnid for failure in failures)
    wrong = []
    for number, spec in enumerate(settings.models):
        num_predicted = sum(part.accuracy_counts[number].num_images for part in scored)
        num_readable = sum(readable[wnid] for wnid in spec.correct_outputs)
        if num_predicted != num_readable:
            wrong.append(
                f"{spec.card.model}: {num_predicted} of {num_readable} readable images "
                "have predictions"
            )
    if wrong:
        raise JobError("\n".join([*wrong, _REMEDY]))


def _count_pairs(spec: ModelSpec, paths: Sequence[str]) -> IntArray:
    """Count images by true and most probable output, shape (outputs, outputs)."""
    output_of = {w: n for n, c in enumerate(spec.card.classes) for w in c.wnids}
    wnids, outputs = pa.array(output_of), np.array(list(output_of.values()))
    truth: list[IntegerArray] = []
    likeliest: list[IntegerArray] = []
    for rows in prefetch(partial(_read_columns, columns=["wnid", "top5"]), paths):
        truth.append(outputs[pc.index_in(rows["wnid"], value_set=wnids).to_numpy()])
        likeliest.append(pc.list_element(rows["top5"], 0).to_numpy())
    num_outputs = len(spec.card.classes)
    return count_pairs(np.concatenate(truth), np.concatenate(likeliest), num_outputs)


def _read_columns(path: str, columns: list[str]) -> pa.Table:
    return storage.read_parquet(path, columns)


def _write_failures(failures: Sequence[Failure], output: str) -> list[str]:
    """Write a CSV of the unreadable images, if any, to the folder of the table.

    Returns:
      Lines about them.
    """
    folder, _, file = output.rpartition("/")
    name = f"{PurePath(file).stem}.failures.csv"
    storage.remove_file(f"{folder}/{name}")  # of an earlier run
    if not failures:
        return []
    storage.write(folder, name, manifest.write_failures(failures))
    images = describe_count(len(failures), "unreadable image")
    return [f"{images}: {folder}/{name}"]


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
