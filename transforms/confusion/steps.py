"""Count predictions with Beam, sum the counts and write the matrices."""

import dataclasses
from collections.abc import Iterable
from functools import partial

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.confusion import counts as confusion_counts
from transforms.confusion import results
from transforms.confusion.counts import ConfusionCounts, CountPlan, PredictionPart
from transforms.confusion.results import MatrixSettings


class SumCounts(beam.CombineFn):
    """Sums ConfusionCounts; sums of integers do not depend on their order."""

    def __init__(self, num_classes: int, num_models: int = 0) -> None:
        self._num_classes = num_classes
        self._num_models = num_models

    def create_accumulator(self) -> ConfusionCounts:
        """Return zero counts."""
        return ConfusionCounts.empty(self._num_classes, self._num_models)

    def add_input(
        self, accumulator: ConfusionCounts, element: ConfusionCounts
    ) -> ConfusionCounts:
        """Add the counts of one part."""
        accumulator.add(element)
        return accumulator

    def merge_accumulators(
        self, accumulators: Iterable[ConfusionCounts]
    ) -> ConfusionCounts:
        """Sum the counts of several accumulators."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.add(accumulator)
        return merged

    def extract_output(self, accumulator: ConfusionCounts) -> ConfusionCounts:
        """Return the sum of all counts."""
        return accumulator


@dataclasses.dataclass
class CountPredictions(beam.PTransform):
    """Count the predictions in groups of parts; output one ConfusionCounts."""

    plan: CountPlan

    def expand(
        self, groups: PCollection[tuple[PredictionPart, ...]]
    ) -> PCollection[ConfusionCounts]:
        """Distribute groups over workers, count each, and sum the counts."""
        add_up = SumCounts(len(self.plan.wnids), len(self.plan.models))
        return (
            groups
            | "SpreadParts" >> beam.Reshuffle()
            | "CountParts" >> beam.Map(partial(confusion_counts.count, plan=self.plan))
            | "SumCounts" >> beam.CombineGlobally(add_up)
        )


@dataclasses.dataclass
class WriteMatrices(beam.PTransform):
    """Write the matrices of the single ConfusionCounts element of a collection."""

    settings: MatrixSettings

    def expand(self, counts: PCollection[ConfusionCounts]) -> PCollection[None]:
        """Write all files in one step."""
        write = partial(results.write_results, settings=self.settings)
        return counts | "WriteFiles" >> beam.Map(write)
