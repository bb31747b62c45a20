"""Write samples from any source as a dataset that `pipelines.verify` accepts.

    from transforms.dataset.samples import Sample, SampleOptions, write_samples

    samples = (Sample(key, jpeg, n, {"url": url}) for key, jpeg, n, url in photos)
    options = SampleOptions(name="pets", formats=("webdataset",))
    folder = write_samples(samples, "datasets", options)

The images are first appended to a temporary file next to the dataset, because the
number of shards and their order are known only after the last sample. Memory holds the
keys, labels and fields of all samples, and the images of one shard per process.
"""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import __version__, formats, storage
from transforms.dataset import commit, manifest, paths
from transforms.dataset import plan as dataset_plan
from transforms.dataset import shards as dataset_shards
from transforms.dataset.commit import CommitSettings
from transforms.dataset.plan import PlanSummary
from transforms.dataset.shards import ShardSettings
from transforms.grouping.table import GroupId, GroupTable, make_table
from transforms.images.settings import ImageSettings, describe_libraries
from transforms.index import table as index_table
from transforms.labels import classes
from transforms.layouts import KEY_PATTERN
from transforms.processes import ProcessPool, num_cores
from transforms.records import (
    JSON,
    ByteRange,
    ImageClass,
    Shard,
    UsageError,
    cut_lines,
    list_names,
    to_json,
)
from transforms.sampling import selected

_KEY = re.compile(KEY_PATTERN)
_SPLITS = ("train", "validation")
_SPOOL = "images"
_MAX_LABEL = 9_999_999
_MAX_PROBLEMS = 20
_KEEP = ImageSettings(resize_mode="none")


class Sample(NamedTuple):
    """An image with its label and further fields.

    Attributes:
      key: unique name: letters, digits, "_" and "-", at most 90.
      image: bytes of an image file. RGB and greyscale JPEGs keep their bytes unless
        `SampleOptions.images` resizes them; other images are converted to JPEG.
      label: from 0, without gaps.
      fields: JSON values. `split` is "train" (default) or "validation", `wnid` the
        image's class in WordNet. The dataset keeps the others, by key, in
        `__meta__/samples.parquet`.
    """

    key: str
    image: bytes
    label: int
    fields: Mapping[str, JSON] = {}  # never changed


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Settings for writing samples.

    Attributes:
      name: name of the dataset, and of its folder.
      formats: modules of `transforms.formats`.
      version: x.y.z; also the name of the folder inside that of the dataset's name.
      images_per_shard: largest number of images per shard.
      images: how images are resized.
      label_names: names of the labels; () names them by their class or number.
      seed: seed of the order of the images.
      num_processes: number of processes that write shards; 0 uses the cores.
    """

    name: str
    formats: Sequence[str]
    version: str = "1.0.0"
    images_per_shard: int = 1000
    images: ImageSettings = _KEEP
    label_names: Sequence[str] = ()
    seed: int = 0
    num_processes: int = 0

    def find_problems(self) -> Iterator[str]:
        """Yield a message for each invalid value."""
        if problem := formats.find_name_problem(self.name):
            yield f"name {self.name}: {problem}"
        for name in self.formats:
            if name not in formats.FORMATS:
                known = ", ".join(formats.FORMATS)
                yield f"formats: {name} is not a format; give some of {known}"
        if not self.formats or len(set(self.formats)) < len(self.formats):
            yield "formats: give at least one, and each once"
        if problem := formats.find_version_problem(self.version):
            yield f"version {self.version}: {problem}"
        if self.images_per_shard < 1:
            yield f"images_per_shard {self.images_per_shard}: must be at least 1"
        if self.num_processes < 0:
            yield f"num_processes {self.num_processes}: must be at least 0"


class _Spool:
    """Check samples, append their images to a file and collect references to them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.problems: list[str] = []
        self.columns: dict[str, list] = {
            name: [] for name in ("subset_split", "label", *index_table.SCHEMA.names)
        }
        self.label_of: dict[str, int] = {}  # by wnid
        self.fields: dict[str, str] = {}  # JSON by key
        self._keys: set[str] = set()
        self._offset = 0

    def add(self, number: int, given: Sequence[Any]) -> None:
        """Check a sample and append its image; after a problem, only check."""
        try:
            sample = Sample(*given)
            fields: dict[str, Any] = dict(sample.fields)
            split, wnid = fields.pop("split", "train"), fields.pop("wnid", None)
            more = json.dumps(fields, sort_keys=True, allow_nan=False) if fields else ""
        except (TypeError, ValueError) as error:
            self.problems.append(f"sample {number}: is not a Sample ({error!s:.80})")
            return
        problems = list(self._find_problems(sample, split=split, wnid=wnid))
        where = f"sample {number} ({sample.key!r:.100})"
        self.problems += [f"{where}: {problem}" for problem in problems]
        if not problems:
            self._keys.add(sample.key)
        if self.problems:
            return
        wnid = wnid or _make_wnid(sample.label)
        self.label_of[wnid] = sample.label
        if more:
            self.fields[sample.key] = more
        self._file.write(sample.image)
        place = ByteRange(self._offset, len(sample.image))
        row = (split, sample.label, sample.key, wnid, split, 0, _SPOOL, *place)
        for column, value in zip(self.columns.values(), row, strict=True):
            column.append(value)
        self._offset += len(sample.image)

    def _find_problems(
        self, sample: Sample, *, split: object, wnid: object
    ) -> Iterator[str]:
        key, label = sample.key, sample.label
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            yield "the key must have 1 to 90 letters, digits, _ and - only"
        elif key in self._keys:
            yield "another sample has this key; keys must be unique"
        if not isinstance(sample.image, bytes) or not sample.image:
            yield "the image must be the bytes of a file"
        is_label = isinstance(label, int) and not isinstance(label, bool)
        if not is_label or not 0 <= label <= _MAX_LABEL:
            yield f"label {label!r:.30} must be an integer from 0 to {_MAX_LABEL}"
        if split not in _SPLITS:
            yield f"split {split!r:.30} must be {' or '.join(_SPLITS)}"
        if wnid is None:
            return
        if not isinstance(wnid, str) or not classes.is_wnid(wnid):
            yield f"wnid {wnid!r:.30} must be an n with eight digits"
        elif is_label and self.label_of.get(wnid, label) != label:
            yield f"{wnid} has label {self.label_of[wnid]} in an earlier sample"


def _make_wnid(label: int) -> str:
    """Return the placeholder that replaces the wnid of images without one."""
    return f"label_{label:07d}"


def write_samples(
    samples: Iterable[Sample | Sequence[Any]], output: str, options: SampleOptions
) -> str:
    """Write samples as a sharded, committed dataset, in parallel.

    The same samples give the same bytes in any order and with any number of processes.
    If anything fails, nothing is left at the dataset's path.

    Args:
      samples: the samples, or tuples of the same values; read once.
      output: local folder, in which `name/version` is created.
      options: name, formats and sizes.

    Returns:
      The folder of the dataset.

    Raises:
      UsageError: lists the problems of the options or of the samples; or the dataset
        exists already.
      JobError: a process was killed, or the disk is full.
    """
    target = f"{storage.absolute(output)}/{options.name}/{options.version}"
    problems = list(options.find_problems())
    if storage.is_remote(output):
        problems.append(f"output {output}: must be local; copy the finished dataset")
    elif storage.exists(target):
        problems.append(f"{target} exists; give another name or version, or remove it")
    if problems:
        raise UsageError("\n".join(problems))
    storage.make_folder(str(Path(target).parent))
    with storage.scratch_folder(target, f".{options.version}.writing-") as scratch:
        with Path(scratch, _SPOOL).open("wb") as file:
            spool = _Spool(file)
            for number, sample in enumerate(samples, 1):
                spool.add(number, sample)
                if len(spool.problems) >= _MAX_PROBLEMS:
                    break
        return _write(spool, scratch, target, options)


def _write(spool: _Spool, scratch: str, target: str, options: SampleOptions) -> str:
    table = _make_group_table(spool, options.label_names)
    root, plan_folder = f"{scratch}/dataset", f"{scratch}/dataset/plan"
    images = pa.table(spool.columns).select(selected.SELECTED_SCHEMA.names)
    plan = dataset_plan.write_parts(
        images.cast(selected.SELECTED_SCHEMA),
        seed=options.seed,
        images_per_shard=options.images_per_shard,
        folder=plan_folder,
    )
    settings = ShardSettings(
        root=root,
        work=root,
        plan_folder=plan_folder,
        roots=[scratch],
        versions={},
        name=options.name,
        formats=tuple(options.formats),
        folders=table.folders,
        images=options.images,
        num_threads=1,
        is_spooled=True,
    )
    num_processes = options.num_processes or dataset_shards.count_processes(
        num_cores(), len(plan.shards), images.num_rows
    )
    shards = [shard for shard, _ in plan.shards]
    _write_shards(shards, settings, min(num_processes, len(shards)))
    more_files = [paths.SAMPLES] if spool.fields else []
    if spool.fields:
        rows = sorted(spool.fields.items())
        columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        with storage.replacing(f"{root}/{paths.SAMPLES}") as path:
            pq.write_table(pa.table(columns, ["key", "json"]), path, compression="zstd")
    recipe = _make_recipe(plan, table, options)
    return commit.commit(
        [(shard, 0) for shard in shards],
        CommitSettings(
            root=root,
            work=root,
            target=target,
            name=options.name,
            version=options.version,
            formats=tuple(options.formats),
            table=table,
            subset_id=recipe["subset_id"],
            recipe=recipe,
            found=plan.chosen,
            bad={},
            chosen=plan.chosen,
            shards=plan.shards,
            max_failure_fraction=0,
            more_files=more_files,
        ),
    )


def _make_group_table(spool: _Spool, label_names: Sequence[str]) -> GroupTable:
    """Make the table of labels from the classes of all samples.

    Raises:
      UsageError: lists the problems of the samples, or the labels are not in the order
        of their smallest wnids.
    """
    problems = spool.problems
    labels = set(spool.label_of.values())
    if not problems and not labels:
        problems.append("samples: there are none")
    if not problems and len(labels) <= max(labels):
        missing = (n for n in range(max(labels)) if n not in labels)
        problems.append(
            f"labels {list_names(missing)}: have no sample; number the labels without "
            "gaps"
        )
    if not problems and label_names and len(label_names) <= max(labels):
        problems.append(
            f"label_names: {len(label_names)} names are given for {max(labels) + 1} "
            "labels; give one for each"
        )
    if problems:
        raise UsageError("\n".join(cut_lines(problems, _MAX_PROBLEMS)))
    counts = Counter(zip(spool.columns["wnid"], spool.columns["split"], strict=True))
    names: dict[GroupId, str] = dict(enumerate(label_names))
    for wnid, label in spool.label_of.items():
        if wnid == _make_wnid(label):
            names.setdefault(label, f"label {label}")
    table = make_table(
        [
            ImageClass(
                wnid,
                classes.class_index(wnid),
                classes.display_name(wnid),
                *(counts[wnid, split] for split in _SPLITS),
            )
            for wnid in spool.label_of
        ],
        spool.label_of,
        names,
    )
    if table.label_of != spool.label_of:
        wnid = next(w for w, n in table.label_of.items() if spool.label_of[w] != n)
        raise UsageError(
            f"label {spool.label_of[wnid]} of {wnid}: labels must be in the order of "
            f"their smallest wnids, so it must be {table.label_of[wnid]}; renumber the "
            "labels, or leave out the wnids"
        )
    return table


def _write_shards(
    shards: Sequence[Shard], settings: ShardSettings, num_processes: int
) -> None:
    """Write all shards.

    Raises:
      UsageError: names the samples whose images cannot be decoded.
    """
    described = dataset_shards.settings_to_json(settings)
    if num_processes > 1:
        with closing(ProcessPool(dataset_shards, described, num_processes)) as pool:
            for future in [pool.submit(shard) for shard in shards]:
                future.result()
    else:
        write: Callable[[Sequence[Any]], object] = dataset_shards.begin(described)
        for shard in shards:
            write(shard)
    parts = (manifest.read_part(settings.work, shard) for shard in shards)
    failures = sorted(itertools.chain.from_iterable(p.failures for p in parts if p))
    if failures:
        lines = [f"sample {f.key!r}: {f.reason}; leave it out" for f in failures]
        raise UsageError("\n".join(cut_lines(lines, _MAX_PROBLEMS)))


def _make_recipe(
    plan: PlanSummary, table: GroupTable, options: SampleOptions
) -> dict[str, Any]:
    described = options.images.describe()
    recipe: dict[str, Any] = {
        "allow_small_validation": True,
        "dataset_version": options.version,
        "folds": 1,
        "formats": list(options.formats),
        "groups_sha256": table.sha256,
        "images": described,
        "images_per_group": None,
        "images_per_shard": options.images_per_shard,
        "input_fingerprint": plan.sources_sha256,
        "min_validation_images": 0,
        "name": options.name,
        "num_groups": table.num_groups,
        "sampling_options": {},
        "seed": options.seed,
        "subset_id": dataset_plan.compute_subset_id(plan.lines, described),
        "versions": {
            "imagenet-subsets": __version__,
            "pyarrow": pa.__version__,
            **describe_libraries(),
        },
    }
    return recipe | {"plan_id": hashlib.sha256(to_json(recipe)).hexdigest()}
