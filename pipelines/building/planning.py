"""What a build is given → an index of its images, and where workers read them."""

import dataclasses
import functools
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import engine, grouping_flags, inputs
from pipelines.building import feasibility
from pipelines.building.feasibility import Availability
from pipelines.building.options import BuildOptions
from pipelines.index import index_images
from transforms import __version__, sampling, storage
from transforms.dataset import plan as dataset_plan
from transforms.dataset.plan import PlannedShard
from transforms.dataset.steps import AssignShards
from transforms.difficulty import table as difficulty_table
from transforms.difficulty.table import NUM_BINS
from transforms.grouping.table import Grouping, GroupTable
from transforms.images.settings import describe_libraries
from transforms.index import table as index_table
from transforms.index.inventory import Inventory, read_inventory
from transforms.records import JSON, ImageClass, Shard, UsageError, list_names
from transforms.sampling import plan as sample_plan
from transforms.sampling.plan import SamplePlan, SamplerOutput, SamplingRequest
from transforms.sampling.steps import SampleImages


def check_reach(options: BuildOptions, beam_flags: Sequence[str]) -> None:
    """See that workers can read every image, and write the dataset.

    Raises: UsageError: every input, root of an index, or output out of their reach.
    """
    beam_options = engine.make_beam_options(beam_flags)
    if not engine.has_own_files(beam_options):
        return  # before the index is read for its roots
    places = [(f"--input {path}", path) for path in options.input]
    if index := index_table.only_index(options.input):
        roots = index_table.read_description(index)["inputs"]
        places = [(f"--input {index}: an index of images in {r}", r) for r in roots]
    places.append((f"--output {options.output}", options.output))
    engine.check_reach(beam_options, places)


def resolve_input(
    options: BuildOptions, *, scratch: str, beam_flags: Sequence[str]
) -> tuple[str, Inventory]:
    """Take the index that is given, or make one of raw ImageNet, on this machine.

    Raises: UsageError: what the user must mend.
    """
    if index := index_table.only_index(options.input):
        inventory = read_inventory(index)
        if not options.dry_run:
            _check_roots(index, inventory.roots)
            inputs.check_versions(index, inventory.versions)
    else:
        pieces, told = inputs.find_pieces(options.input, options.validation_labels)
        for line in told:
            sys.stderr.write(f"found {line}\n")
        if not engine.is_embedded(engine.make_beam_options(beam_flags)):
            sys.stderr.write(
                "listing the images on this machine; python -m pipelines.index "
                "--runner=... lists them on many, for an index to build from\n"
            )
        index = f"{scratch}/index.parquet"
        inventory = index_images(pieces, output=index, beam_flags=beam_flags)
    sys.stderr.write(inventory.describe() + "\n")
    if not inventory.num_images:
        raise UsageError(f"--input {' '.join(options.input)}: no usable images")
    return index, inventory


def _check_roots(index: str, roots: Sequence[str]) -> None:
    if moved := [root for root in roots if not storage.exists(root)]:
        raise UsageError(
            f"--input {index}: its images lay in {moved[0]}, which is gone; put "
            "them back, or make the index again with python -m pipelines.index"
        )


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Images by percent of p_correct."""

    counts: tuple[int, ...]  # 0 … 100 percent
    num_missing: int  # images without a score
    mean: float  # of p_correct, of those with one

    def to_json(self) -> Mapping[str, JSON]:
        """Return what is recorded."""
        return {
            "images_by_percent": list(self.counts),
            "without_score": self.num_missing,
            "mean_p_correct": round(self.mean, 6),
        }


def measure(table: pa.Table, keys: pa.StringArray) -> Histogram:
    """Count images by their difficulty.

    Args:
      table: key and p_correct, each key once.
      keys: the images to count.
    """
    p_correct = difficulty_table.look_up(table, keys)
    scored = p_correct[~np.isnan(p_correct)]
    percent = difficulty_table.find_percent(scored)
    return Histogram(
        counts=tuple(np.bincount(percent, minlength=NUM_BINS).tolist()),
        num_missing=len(p_correct) - len(scored),
        mean=float(scored.mean(dtype=np.float64)) if len(scored) else 0.0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampledIndex:
    """A sampler's arrangement, as the plan needs it."""

    folder: str | None = None  # of its files; None: hashes alone decide
    scope: str = "group"
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexedImages:
    """The usable training images of the groups, as samplers see them."""

    index: str
    num_row_groups: int
    table: GroupTable

    @functools.cached_property
    def row_groups(self) -> Sequence[pa.Table]:
        """Key and label of each row group's images."""
        return [self._read(number) for number in range(self.num_row_groups)]

    def _read(self, row_group: int) -> pa.Table:
        label_of = self.table.label_of
        images = index_table.read_row_group(
            self.index, row_group, split="train", wnids=sorted(label_of)
        )
        labels = [label_of[wnid] for wnid in images["wnid"].to_pylist()]
        return pa.table({"key": images["key"], "label": pa.array(labels, pa.int32())})

    def read(self) -> pa.Table:
        """Return key and label of all."""
        return pa.concat_tables(self.row_groups)


def run_sampler(
    images: IndexedImages,
    *,
    sampler: str,
    options: Any,  # noqa: ANN401  # each sampler has its own class
    difficulty_file: str | None,
    seed: int,
    folder: str,
) -> SampledIndex:
    """Ask the sampler, and write what it says into a folder.

    Raises: UsageError: what the sampler does not allow, or misses.
    """
    request = SamplingRequest(
        read_images=images.read, seed=seed, difficulty_file=difficulty_file
    )
    found: SamplerOutput | None = sampling.load(sampler).arrange(request, options)
    if found is None:
        return SampledIndex()
    sizes = [table.num_rows for table in images.row_groups]
    sample_plan.write_parts(found, sizes, folder)
    return SampledIndex(folder=folder, scope=found.scope, notes=found.notes)


def measure_difficulty(
    images: IndexedImages, *, difficulty_file: str | None, plan_folder: str
) -> Mapping[str, JSON] | None:
    """Count all images and the chosen by difficulty; None where it is not known."""
    if difficulty_file is None:
        return None
    table = difficulty_table.read_table(difficulty_file)
    keys = {
        "available": images.read()["key"].combine_chunks(),
        "chosen": dataset_plan.read_train_keys(plan_folder),
    }
    return {name: measure(table, k).to_json() for name, k in keys.items()}


def check_every_group(
    chosen: Mapping[str, Mapping[str, int]],
    table: GroupTable,
    arranged: SampledIndex,
    *,
    sampler: str,
) -> None:
    """See that no group is left without images where the set is one scope.

    Raises: UsageError: the groups that are.
    """
    if arranged.scope != "set":
        return
    trained = {w for split, c in chosen.items() if split != "validation" for w in c}
    filled = {table.label_of[wnid] for wnid in trained}
    empty = [table.names[n] for n in range(table.num_groups) if n not in filled]
    if empty:
        raise UsageError(
            f"--{sampler}_scope set: leaves {len(empty)} groups without training "
            f"images ({list_names(empty)}); give group, or more --images_per_group"
        )


# Flags that decide the subset or its bytes; the others decide how the work is done.
_RECIPE_FLAGS = (
    "preset",
    "grouping",
    "sampling",
    "images_per_group",
    "stratify_by_class",
    "folds",
    "min_validation_images",
    "allow_small_validation",
    "seed",
    "name",
    "dataset_version",
    "formats",
    "images_per_shard",
)


def make_recipe(
    options: BuildOptions,
    *,
    grouping_options: object,
    sampling_options: object,
    result: Grouping,
    sampling_notes: Sequence[str],
    table: GroupTable,
    input_fingerprint: str,
    subset_id: str,
) -> dict[str, Any]:
    """Describe how a subset is made."""
    recipe = {name: getattr(options, name) for name in _RECIPE_FLAGS}
    return recipe | {
        "num_groups": table.num_groups,
        "grouping_options": _describe(grouping_options),
        "grouping_notes": list(result.notes),
        "grouping_quality": result.quality,
        "groups_sha256": table.sha256,
        "sampling_options": _describe(sampling_options),
        "sampling_notes": list(sampling_notes),
        "difficulty_sha256": _hash_file(options.difficulty),
        "images": options.images.describe(),
        "input_fingerprint": input_fingerprint,
        "subset_id": subset_id,
        "versions": {
            "imagenet-subsets": __version__,
            "pyarrow": pa.__version__,
            **describe_libraries(),
        },
    }


def _describe(method_options: object) -> dict[str, Any]:
    """Return a method's own options; a file stands by its content, not its path."""
    described = dict(vars(method_options))
    for name, value in described.items():
        if isinstance(value, str) and storage.exists(value):
            described[name] = _hash_file(value)
    return described


def _hash_file(path: str | None) -> str | None:
    return None if path is None else hashlib.sha256(storage.read(path)).hexdigest()


def compute_plan_id(
    recipe: Mapping[str, Any], shards: Sequence[Shard], *, sources_sha256: str
) -> str:
    """Hash all that decides the bytes of shards."""
    names = ("subset_id", "groups_sha256", "formats", "versions")
    described = [[recipe[name] for name in names], list(shards), sources_sha256]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A build's options, those of its methods, and Beam's flags."""

    options: BuildOptions
    grouping_options: Any
    sampling_options: Any
    beam_flags: Sequence[str]

    @property
    def beam_options(self) -> PipelineOptions:
        """Beam's options, made anew: an engine writes into its own."""
        return engine.make_beam_options(self.beam_flags)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """All that is decided before the first image is read."""

    options: BuildOptions  # with the name
    inventory: Inventory
    table: GroupTable
    folder: str  # of the plan's files
    shards: Sequence[PlannedShard]
    chosen: Mapping[str, Mapping[str, int]]  # split → wnid → images
    available: Availability
    difficulty: Mapping[str, Any] | None  # histograms of all images and the chosen
    num_bytes: int  # of the output, estimated
    recipe: Mapping[str, Any]

    @property
    def subset_id(self) -> str:
        """What the subset is, however it was made."""
        return self.recipe["subset_id"]

    @property
    def plan_id(self) -> str:
        """What decides the bytes of the dataset."""
        return self.recipe["plan_id"]


def make_plan(request: Request, scratch: str) -> BuildPlan:
    """Index, group, see what is feasible, and sample.

    Args:
      request: what is wanted.
      scratch: a folder for the index and the plan.
    Raises: UsageError: what the user must mend.
    """
    options = request.options
    # In one order whatever the user's: the manifest has the first format's places.
    formats = tuple(sorted(options.formats, reverse=True))
    options = dataclasses.replace(options, formats=formats)
    index, inventory = resolve_input(
        options, scratch=scratch, beam_flags=request.beam_flags
    )
    table, result = grouping_flags.group_classes(
        _list_classes(inventory, options.sampling, request.sampling_options),
        options,
        request.grouping_options,
    )
    images = IndexedImages(
        index=index, num_row_groups=inventory.num_row_groups, table=table
    )
    arranged, problems = _arrange(request, images, f"{scratch}/arrangement")
    available, num_bytes, found = feasibility.check(
        options,
        inventory,
        table,
        scope=arranged.scope,
        sampling_options=request.sampling_options,
    )
    if problems := [*problems, *found]:
        raise UsageError("\n".join(problems))
    sample_plan = _plan_sample(request, table, available, arranged)
    folder = str(Path(scratch, "plan").absolute())
    Path(folder).mkdir()
    define = functools.partial(
        define_pipeline,
        index=storage.absolute(index),
        num_row_groups=inventory.num_row_groups,
        sample_plan=sample_plan,
        images_per_shard=options.images_per_shard,
        plan_folder=folder,
    )
    engine.run(define, engine.make_beam_options(engine.embed(request.beam_flags)))
    if options.name is None:
        name = _name_dataset(request, table)
        options = dataclasses.replace(options, name=name)
    chosen = dataset_plan.count_by_class(folder)
    check_every_group(chosen, table, arranged, sampler=options.sampling)
    shards = dataset_plan.list_shards(folder)
    subset_id = dataset_plan.compute_subset_id(
        dataset_plan.read_lines(folder), options.images.describe()
    )
    described = make_recipe(
        options,
        grouping_options=request.grouping_options,
        sampling_options=request.sampling_options,
        result=result,
        sampling_notes=arranged.notes,
        table=table,
        input_fingerprint=inventory.fingerprint,
        subset_id=subset_id,
    )
    described["plan_id"] = compute_plan_id(
        described,
        [planned.shard for planned in shards],
        sources_sha256=dataset_plan.hash_sources(folder),
    )
    return BuildPlan(
        options=options,
        inventory=inventory,
        table=table,
        folder=folder,
        shards=shards,
        chosen=chosen,
        difficulty=measure_difficulty(
            images, difficulty_file=options.difficulty, plan_folder=folder
        ),
        available=available,
        num_bytes=num_bytes,
        recipe=described,
    )


def _list_classes(
    inventory: Inventory, sampler: str, sampling_options: object
) -> tuple[ImageClass, ...]:
    """List the classes with the training images that the sampler leaves them."""
    return tuple(
        c._replace(
            num_train=c.num_train
            - sampling.count_left_out(sampler, c.num_train, sampling_options)
        )
        for c in grouping_flags.list_classes(inventory)
    )


def _arrange(
    request: Request, images: IndexedImages, folder: str
) -> tuple[SampledIndex, list[str]]:
    """Ask the sampler; what it does not allow is told with all other problems."""
    options = request.options
    try:
        arranged = run_sampler(
            images,
            sampler=options.sampling,
            options=request.sampling_options,
            difficulty_file=options.difficulty,
            seed=options.seed,
            folder=str(Path(folder).absolute()),
        )
    except UsageError as error:
        return SampledIndex(), str(error).splitlines()
    for note in arranged.notes:
        sys.stderr.write(f"{note}\n")
    return arranged, []


def _plan_sample(
    request: Request, table: GroupTable, available: Availability, arranged: SampledIndex
) -> SamplePlan:
    """Gather what decides which images are chosen."""
    options = request.options
    return SamplePlan(
        label_of=table.label_of,
        top_ups=available.top_ups,
        images_per_group=options.images_per_group,
        stratify_by_class=options.stratify_by_class,
        num_folds=options.folds,
        seed=options.seed,
        scope=arranged.scope,
        arrangement=arranged.folder,
    )


def define_pipeline(
    root: beam.Pipeline,
    *,
    index: str,
    num_row_groups: int,
    sample_plan: SamplePlan,
    images_per_shard: int,
    plan_folder: str,
) -> None:
    """Wire an index → sample → assign → the plan's files."""
    write = functools.partial(dataset_plan.write_part, folder=plan_folder)
    _ = (
        root
        | "ListRowGroups" >> beam.Create(range(num_row_groups), reshuffle=False)
        | "SpreadRowGroups" >> beam.Reshuffle()
        | SampleImages(index, sample_plan)
        | AssignShards(sample_plan.seed, images_per_shard)
        | "WritePlan" >> beam.MapTuple(write)
    )


def _name_dataset(request: Request, table: GroupTable) -> str:
    """Make the default name of its recipe's words."""
    options = request.options
    if options.preset:
        return f"subset_{options.preset}"
    images = options.images_per_group or "all"
    return f"subset_{options.grouping}_n{table.num_groups}_m{images}"
