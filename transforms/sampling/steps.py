"""An index and the groups → the chosen images: set validation aside, then sample.

The index is read three times, each time for numbers or for the chosen alone: so no row
but those of chosen images is ever held or shuffled, and these as columns.

    row groups ─┬─ first T of each group by hash(validation) ── set aside ─┐
                │                           ┌──────────────────────────────┤
                ├─ count and rank the others, by stratum ── quotas ── taken ┤
                └─ read what is set aside, taken, and official validation ──┴─ chosen
"""

import dataclasses
from collections.abc import Iterable, Iterator
from functools import partial

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.transforms.combiners import ToList

from transforms import seeds
from transforms.sampling import allocation, selected, top_k
from transforms.sampling.plan import NEVER, SamplePlan
from transforms.sampling.top_k import LimitOf, Positions, TopK

_WAITING = 16  # row groups that are merged at once


class KeepFirsts(beam.CombineFn):
    """Keeps the first of each place; exact, associative and commutative."""

    def __init__(self, limit_of: LimitOf) -> None:
        self._limit_of = limit_of

    def create_accumulator(self) -> list[TopK]:
        """Start with nothing."""
        return []

    def add_input(self, accumulator: list[TopK], element: TopK) -> list[TopK]:
        """Add one; merge only now and then, so that an element costs little."""
        accumulator.append(element)
        if len(accumulator) >= _WAITING:
            return [top_k.merge(accumulator, self._limit_of)]
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[list[TopK]]) -> list[TopK]:
        """Join what several workers kept."""
        listed = [part for accumulator in accumulators for part in accumulator]
        return [top_k.merge(listed, self._limit_of)]

    def extract_output(self, accumulator: list[TopK]) -> TopK:
        """Return what is kept."""
        return top_k.merge(accumulator, self._limit_of)


def rank_for_validation(
    row_group: int, *, index: str, plan: SamplePlan
) -> Iterator[TopK]:
    """Rank the training images that may have to serve as validation, by label."""
    if not any(plan.top_ups.values()):
        return
    table = plan.read(index, row_group, split="train")
    labels = plan.labels(table)
    gives = [label for label, count in plan.top_ups.items() if count]
    rows = np.flatnonzero(np.isin(labels, gives))
    keys = table["key"].take(pa.array(rows)).to_pylist()
    yield top_k.rank(
        labels[rows],
        seeds.orders(plan.seed, "validation", keys),
        row_group=row_group,
        rows=rows,
        limit_of=plan.top_up,
    )


def rank_for_sample(
    row_group: int, aside: Positions, *, index: str, plan: SamplePlan
) -> Iterator[TopK]:
    """Rank the training images that may be taken, by stratum."""
    if plan.images_per_group is None:  # all are
        return
    table = plan.read(index, row_group, split="train")
    rows = find_free(row_group, aside, parts=plan.parts(table))
    free = table.take(pa.array(rows, pa.int64()))
    yield top_k.rank(
        plan.strata(free),
        plan.orders(free),
        row_group=row_group,
        rows=rows,
        limit_of=partial(_most_of_any, plan),
    )


def _most_of_any(plan: SamplePlan, place: int) -> int:
    del place
    return plan.most_of_a_stratum


def find_free(
    row_group: int, aside: Positions, *, parts: npt.NDArray[np.integer]
) -> npt.NDArray[np.integer]:
    """Find the rows that are not set aside, and that the sampler does not leave out."""
    is_free = parts != NEVER
    is_free[aside.get(row_group, [])] = False
    return np.flatnonzero(is_free)


def read_chosen(
    row_group: int,
    aside: Positions,
    taken: Positions,
    *,
    index: str,
    plan: SamplePlan,
) -> pa.Table:
    """Read the chosen images of a row group, and all its official validation."""
    official = plan.read(index, row_group, split="validation")
    train = plan.read(index, row_group, split="train")
    rows = taken.get(row_group, np.empty(0, np.int64))
    if plan.images_per_group is None:
        rows = find_free(row_group, aside, parts=plan.parts(train))
    set_aside = aside.get(row_group, np.empty(0, np.int64))
    return pa.concat_tables(
        selected.make_chosen(table, split=split, labels=plan.labels(table))
        for split, table in (
            ("validation", official),
            ("validation", train.take(pa.array(set_aside, pa.int64()))),
            ("train", train.take(pa.array(rows, pa.int64()))),
        )
    )


@dataclasses.dataclass
class SampleImages(beam.PTransform):
    """Choose the images of the subset. Row groups of an index in, one table out."""

    index: str
    plan: SamplePlan

    def expand(self, row_groups: PCollection[int]) -> PCollection[pa.Table]:
        """Set validation aside, rank, allocate, read what is chosen, and fold it."""
        aside = AsSingleton(
            row_groups
            | "RankForValidation"
            >> beam.FlatMap(rank_for_validation, index=self.index, plan=self.plan)
            | "SetAside" >> beam.CombineGlobally(KeepFirsts(self.plan.top_up))
            | "FindSetAside" >> beam.Map(top_k.find_positions)
        )
        most = partial(_most_of_any, self.plan)
        taken = AsSingleton(
            row_groups
            | "RankForSample"
            >> beam.FlatMap(
                rank_for_sample, aside=aside, index=self.index, plan=self.plan
            )
            | "TakeFirst" >> beam.CombineGlobally(KeepFirsts(most))
            | "AllocateImages" >> beam.Map(partial(allocation.choose, plan=self.plan))
        )
        return (
            row_groups
            | "ReadChosen"
            >> beam.Map(
                read_chosen, aside=aside, taken=taken, index=self.index, plan=self.plan
            )
            | "GatherChosen" >> ToList()
            | "JoinChosen" >> beam.Map(pa.concat_tables)
            | "SplitIntoFolds"
            >> beam.Map(
                selected.assign_folds,
                num_folds=self.plan.num_folds,
                seed=self.plan.seed,
            )
        )
