"""Pieces of files of predictions → one tally of what images are taken for."""

import dataclasses
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms import storage
from transforms.confusion import counts as confusion_counts
from transforms.confusion.counts import ConfusionCounts, CountPlan, PredictionPart


class SumCounts(beam.CombineFn):
    """Adds tallies up: integers, so exact in whatever order they come."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes

    def create_accumulator(self) -> ConfusionCounts:
        """Start with nothing."""
        return ConfusionCounts.empty(self._num_classes)

    def add_input(
        self, accumulator: ConfusionCounts, element: ConfusionCounts
    ) -> ConfusionCounts:
        """Add one piece's."""
        accumulator.add(element)
        return accumulator

    def merge_accumulators(
        self, accumulators: Iterable[ConfusionCounts]
    ) -> ConfusionCounts:
        """Join what several workers have."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.add(accumulator)
        return merged

    def extract_output(self, accumulator: ConfusionCounts) -> ConfusionCounts:
        """Return the sum."""
        return accumulator


def write(tally: ConfusionCounts, output: str) -> None:
    """Write a tally where the launcher looks for it."""
    place = Path(output)
    storage.write(str(place.parent), place.name, tally.to_bytes())


@dataclasses.dataclass
class CountPredictions(beam.PTransform):
    """Count what images are taken for. Pieces in, one Tally out."""

    plan: CountPlan

    def expand(
        self, pieces: PCollection[PredictionPart]
    ) -> PCollection[ConfusionCounts]:
        """Break fusion, so that pieces are counted by many workers; then add up."""
        return (
            pieces
            | "SpreadPieces" >> beam.Reshuffle()
            | "CountPieces" >> beam.Map(partial(confusion_counts.count, plan=self.plan))
            | "SumTallies" >> beam.CombineGlobally(SumCounts(len(self.plan.wnids)))
        )


@dataclasses.dataclass
class WriteCounts(beam.PTransform):
    """Write the tally to a file. One Tally in, nothing out."""

    output: str

    def expand(self, tallies: PCollection[ConfusionCounts]) -> PCollection[None]:
        """Write it in one step."""
        return tallies | "WriteFile" >> beam.Map(write, output=self.output)
