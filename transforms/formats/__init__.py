"""Write a dataset: one module per output format.

A module offers:

- `ShardWriter(place)`: writes one shard with `add(record)`, `close()` and `discard()`.
- `sidecars(dataset) -> dict[str, bytes]`: the files, by path, that its readers need
  beside the shards.
- `how_to_load(dataset) -> str`: its section of the dataset card.
- `loading_snippet(directory, split) -> str`: Python code that loads one image, for the
  summary that a build prints.
- `shard_path(name, shard) -> str`: the file of a shard. A format that writes one file
  per image offers `image_path(split, folder, file_name) -> str` instead.
- `find_split(path) -> str | None`: the split whose images a file of the dataset holds;
  None for files of other formats and files without images.

Optional:

- `name_problem(name) -> str | None`: why a dataset cannot have this name. Default: any
  name is accepted. All formats are asked, so that a dataset can be written in another
  format later without a new name.
- `front_matter(dataset) -> dict`: the front matter of the dataset card by which Hugging
  Face loads the shards. Default: none.
- `GROUP_FOLDERS`: a glob pattern of one folder per split and group, which exists even
  without images. Default: "", no such folders.

A module in `transforms/verification/readers` whose `FORMAT` is the format's name lets
`verify` open the dataset with a library that users have.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple, Protocol

from transforms.records import JSON, ImageLocation, Record, Shard, WrittenFile

TERMS = "https://www.image-net.org/download.php"
CITATION = """\
@article{ILSVRC15,
  author = {Olga Russakovsky and Jia Deng and Hao Su and Jonathan Krause and
    Sanjeev Satheesh and Sean Ma and Zhiheng Huang and Andrej Karpathy and
    Aditya Khosla and Michael Bernstein and Alexander C. Berg and Li Fei-Fei},
  title = {{ImageNet Large Scale Visual Recognition Challenge}},
  journal = {International Journal of Computer Vision},
  year = {2015}, volume = {115}, number = {3}, pages = {211-252},
  doi = {10.1007/s11263-015-0816-y}
}"""


class LabelInfo(NamedTuple):
    """A group: its label, name and classes."""

    label: int
    name: str  # display name, unique
    folder: str  # lower-case, sorts as the label does
    wnids: tuple[str, ...]
    class_indices: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """A split, with the actual counts of written images."""

    name: str
    num_images: int
    shard_lengths: tuple[int, ...]
    files: dict[str, tuple[WrittenFile, ...]]  # format → files in shard order

    def count(self, format_name: str) -> JSON:
        """Return size and number of images in one format, for Hugging Face's card."""
        return {
            "name": self.name,
            "num_bytes": sum(file.num_bytes for file in self.files[format_name]),
            "num_examples": self.num_images,
        }


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The facts about a dataset that sidecars record."""

    name: str
    version: str
    subset_id: str
    formats: tuple[str, ...]
    labels: tuple[LabelInfo, ...]  # in the order of their labels
    splits: tuple[SplitInfo, ...]
    recipe: dict[str, JSON]
    statistics: dict[str, JSON]

    @property
    def example_path(self) -> str:
        """The directory as shown in instructions, without its local path."""
        return f"PATH/TO/{self.name}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class ShardPlace:
    """The output location of a shard in any format."""

    root: str  # the dataset's directory while it is made
    name: str  # the dataset's
    folders: Sequence[str]  # the groups' folder names, by label
    shard: Shard


class WrittenShard(NamedTuple):
    """One shard in one format: its files, and where in them each image is."""

    files: tuple[WrittenFile, ...]
    locations: tuple[ImageLocation, ...]  # of the images, in the order of `add`


class ShardWriter(Protocol):
    """Write one shard in one format."""

    def add(self, record: Record) -> None:
        """Append an image."""

    def close(self) -> WrittenShard:
        """Publish the shard's files."""

    def discard(self) -> None:
        """Remove the written files; do nothing after `close`."""


FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import one format."""
    return importlib.import_module(f"{__name__}.{name}")


def has_shard_files(name: str) -> bool:
    """Return whether a format writes one file per shard."""
    return hasattr(load(name), "shard_path")


def locate_image(
    name: str, *, dataset_name: str, shard: Shard, folder: str, file_name: str
) -> str:
    """Return the file that holds an image, relative to the dataset's directory.

    Args:
      name: the format.
      dataset_name: the name of the dataset.
      shard: the shard that the image belongs to.
      folder: the folder name of the image's group.
      file_name: the original file name of the image.
    """
    module = load(name)
    if has_shard_files(name):
        return str(module.shard_path(dataset_name, shard))
    return str(module.image_path(shard.split, folder, file_name))


def find_name_problem(dataset_name: str) -> str | None:
    """Say why some format cannot write a dataset of this name; None if all can."""
    for name in FORMATS:
        find_problem = getattr(load(name), "name_problem", None)
        if find_problem and (problem := find_problem(dataset_name)):
            return str(problem)
    return None


def list_group_folders() -> tuple[str, ...]:
    """Return the glob patterns of folders that may be empty in a dataset."""
    patterns = (getattr(load(name), "GROUP_FOLDERS", "") for name in FORMATS)
    return tuple(filter(None, patterns))
