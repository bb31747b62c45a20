"""Compare the sampler with a few lines of plain Python, on a synthetic index."""

import itertools
from collections import defaultdict

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that, equal_to

from transforms import seeds
from transforms.index import table as index_table
from transforms.index.inventory import read_inventory
from transforms.records import ByteRange, ImageRef, SelectedImage, UsageError
from transforms.sampling import allocation, top_k
from transforms.sampling import plan as sample_plan
from transforms.sampling.allocation import allocate
from transforms.sampling.methods import difficulty
from transforms.sampling.plan import SamplePlan, SamplingRequest, Stratum
from transforms.sampling.selection import select_images
from transforms.sampling.steps import KeepTopK, SampleImages

CLASSES = {"n00000001": 40, "n00000002": 9, "n00000003": 25, "n00000004": 30}
LABEL_OF = {"n00000001": 0, "n00000002": 0, "n00000003": 1}
UNIFORM = {
    "label_of": LABEL_OF,
    "top_ups": {0: 4, 1: 7},
    "images_per_group": 12,
    "stratify_by_class": False,
    "num_folds": 1,
    "seed": 3,
}


def _refs():
    for wnid, count in CLASSES.items():
        for number in range(count):
            key, place = f"{wnid}_{number}", ByteRange(number, 9)
            yield ImageRef(key, wnid, "train", 0, "t", place)
        for number in range(3):
            key, place = f"val_{wnid}_{number}", ByteRange(number, 9)
            yield ImageRef(key, wnid, "validation", 0, "v", place)


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
    """Select the same images in plain Python."""
    for label in sorted(set(plan.label_of.values())):
        in_group = [ref for ref in _refs() if plan.label_of.get(ref.wnid) == label]
        train = _ordered(
            [r for r in in_group if r.split == "train"], "validation", plan.seed
        )
        top_up = plan.top_ups.get(label, 0)
        aside, train = train[:top_up], train[top_up:]
        official = [r for r in in_group if r.split == "validation"]
        yield from (
            SelectedImage("validation", label, ref) for ref in [*official, *aside]
        )
        target = plan.images_per_group or len(train)
        by_class = {"": train}
        if plan.stratify_by_class:
            by_class = {w: [r for r in train if r.wnid == w] for w in CLASSES}
            by_class = {w: refs for w, refs in by_class.items() if refs}
        counts = {wnid: len(refs) for wnid, refs in by_class.items()}
        shares = allocation.water_fill(counts, target, seed=plan.seed)
        for wnid, refs in by_class.items():
            for ref in _ordered(refs, "sample", plan.seed)[: shares[wnid]]:
                yield SelectedImage("train", label, ref)


def _list_rows(table):
    columns = table.select(["subset_split", "label"]).to_pydict().values()
    for split, label, ref in zip(*columns, index_table.to_refs(table), strict=True):
        yield SelectedImage(split, label, ref)


def _sample(index, plan, check):
    with test_pipeline.TestPipeline("FnApiRunner") as root:
        num_groups = read_inventory(index).num_row_groups
        groups = root | beam.Create(range(num_groups))
        chosen = groups | SampleImages(index, plan, num_groups)
        assert_that(chosen | beam.FlatMap(_list_rows), check)


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
def test_sample_agrees_with_the_oracle(index, change):
    plan = SamplePlan(**{**UNIFORM, **change})
    expected = list(_oracle(plan))
    _sample(index, plan, equal_to(expected))
    table = select_images(index, read_inventory(index).num_row_groups, plan)
    assert sorted(_list_rows(table)) == sorted(expected)


def test_smaller_sample_is_contained_in_larger_one():
    small = set(_oracle(SamplePlan(**UNIFORM)))
    large = set(_oracle(SamplePlan(**{**UNIFORM, "images_per_group": 17})))
    assert small < large


def test_folds_halve_every_class_and_lose_nothing(index):
    plan = SamplePlan(**{**UNIFORM, "num_folds": 2, "images_per_group": None})
    oracle = sorted(_oracle(plan), key=lambda c: c.ref.wnid)
    expected = [image for image in oracle if image.split == "validation"]
    train = [image for image in oracle if image.split == "train"]
    for _, images in itertools.groupby(train, key=lambda c: c.ref.wnid):
        of_split = list(images)
        names = [
            ref.key for ref in _ordered([c.ref for c in of_split], "fold", plan.seed)
        ]
        first = set(names[: (len(names) + 1) // 2])
        expected += [
            c._replace(split="fold_a" if c.ref.key in first else "fold_b")
            for c in of_split
        ]
    _sample(index, plan, equal_to(expected))


def _rank(places, orders, row_group, limit):
    return top_k.rank(
        np.array(places),
        np.array(orders),
        row_group=row_group,
        rows=np.arange(len(places)),
        limit_of=lambda place: limit + place,
    )


@pytest.mark.parametrize("parts", [1, 2, 5, 60])
def test_top_k_merges_do_not_depend_on_the_partition(parts):
    places = [n % 3 for n in range(300)]
    orders = [seeds.order(0, "sample", str(n)) for n in range(300)]
    combine = KeepTopK(lambda place: 10 + place)
    accumulators = []
    for start in range(parts):
        accumulator = combine.create_accumulator()
        for first in range(start, 300, parts * 5):
            numbers = range(first, min(first + parts * 5, 300), parts)
            element = _rank(
                [places[n] for n in numbers], [orders[n] for n in numbers], first, 10
            )
            accumulator = combine.add_input(accumulator, element)
        accumulators.append(accumulator)
    found = combine.extract_output(combine.merge_accumulators(reversed(accumulators)))
    for place in range(3):
        of_stratum = sorted(
            o for o, p in zip(orders, places, strict=True) if p == place
        )
        assert found.orders[found.strata == place].tolist() == of_stratum[: 10 + place]
    assert found.counts == {0: 100, 1: 100, 2: 100}


def test_merging_no_accumulators_is_empty():
    combine = KeepTopK(lambda _: 3)
    found = combine.extract_output(combine.create_accumulator())
    assert len(found.orders) == 0
    assert top_k.find_positions(found) == {}


P_CORRECT = {  # n00000001 easy, the others hard, many of them equally
    ref.key: round(
        (seeds.order(9, "draw", ref.key) % 1000 / 1000)
        ** (0.3 if ref.wnid == "n00000001" else 4),
        1,
    )
    for ref in _refs()
    if ref.split == "train"
}


def _cap(refs, target, *, scope, seed):
    """Compute the cap on each bin by brute force."""
    bins = defaultdict(list)
    for ref in _ordered(refs, "sample", seed):
        bins[int(np.floor(100 * np.float32(P_CORRECT[ref.key]) + 0.5))].append(ref)
    cap = max(
        t for t in range(len(refs) + 1)
        if sum(min(len(b), t) for b in bins.values()) <= target
    )  # fmt: skip
    rest = target - sum(min(len(b), cap) for b in bins.values())
    able = sorted(
        (number for number, b in bins.items() if len(b) > cap),
        key=lambda number: seeds.order(seed, "remainder", f"{scope}||{number}"),
    )
    for number, in_bin in bins.items():
        yield from in_bin[: cap + (number in able[:rest])]


def _by_difficulty(plan, options):
    """Select the same images in plain Python: held-out images, then cap or order."""
    aside = {c.ref.key for c in _oracle(plan) if c.split == "validation"}
    yield from (c for c in _oracle(plan) if c.split == "validation")
    train = [r for r in _refs() if r.split == "train" and r.wnid in LABEL_OF]
    free = [r for r in train if r.key not in aside]
    scopes = {-1: free}
    if options.scope == "group":
        scopes = {n: [r for r in free if LABEL_OF[r.wnid] == n] for n in (0, 1)}
    for scope, refs in scopes.items():
        target = plan.images_per_group * (2 if scope == -1 else 1)
        if options.rule == "flat":
            chosen = _cap(refs, target, scope=scope, seed=plan.seed)
        else:
            sign = -1 if options.rule == "easiest" else 1
            chosen = sorted(
                _ordered(refs, "sample", plan.seed),
                key=lambda ref: sign * P_CORRECT[ref.key],
            )[:target]
        yield from (SelectedImage("train", LABEL_OF[ref.wnid], ref) for ref in chosen)


@pytest.mark.parametrize("rule", ["flat", "easiest", "hardest"])
@pytest.mark.parametrize("scope", ["group", "set"])
def test_difficulty_sample_agrees_with_the_oracle(index, tmp_path, rule, scope):
    table = pa.table({
        "key": list(P_CORRECT),
        "p_correct": pa.array(P_CORRECT.values(), pa.float32()),
    })
    pq.write_table(table, tmp_path / "difficulty.parquet")
    options = difficulty.Options(rule=rule, scope=scope)
    plan = SamplePlan(**{
        **UNIFORM,
        "scope": scope,
        "arrangement": str(tmp_path / "arranged"),
    })
    hashed = SamplePlan(**UNIFORM)
    row_groups = [
        hashed.read(index, number, split="train")
        for number in range(read_inventory(index).num_row_groups)
    ]
    images = pa.concat_tables(row_groups)
    labels = pa.array([LABEL_OF[w] for w in images["wnid"].to_pylist()], pa.int32())
    found = difficulty.arrange(
        SamplingRequest(
            read_images=lambda: images.append_column("label", labels),
            seed=plan.seed,
            difficulty_file=str(tmp_path / "difficulty.parquet"),
        ),
        options,
    )
    sizes = [part.num_rows for part in row_groups]
    sample_plan.write_parts(found, sizes, plan.arrangement)
    _sample(index, plan, equal_to(list(_by_difficulty(hashed, options))))


def test_scopes_that_are_too_small_are_all_named():
    plan = SamplePlan(**UNIFORM)
    counts = [(Stratum(0, "", 3), 5), (Stratum(0, "", 4), 2)]
    with pytest.raises(UsageError, match=r"2 of 2 groups \(group 0 7, group 1 0\)"):
        allocate(dict(counts), plan=plan)
