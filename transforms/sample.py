"""An index and the groups → the chosen images: set validation aside, then sample.

The index is read twice. The first pass finds which training images serve as validation
and counts what is left in each stratum; the second takes the first by hash of each
stratum. So no more than the chosen refs is ever held or shuffled.

    row groups ─┬─ train ─┬─ first T by hash(validation) ────────────── validation
                │         │                  └─ cutoffs ──┐
                │         └─ count by stratum ── quotas ──┤
                ├─ train again ── past the cutoff, first by hash(sample) ── train
                └─ validation ───────────────────────────────────────── validation
"""

import dataclasses
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsSingleton, PCollection
from apache_beam.transforms.combiners import ToList

from transforms import seeds
from transforms.records import Chosen
from transforms.selection import strata
from transforms.selection.allocation import allocate
from transforms.selection.strata import Ranked, RankedRef, SamplePlan, Stratum
from transforms.tables import index_table

StratumKey = tuple[int, str, int]  # a Stratum, as a type whose coder Beam trusts as key


class FirstByHash(beam.CombineFn):
    """Keeps the n first by (order, key).

    Elements are (n, image): every element of a key carries the same n, since a
    CombineFn does not see its key. Exact, associative and commutative: (order, key) is
    unique.
    """

    def create_accumulator(self) -> tuple[int, list[RankedRef]]:
        """Start with nothing."""
        return 0, []

    def add_input(
        self, accumulator: tuple[int, list[RankedRef]], element: tuple[int, RankedRef]
    ) -> tuple[int, list[RankedRef]]:
        """Add one; prune only now and then, so that an element costs little."""
        _, kept = accumulator
        limit, image = element
        kept.append(image)
        if len(kept) >= 2 * limit + 64:
            kept = heapq.nsmallest(limit, kept)
        return limit, kept

    def merge_accumulators(
        self, accumulators: Iterable[tuple[int, list[RankedRef]]]
    ) -> tuple[int, list[RankedRef]]:
        """Join what several workers kept."""
        limit, kept = 0, list[RankedRef]()
        for more_limit, more in accumulators:
            limit = max(limit, more_limit)
            kept += more
        return limit, heapq.nsmallest(limit, kept)

    def extract_output(
        self, accumulator: tuple[int, list[RankedRef]]
    ) -> list[RankedRef]:
        """Return the kept, in order."""
        limit, kept = accumulator
        return heapq.nsmallest(limit, kept)


def rank_for_validation(
    row_group: int, *, index: str, plan: SamplePlan
) -> Iterator[tuple[int, tuple[int, RankedRef]]]:
    """Yield the training images that may have to serve as validation, by label."""
    if not any(plan.top_ups.values()):
        return
    table = plan.read(index, row_group, split="train")
    for label, image in strata.rank_for_validation(table, plan):
        yield label, (plan.top_ups[label], image)


def count_strata(
    row_group: int, *, index: str, plan: SamplePlan
) -> Iterator[tuple[StratumKey, int]]:
    """Yield the number of training images of each stratum."""
    table = plan.read(index, row_group, split="train")
    for stratum, count in strata.count(table, plan).items():
        yield (*stratum,), count


def find_cutoff(label: int, ranked: Sequence[RankedRef]) -> tuple[int, Ranked]:
    """Return the place of a group's last image that is set aside."""
    return label, (ranked[-1].order, ranked[-1].key)


def spend(
    label: int, ranked: Sequence[RankedRef], *, plan: SamplePlan
) -> Iterator[tuple[StratumKey, int]]:
    """Count what is set aside against its strata."""
    del label
    for stratum, count in strata.count_set_aside(ranked, plan).items():
        yield (*stratum,), -count


def rank_for_sample(
    row_group: int,
    cutoffs: Mapping[int, Ranked],
    taken: Mapping[Stratum, int],
    *,
    index: str,
    plan: SamplePlan,
) -> Iterator[tuple[StratumKey, tuple[int, RankedRef]]]:
    """Yield the training images that may be among the first of their stratum."""
    table = plan.read(index, row_group, split="train")
    for stratum, image in strata.rank_for_sample(table, cutoffs, taken, plan):
        yield (*stratum,), (taken[stratum], image)


def read_validation(
    row_group: int, *, index: str, plan: SamplePlan
) -> Iterator[Chosen]:
    """Yield the official validation images of the groups: all of them."""
    table = plan.read(index, row_group, split="validation")
    for label, ref in zip(plan.labels(table), index_table.to_refs(table), strict=True):
        yield Chosen("validation", label, ref)


def choose(
    place: object,
    ranked: Iterable[RankedRef],
    *,
    split: str,
    label_of: Mapping[str, int],
) -> Iterator[Chosen]:
    """Yield ranked images as chosen."""
    del place
    for image in ranked:
        yield Chosen(split, label_of[image.ref.wnid], image.ref)


def split_into_folds(images: Iterable[Chosen], *, seed: int) -> Iterator[Chosen]:
    """Halve one class: the first ⌈n/2⌉ by hash are fold A, the rest fold B."""
    ordered = sorted(
        images, key=lambda c: (seeds.order(seed, "fold", c.ref.key), c.ref.key)
    )
    half = -(-len(ordered) // 2)
    for position, image in enumerate(ordered):
        yield image._replace(split="fold_a" if position < half else "fold_b")


@dataclasses.dataclass
class SampleImages(beam.PTransform):
    """Choose the images of the subset. Row group numbers of an index in, Chosen out."""

    index: str
    plan: SamplePlan

    def expand(self, row_groups: PCollection[int]) -> PCollection[Chosen]:
        """Set validation aside, count, allocate, and take the first by hash."""
        aside = (
            row_groups
            | "RankForValidation"
            >> beam.FlatMap(
                partial(rank_for_validation, index=self.index, plan=self.plan)
            )
            | "SetAside" >> beam.CombinePerKey(FirstByHash())
        )
        topped_up = aside | "ChooseSetAside" >> beam.FlatMapTuple(
            partial(choose, split="validation", label_of=self.plan.label_of)
        )
        official = row_groups | "ReadValidation" >> beam.FlatMap(
            partial(read_validation, index=self.index, plan=self.plan)
        )
        sampled = (
            row_groups
            | "RankForSample"
            >> beam.FlatMap(
                rank_for_sample,
                cutoffs=AsDict(aside | "FindCutoffs" >> beam.MapTuple(find_cutoff)),
                taken=AsSingleton(self._allocate(row_groups, aside)),
                index=self.index,
                plan=self.plan,
            )
            | "TakeFirst" >> beam.CombinePerKey(FirstByHash())
            | "ChooseSampled"
            >> beam.FlatMapTuple(
                partial(choose, split="train", label_of=self.plan.label_of)
            )
        )
        if self.plan.num_folds > 1:
            sampled = self._fold(sampled)
        return (sampled, topped_up, official) | "JoinChosen" >> beam.Flatten()

    def _allocate(
        self,
        row_groups: PCollection[int],
        aside: PCollection[tuple[int, list[RankedRef]]],
    ) -> PCollection[dict[Stratum, int]]:
        """Count what each stratum has besides validation, and share the target out."""
        plan = self.plan
        counted = row_groups | "CountStrata" >> beam.FlatMap(
            partial(count_strata, index=self.index, plan=plan)
        )
        spent = aside | "SpendSetAside" >> beam.FlatMapTuple(partial(spend, plan=plan))
        return (
            (counted, spent)
            | "JoinCounts" >> beam.Flatten()
            | "SumCounts" >> beam.CombinePerKey(sum)
            | "GatherCounts" >> ToList()
            | "AllocateImages" >> beam.Map(partial(allocate, plan=plan))
        )

    def _fold(self, sampled: PCollection[Chosen]) -> PCollection[Chosen]:
        """Halve every class."""
        return (
            sampled
            | "KeyByClass" >> beam.WithKeys(lambda image: image.ref.wnid)
            | "GroupByClass" >> beam.GroupByKey()
            | "SplitIntoFolds"
            >> beam.FlatMapTuple(
                lambda _, images: split_into_folds(images, seed=self.plan.seed)
            )
        )
