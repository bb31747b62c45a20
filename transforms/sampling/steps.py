"""Define the Beam steps that select images, as `selection.select_images` does."""

import dataclasses
from collections.abc import Iterable
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.transforms.combiners import ToList

from transforms.sampling import allocation, top_k
from transforms.sampling.plan import SamplePlan
from transforms.sampling.selection import (
    check_ranked,
    join_selected,
    rank_for_sample,
    rank_for_validation,
    read_selected,
)
from transforms.sampling.top_k import LimitOf, TopK


class KeepTopK(beam.CombineFn):
    """Combine ranked images, keeping the first ones of each stratum.

    The result does not depend on the order or grouping of the inputs.
    """

    def __init__(self, limit_of: LimitOf) -> None:
        self._limit_of = limit_of

    def create_accumulator(self) -> list[TopK]:
        """Return an empty list, which will hold ranked images."""
        return []

    def add_input(self, accumulator: list[TopK], element: TopK) -> list[TopK]:
        """Append ranked images; merge them once there are 16, to limit the cost."""
        accumulator.append(element)
        if len(accumulator) >= top_k.MERGE_SIZE:
            return [top_k.merge(accumulator, self._limit_of)]
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[TopK]]) -> list[TopK]:
        """Merge the ranked images of several accumulators."""
        parts = [part for accumulator in accumulators for part in accumulator]
        return [top_k.merge(parts, self._limit_of)]

    def extract_output(self, accumulator: list[TopK]) -> TopK:
        """Return the first images of each stratum over all inputs."""
        return top_k.merge(accumulator, self._limit_of)


@dataclasses.dataclass
class SampleImages(beam.PTransform):
    """Select the images of the subset from the row groups of an index.

    The input is the numbers of the row groups; the output is a single table with the
    schema `selected.SELECTED_SCHEMA`.

    Attributes:
      index: path of the index.
      plan: the sampling plan.
      num_row_groups: number of row groups of the index.
    """

    index: str
    plan: SamplePlan
    num_row_groups: int

    def expand(self, row_groups: PCollection[int]) -> PCollection[pa.Table]:
        """Hold out validation images, rank, allocate, read and assign folds."""
        check = partial(check_ranked, num_row_groups=self.num_row_groups)
        aside = AsSingleton(
            row_groups
            | "RankForValidation"
            >> beam.Map(rank_for_validation, index=self.index, plan=self.plan)
            | "HoldOut" >> beam.CombineGlobally(KeepTopK(self.plan.top_up))
            | "CheckHeldOut" >> beam.Map(check)
            | "FindHeldOut" >> beam.Map(top_k.find_positions)
        )
        limit_of = self.plan.max_of
        taken = AsSingleton(
            row_groups
            | "RankForSample"
            >> beam.Map(rank_for_sample, aside=aside, index=self.index, plan=self.plan)
            | "KeepTopK" >> beam.CombineGlobally(KeepTopK(limit_of))
            | "CheckRanked" >> beam.Map(check)
            | "AllocateImages" >> beam.Map(partial(allocation.choose, plan=self.plan))
        )
        return (
            row_groups
            | "ReadSelected"
            >> beam.Map(
                _read_selected,
                aside=aside,
                taken=taken,
                index=self.index,
                plan=self.plan,
            )
            | "GatherSelected" >> ToList()
            | "JoinSelected"
            >> beam.Map(
                join_selected, num_row_groups=self.num_row_groups, plan=self.plan
            )
        )


def _read_selected(row_group: int, **described: Any) -> tuple[int, pa.Table]:
    return row_group, read_selected(row_group, **described)
