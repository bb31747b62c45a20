"""The flags of the build job, and what may be wrong with them."""

import dataclasses
import re
from collections.abc import Iterator, Mapping

from pipelines import presets
from pipelines.cli import flag
from pipelines.grouping_flags import GroupingFlags
from pipelines.store_flags import StoreFlags
from transforms import formats, grouping, sampling, storage
from transforms.formats import tfrecord
from transforms.images.settings import RESIZE_MODES, ImageSettings
from transforms.index import table as index_table
from transforms.processes import num_cores

# They say where and how to build, not what.
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
    "store_endpoint",
    "store_region",
    "store_anonymous",
}
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions(GroupingFlags, StoreFlags):
    """Build one subset of ImageNet: N groups of classes × M training images each.

    Without --input: a demonstration on a miniature ImageNet that is drawn for it.
    """

    input: tuple[str, ...] = flag(
        "raw ImageNet (archive, class folders, Kaggle's tree; repeatable) or an index",
        default=(),
        metavar="PATH",
    )
    validation_labels: str | None = flag(
        "labels of flat validation images (LOC_val_solution.csv beside them, else the "
        "official ones where they fit)",
        default=None,
        metavar="FILE",
    )
    sampling: str = flag(
        "how images are chosen", default="uniform", choices=sampling.SAMPLERS
    )
    difficulty: str | None = flag(
        "how difficult images are, as python -m pipelines.difficulty writes it",
        default=None,
        metavar="FILE",
    )
    stratify_by_class: bool = flag(
        "take equally many of each class of a group, as far as they have them",
        default=False,
    )
    folds: int = flag("2: halve each class into fold_a and fold_b", default=1)
    image_size: int = flag("side in pixels", default=256)
    resize_mode: str = flag(
        "what is made of image_size", default="shorter_side", choices=RESIZE_MODES
    )
    upscale: bool = flag("enlarge images that are smaller", default=False)
    jpeg_quality: int = flag("1 to 100, chroma 4:2:0", default=90)
    output: str = flag(
        "where datasets are made: a folder, or gs:// or s3://",
        default="subsets",
        metavar="DIR",
    )
    name: str | None = flag(
        "the dataset's name (subset_<grouping>_n<N>_m<M>)", default=None
    )
    dataset_version: str = flag("x.y.z", default="1.0.0")
    formats: tuple[str, ...] = flag(
        "what to write, by commas",
        default=("webdataset", "tfrecord"),
        choices=formats.FORMATS,
    )
    images_per_shard: int = flag("at most, within one", default=1000)
    max_failure_fraction: float = flag(
        "share of the chosen images that may be unreadable", default=0.0
    )
    resume: bool = flag("go on where a run was stopped", default=False)
    plan_only: bool = flag("decide everything, read no image", default=False)
    dry_run: bool = flag(
        "decide everything and make the job, write nothing and ask no bucket; the "
        "input is an index",
        default=False,
    )
    threads: int = flag(
        "images made at once; by a worker, on engines that have some",
        default=num_cores(),
    )

    @property
    def is_demonstration(self) -> bool:
        """Whether the miniature is to be drawn: nothing says what to build."""
        return all(
            getattr(self, field.name) == field.default
            for field in dataclasses.fields(self)
            if field.name not in _HOW_FLAGS
        )

    @property
    def images(self) -> ImageSettings:
        """What becomes of each picture."""
        return ImageSettings(
            image_size=self.image_size,
            resize_mode=self.resize_mode,
            upscale=self.upscale,
            jpeg_quality=self.jpeg_quality,
        )

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the values, each with flag, value and remedy."""
        if not self.is_demonstration:
            yield from self.find_grouping_problems()
            yield from presets.expand(self)._find_missing()
        is_needed = self.sampling == "difficulty"
        if is_needed and not self.difficulty:
            yield "--difficulty: is required (the table of --sampling=difficulty)"
        if self.difficulty and not is_needed:
            yield f"--difficulty {self.difficulty}: goes with --sampling=difficulty"
        yield from self._find_out_of_bounds()
        yield from self.images.problems()
        if self.name is not None and (problem := tfrecord.name_problem(self.name)):
            yield f"--name {self.name}: {problem}"
        if not _VERSION.fullmatch(self.dataset_version):
            yield f"--dataset_version {self.dataset_version}: must be x.y.z, e.g. 1.0.0"
        yield from self.find_store_problems()
        if self.is_demonstration and storage.is_remote(self.output):
            yield (
                f"--output {self.output}: the demonstration is made in a folder; name "
                "one, or give --input"
            )
        if self.dry_run and self.plan_only:
            yield "--dry_run: writes nothing; leave it or --plan_only out"
        if self.dry_run and index_table.only_index(self.input) is None:
            yield (
                "--dry_run: goes with an index as --input; make one with python -m "
                "pipelines.index"
            )
        if "" in self.input:
            yield "--input: names nothing; give a path"
        if not self.formats or len(set(self.formats)) != len(self.formats):
            yield f"--formats {','.join(self.formats)}: name each format once"

    def _find_missing(self) -> Iterator[str]:
        if not self.input:
            yield "--input: is required (raw ImageNet, or an index)"
        takes_all = self.folds != 1 or self.grouping == "all_classes"
        if self.images_per_group is None and not takes_all:
            yield "--images_per_group: is required (training images a group)"

    def _find_out_of_bounds(self) -> Iterator[str]:
        bounds: Mapping[str, tuple[float, float]] = {
            "folds": (1, 2),
            "images_per_shard": (1, 1_000_000),
            "max_failure_fraction": (0, 1),
            "threads": (1, 1024),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                yield f"--{name} {value}: must be between {least} and {most}"


def method_options() -> dict[str, dict[str, type]]:
    """Return the options of every grouping and sampler, for the parser."""
    return {
        "grouping": {name: grouping.load(name).Options for name in grouping.METHODS},
        "sampling": {name: sampling.load(name).Options for name in sampling.SAMPLERS},
    }
