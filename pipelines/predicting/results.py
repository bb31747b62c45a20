"""What became of the images → the table, the failures, and what to tell of models."""

import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from transforms import storage
from transforms.dataset import manifest
from transforms.models import inference
from transforms.models.inference import ModelSpec, Tally
from transforms.predictions import table as predictions_table
from transforms.records import Failure

if TYPE_CHECKING:
    from transforms.models.steps import ScoredPart


def write_outcome(
    parts: "Sequence[ScoredPart]",
    models: Sequence[ModelSpec],
    output: str,
    *,
    num_images: int,
    max_failure_fraction: float,
) -> list[str]:
    """Write the table, and beside it what could not be read.

    Args:
      parts: of the table, in the order of the images.
      models: in the order that the table will have.
      output: the table's path.
      num_images: how many were asked of.
      max_failure_fraction: share of them that may be unreadable.
    Returns: What to tell of every model.
    Raises: JobError: too many images could not be read.
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
        [asked.scored for asked in models],
    )
    _write_failures(failures, output)
    told: list[str] = []
    for number, asked in enumerate(models):
        tallies = (part.tallies[number] for part in parts)
        told += describe_tally(asked, functools.reduce(Tally.plus, tallies))
    return told


def _write_failures(failures: Sequence[Failure], output: str) -> None:
    """Write what could not be read beside the table; nothing when all could."""
    folder, _, file = storage.absolute(output).rpartition("/")
    name = f"{PurePath(file).stem}.failures.csv"
    storage.remove_file(f"{folder}/{name}")  # of an earlier run
    if failures:
        storage.write(folder, name, manifest.write_failures(failures))
        sys.stderr.write(f"{len(failures)} images cannot be read: {folder}/{name}\n")


def describe_tally(asked: ModelSpec, tally: Tally) -> Iterator[str]:
    """Say how right a model is, and whether it may be asked wrongly."""
    num_images = max(tally.num_images, 1)
    yield (
        f"{asked.card.model}: {tally.num_images} images, "
        f"top-1 {tally.num_top1 / num_images:.3f}, "
        f"top-5 {tally.num_top5 / num_images:.3f}, "
        f"mean p_correct {tally.sum_correct / num_images:.4f}"
    )
    if inference.is_at_chance(tally, len(asked.card.classes)):
        yield (
            f"warning: {asked.card.model} is no better than chance; are `classes` in "
            "the order of its outputs, and is `preprocessing` what it was trained with?"
        )
