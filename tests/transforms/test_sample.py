"""The sampler against a few lines of plain Python, on an index made of nothing."""

import itertools

import apache_beam as beam
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from transforms import sample, seeds
from transforms.records import Chosen, ImageRef
from transforms.sample import FirstByHash, SampleImages
from transforms.selection import quotas
from transforms.selection.strata import RankedRef, SamplePlan
from transforms.tables import index_table
from transforms.tables.inventory import read_inventory

CLASSES = {"n00000001": 40, "n00000002": 9, "n00000003": 25, "n00000004": 30}
LABEL_OF = {"n00000001": 0, "n00000002": 0, "n00000003": 1}
UNIFORM = {
    "label_of": LABEL_OF,
    "top_ups": {0: 4, 1: 7},
    "images_per_group": 12,
    "sampler": "uniform",
    "sampler_options": None,
    "stratify_by_class": False,
    "num_folds": 1,
    "seed": 3,
}


def _refs():
    for wnid, count in CLASSES.items():
        for number in range(count):
            yield ImageRef(f"{wnid}_{number}", wnid, "train", 0, "t", number, 9, "raw")
        for number in range(3):
            key = f"val_{wnid}_{number}"
            yield ImageRef(key, wnid, "validation", 0, "v", number, 9, "raw")


@pytest.fixture
def index(tmp_path, monkeypatch):
    monkeypatch.setattr(index_table, "ROW_GROUP_IMAGES", 17)  # several row groups
    path = str(tmp_path / "index.parquet")
    index_table.write_part(f"{tmp_path}/part.parquet", list(_refs()))
    index_table.merge_parts([f"{tmp_path}/part.parquet"], path, roots=["/"], strays=[])
    return path


def _ordered(refs, purpose, seed):
    return sorted(refs, key=lambda ref: seeds.order(seed, purpose, ref.key))


def _oracle(plan: SamplePlan):
    """The same choice in plain Python."""
    for label in sorted(set(plan.label_of.values())):
        own = [ref for ref in _refs() if plan.label_of.get(ref.wnid) == label]
        train = _ordered(
            [r for r in own if r.split == "train"], "validation", plan.seed
        )
        top_up = plan.top_ups.get(label, 0)
        aside, train = train[:top_up], train[top_up:]
        official = [r for r in own if r.split == "validation"]
        yield from (Chosen("validation", label, ref) for ref in [*official, *aside])
        target = plan.images_per_group or len(train)
        by_class = {"": train}
        if plan.stratify_by_class:
            by_class = {w: [r for r in train if r.wnid == w] for w in CLASSES}
            by_class = {w: refs for w, refs in by_class.items() if refs}
        counts = {wnid: len(refs) for wnid, refs in by_class.items()}
        shares = quotas.water_fill(counts, target, seed=plan.seed)
        for wnid, refs in by_class.items():
            for ref in _ordered(refs, "sample", plan.seed)[: shares[wnid]]:
                yield Chosen("train", label, ref)


def _sample(index, plan, check):
    with test_pipeline.TestPipeline("FnApiRunner") as root:
        groups = range(read_inventory(index).num_row_groups)
        chosen = root | beam.Create(groups) | SampleImages(index, plan)
        assert_that(chosen, check)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"stratify_by_class": True},
        {"images_per_group": None},
        {"top_ups": {0: 0, 1: 0}},
        {"seed": 4},
        {"images_per_group": 18, "stratify_by_class": True, "top_ups": {0: 30, 1: 2}},
    ],
    ids=["uniform", "stratified", "all", "no top-up", "seed", "short class"],
)
def test_sample_is_the_oracles(index, change):
    plan = SamplePlan(**{**UNIFORM, **change})
    _sample(index, plan, equal_to(list(_oracle(plan))))


def test_a_smaller_sample_lies_in_a_larger_one():
    small = set(_oracle(SamplePlan(**UNIFORM)))
    large = set(_oracle(SamplePlan(**{**UNIFORM, "images_per_group": 17})))
    assert small < large


def test_folds_halve_every_class_and_lose_nothing(index):
    plan = SamplePlan(**{**UNIFORM, "num_folds": 2, "images_per_group": None})
    oracle = sorted(_oracle(plan), key=lambda c: c.ref.wnid)
    expected = [image for image in oracle if image.split == "validation"]
    train = [image for image in oracle if image.split == "train"]
    for _, images in itertools.groupby(train, key=lambda c: c.ref.wnid):
        own = list(images)
        names = [ref.key for ref in _ordered([c.ref for c in own], "fold", plan.seed)]
        first = set(names[: (len(names) + 1) // 2])
        expected += [
            c._replace(split="fold_a" if c.ref.key in first else "fold_b") for c in own
        ]
    _sample(index, plan, equal_to(expected))


@pytest.mark.parametrize("parts", [1, 2, 5, 60])
def test_first_by_hash_merges_to_the_same(parts):
    combine = FirstByHash()
    images = [
        RankedRef(seeds.order(0, "sample", str(n)), str(n), None) for n in range(300)
    ]
    accumulators = []
    for start in range(parts):
        accumulator = combine.create_accumulator()
        for image in images[start::parts]:
            accumulator = combine.add_input(accumulator, (10, image))
        accumulators.append(accumulator)
    merged = combine.merge_accumulators(reversed(accumulators))
    assert combine.extract_output(merged) == sorted(images)[:10]


def test_allocation_takes_all_when_no_target_is_set():
    plan = SamplePlan(**{**UNIFORM, "images_per_group": None})
    counts = [(sample.Stratum(0, "", ""), 5), (sample.Stratum(1, "", ""), 0)]
    assert sample.allocate(counts, plan=plan) == dict(counts)
