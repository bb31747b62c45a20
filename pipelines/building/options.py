"""Declare the flags of the build job and check their combinations."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from pipelines.grouping_flags import GroupingFlags
from pipelines.input_flags import NO_PATH, InputFlags
from pipelines.log_flags import LogFlags
from pipelines.store_flags import StoreFlags
from transforms import formats, grouping, sampling, storage
from transforms.images.settings import MAX_SIDE, RESIZE_MODES, ImageSettings
from transforms.index import table as index_table
from transforms.options import flag
from transforms.processes import num_cores
from transforms.sampling import image_list

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

# These flags decide where and how to build, not the contents of the dataset.
_HOW_FLAGS = {
    "output",
    "name",
    "dataset_version",
    "formats",
    "resume",
    "plan_only",
    "dry_run",
    "threads",
    "max_failure_fraction",
    "require_complete",
    "store_endpoint",
    "store_region",
    "store_anonymous",
    "export_images",
    "log_format",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions(GroupingFlags, InputFlags, StoreFlags, LogFlags):
    """Build a subset of ImageNet: N groups of classes with M training images each.

    Without flags that determine the contents, build a demonstration: a subset of a
    miniature ImageNet, which is drawn first.
    """

    input: tuple[str, ...] = flag(
        "raw ImageNet (archives, class folders, Kaggle's tree, a zip; local, gs://, "
        "s3:// or hf://datasets/OWNER/NAME[@REVISION]; repeatable), or an index that "
        "pipelines.index has written",
        default=(),
        metavar="PATH",
        absent=NO_PATH,
    )
    require_complete: bool = flag(
        "reject an input that is not the complete ImageNet (1,281,167 training images, "
        "50 validation images per class)",
        default=False,
    )
    sampling: str = flag(
        "method that selects the images of each group: uniform: at random; difficulty: "
        "a flat histogram of difficulty, or the easiest or hardest images "
        "(--difficulty_rule); list: those that --images names",
        default=sampling.DEFAULT,
        choices=sampling.SAMPLERS,
    )
    difficulty: str | None = flag(
        "difficulty table for --sampling=difficulty, written by pipelines.difficulty",
        default=None,
        metavar="FILE",
        absent="no such file; make it with python -m pipelines.difficulty",
    )
    images: str | None = flag(
        "list of the images to select, for --sampling=list: text, CSV or Parquet, with "
        "or without classes and splits",
        default=None,
        metavar="FILE",
        absent="no such file",
    )
    max_missing: int = flag(
        "number of listed images that the input may lack; all are named in a file in "
        "--output",
        default=0,
        minimum=0,
    )
    export_images: str | None = flag(
        "list of the selected images to write, .csv or .parquet; --images reads it",
        default=None,
        metavar="FILE",
    )
    stratify_by_class: bool = flag(
        "select the same number of images from each class of a group, as far as "
        "available",
        default=False,
    )
    folds: int = flag(
        "2 splits the training images of each class into fold_a and fold_b; 1 writes "
        "one train split",
        default=1,
        minimum=1,
        maximum=2,
    )
    image_size: int = flag(
        "side of the written images in pixels; --resize_mode selects which side",
        default=256,
        minimum=1,
        maximum=MAX_SIDE,
    )
    resize_mode: str = flag(
        "how images are resized to --image_size; none keeps their size",
        default="shorter_side",
        choices=RESIZE_MODES,
    )
    upscale: bool = flag("enlarge images smaller than --image_size", default=False)
    jpeg_quality: int = flag(
        "JPEG quality of the written images; chroma is 4:2:0",
        default=90,
        minimum=1,
        maximum=100,
    )
    output: str = flag(
        "folder to write datasets to: local, gs:// or s3://",
        default="subsets",
        metavar="DIR",
    )
    name: str | None = flag(
        "name of the dataset (default: subset_<grouping>_n<N>_m<M> or subset_<preset>)",
        default=None,
    )
    dataset_version: str = flag("version of the dataset, x.y.z", default="1.0.0")
    formats: tuple[str, ...] = flag(
        "output formats, separated by commas",
        default=("webdataset", "tfrecord"),
        choices=formats.FORMATS,
        split=",",
    )
    images_per_shard: int = flag(
        "largest number of images per shard; shards of a split are equal in size (±1)",
        default=1000,
        minimum=1,
        maximum=1_000_000,
    )
    max_failure_fraction: float = flag(
        "share of the selected images that may be unreadable",
        default=0.0,
        minimum=0,
        maximum=1,
    )
    resume: bool = flag(
        "continue an interrupted build; the output is byte-identical", default=False
    )
    plan_only: bool = flag(
        "write only the plan (groups, selected images, counts), without reading images",
        default=False,
    )
    dry_run: bool = flag(
        "plan the job and print it, without writing files or contacting buckets; "
        "requires an index as --input",
        default=False,
    )
    threads: int = flag(
        "images processed in parallel by each worker",
        default=num_cores(),
        default_note="one per core; 1 with --runner=DaskRunner",
        dask_default=1,  # Dask runs as many tasks at once as a worker has threads
        minimum=1,
        maximum=1024,
    )

    @property
    def is_demonstration(self) -> bool:
        """Whether all flags that decide the contents have their defaults."""
        return all(
            getattr(self, field.name) == field.default
            for field in dataclasses.fields(self)
            if field.name not in _HOW_FLAGS
        )

    @property
    def image_settings(self) -> ImageSettings:
        """Settings for resizing and encoding each image."""
        return ImageSettings(
            image_size=self.image_size,
            resize_mode=self.resize_mode,
            upscale=self.upscale,
            jpeg_quality=self.jpeg_quality,
        )

    def problems(self) -> Iterator[str]:
        """Yield a message with a remedy for each invalid combination of flags."""
        if not self.is_demonstration:
            yield from self.find_grouping_problems()
            yield from self.expand_preset()._find_missing()
        tables = sampling.list_tables(self.sampling)
        for table in tables:
            if not getattr(self, table):
                sampler = f"--sampling={self.sampling}"
                yield f"--{table}: is required (the table of {sampler})"
        for table in ("difficulty", "images"):
            if (path := getattr(self, table)) and table not in tables:
                readers = sampling.list_readers(table)
                named = " or ".join(f"--sampling={name}" for name in readers)
                yield f"--{table} {path}: applies only with {named}"
        yield from self._find_list_problems()
        if self.name is not None and (problem := formats.find_name_problem(self.name)):
            yield f"--name {self.name}: {problem}"
        for name in self.formats:
            if extra := formats.find_missing_extra(name):
                yield (
                    f"--formats {name}: needs a package that is not installed; "
                    f"pip install 'imagenet-subsets[{extra}]'"
                )
        if problem := formats.find_version_problem(self.dataset_version):
            yield f"--dataset_version {self.dataset_version}: {problem}"
        yield from self.find_store_problems()
        if self.is_demonstration and storage.is_remote(self.output):
            yield (
                f"--output {self.output}: the demonstration needs a local folder; "
                "give one, or give --input"
            )
        if self.dry_run and self.plan_only:
            yield "--dry_run: cannot be combined with --plan_only; leave out one"
        if self.dry_run and index_table.only_index(self.input) is None:
            yield (
                "--dry_run: requires an index as --input; write one with python -m "
                "pipelines.index"
            )
        yield from self.find_input_problems(self.input)

    def _find_list_problems(self) -> Iterator[str]:
        if self.max_missing and not self.images:
            yield f"--max_missing {self.max_missing}: applies only with --images"
        if sampling.is_fixed(self.sampling):
            decides = f"--sampling={self.sampling} selects all images"
            if images := self.expand_preset().images_per_group:
                yield f"--images_per_group {images}: {decides}; leave it out"
            if self.stratify_by_class:
                yield f"--stratify_by_class: {decides}; leave it out"
        path = self.export_images
        if path and not path.endswith(image_list.SUFFIXES):
            yield f"--export_images {path}: must end in .csv or .parquet"
        if path and storage.is_folder(path):
            yield f"--export_images {path}: is a folder; name a file"
        same = self.images and storage.absolute(self.images)
        if path and storage.absolute(path) == same:
            yield f"--export_images {path}: is the file of --images; name another"

    def expand_preset(self) -> Self:
        """Return a copy with the preset's flags and the defaults that depend on it.

        A sampler that selects all images holds out none for validation.
        """
        expanded = super().expand_preset()
        if self.min_validation_images is None and sampling.is_fixed(self.sampling):
            return dataclasses.replace(expanded, min_validation_images=0)
        return expanded

    def _find_missing(self) -> Iterator[str]:
        if not (self.input or self.train_input or self.validation_input):
            yield "--input: is required (raw ImageNet, or an index)"
        source = grouping.find_num_groups_source(self.grouping) if self.grouping else ""
        takes_all = self.folds != 1 or source in {"classes", "method"}
        takes_all |= sampling.is_fixed(self.sampling)
        if self.images_per_group is None and not takes_all:
            yield "--images_per_group: is required (training images per group)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A build request: options of the job and of its methods, and Beam's flags."""

    options: BuildOptions
    grouping_options: Any  # each method has its own class
    sampling_options: Any
    beam_flags: Sequence[str]
    is_demonstration: bool = False

    @property
    def beam_options(self) -> "PipelineOptions":
        """Beam options, created on each access because runners modify them."""
        from pipelines import engine

        return engine.make_beam_options(self.beam_flags)


def method_options() -> dict[str, dict[str, type]]:
    """Return the options classes of all grouping methods and samplers, for `parse`."""
    return {
        "grouping": {name: grouping.load(name).Options for name in grouping.METHODS},
        "sampling": {name: sampling.load(name).Options for name in sampling.SAMPLERS},
    }
