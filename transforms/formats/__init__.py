"""Write a dataset, with one module per output format.

A format module defines:

- `ShardWriter(place)`: writes one shard with `add(record)`, `close()` and `discard()`.
- `sidecars(dataset) -> dict[str, bytes]`: returns the contents, by path, of the files
  that readers of the format need in addition to the shards.
- `how_to_load(dataset) -> str`: returns the format's section of the dataset card.
- `loading_snippet(directory, split) -> str`: returns Python code that loads images, for
  the summary that a build prints.
- `shard_path(name, shard) -> str`: returns the path of a shard. A format that writes
  one file per image defines `image_path(split, folder, file_name) -> str` instead.
- `find_split(path) -> str | None`: returns the split of the images in a file of the
  dataset, or None for files of other formats and files without images.

Optional:

- `name_problem(name) -> str | None`: returns why a dataset cannot have a name, or None.
  The names are checked by all formats, so that a dataset can later be written in
  another format under the same name. Default: every name is accepted.
- `front_matter(dataset) -> dict`: returns the dataset card's front matter, from which
  Hugging Face loads the shards. Default: none.
- `LIBRARY` and `EXTRA`: a Python package that the writer needs and that is optional,
  and the extra of this program that installs it. Default: none.
- `IMAGE_ENCODING`: the encoding of an image in its byte range, as in
  `transforms.images.read`. Default: "raw", the bytes of the image.
- `GROUP_FOLDERS`: a glob pattern of the folders per split and group, which are created
  even if they are empty. Default: "", no such folders.
- `ENCODING_FORMAT`: media type of the shards, for croissant.json. Default:
  "application/octet-stream".
- `IMAGE_FILES`: a glob pattern of image files, which are named by their keys, in the
  shards or in the dataset; or `IMAGE_COLUMN`: the column of the images in the shards,
  as bytes in a struct, next to the labels. With either of them, croissant.json has
  records of the format. Default: "".

If a module in `transforms/verification/readers` has the format's name as `FORMAT`,
`verify` uses it to open the dataset with a common third-party library.
"""

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple, Protocol

from transforms import storage
from transforms.images import read as image_reading
from transforms.records import JSON, ImageLocation, Record, Shard, WrittenFile

TERMS = "https://www.image-net.org/download.php"
TAGS = ("imagenet", "image-classification", "subset")
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
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")


# Hugging Face asks readers of a dataset to accept these terms.
FRONT_MATTER: Mapping[str, JSON] = {
    "license": "other",
    "license_name": "imagenet",
    "license_link": TERMS,
    "extra_gated_prompt": (
        "The images are a part of ImageNet, and only ImageNet's terms of access, at "
        f"{TERMS}, permit their use. In short: use them for non-commercial research "
        "and education only, without any warranty and at your own responsibility; "
        "share them only with colleagues who have accepted the terms; an employer "
        "that is a company is bound as well; access may be ended at any time."
    ),
    "extra_gated_fields": {"I accept ImageNet's terms of access": "checkbox"},
    "task_categories": ["image-classification"],
    "source_datasets": ["extended|imagenet-1k"],
    "tags": list(TAGS),
}


class LabelInfo(NamedTuple):
    """The label, name, folder and classes of a group."""

    label: int
    name: str  # display name, unique
    folder: str  # lower-case, sorts as the label does
    wnids: tuple[str, ...]
    class_indices: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """A split with the counts and files of the images written."""

    name: str
    num_images: int
    shard_lengths: tuple[int, ...]
    files: dict[str, tuple[WrittenFile, ...]]  # format → files in shard order

    def count(self, format_name: str) -> JSON:
        """Return the split's size in bytes and images, in Hugging Face's schema."""
        return {
            "name": self.name,
            "num_bytes": sum(file.num_bytes for file in self.files[format_name]),
            "num_examples": self.num_images,
        }


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The metadata of a dataset, from which sidecars are generated."""

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
        """The placeholder path of the dataset's folder in instructions."""
        return f"PATH/TO/{self.name}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class ShardPlace:
    """The output location of a shard, for any format."""

    root: str  # folder of the dataset while it is written
    name: str  # of the dataset
    folders: Sequence[str]  # names of the groups' folders, by label
    shard: Shard


class WrittenShard(NamedTuple):
    """The files of a shard in one format, and the location of each image in them."""

    files: tuple[WrittenFile, ...]
    locations: tuple[ImageLocation, ...]  # one per image, in the order of `add`


class ShardWriter(Protocol):
    """Write one shard in one format."""

    def add(self, record: Record) -> None:
        """Append an image."""

    def close(self) -> WrittenShard:
        """Move the files to their final paths; return them and the image locations."""

    def discard(self) -> None:
        """Remove temporary files; do nothing after `close`.

        Never remove a final path, which another attempt at the shard may have written.
        """


FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import and return the module of a format."""
    return importlib.import_module(f"{__name__}.{name}")


def has_shard_files(name: str) -> bool:
    """Return whether a format writes one file per shard."""
    return hasattr(load(name), "shard_path")


def locate_image(
    name: str, *, dataset_name: str, shard: Shard, folder: str, file_name: str
) -> str:
    """Return the path of an image's file, relative to the dataset's folder.

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


def image_encoding(path: str) -> str:
    """Return the `IMAGE_ENCODING` of the format to which a file belongs."""
    encodings = {
        getattr(module, "IMAGE_ENCODING", "raw")
        for module in map(load, FORMATS)
        if module.find_split(path)
    }
    return encodings.pop() if encodings else "raw"


def read_image(root: str, place: ImageLocation) -> bytes:
    """Read an image of a dataset at the location that the manifest states.

    Args:
      root: folder of the dataset.
      place: file, offset and length of the image.

    Raises:
      DataError: the file is missing or shorter than the range.
      OSError: any error that a retry may resolve.
    """
    data = storage.read_range(f"{root}/{place.file}", place.offset, place.length)
    return image_reading.unpack(data, image_encoding(place.file), place.offset)


def describe_libraries(names: Iterable[str]) -> dict[str, str]:
    """Return the version of each optional package that some formats need."""
    libraries = {getattr(load(name), "LIBRARY", "") for name in names} - {""}
    return {name: importlib.metadata.version(name) for name in sorted(libraries)}


def find_missing_extra(name: str) -> str:
    """Return the extra that installs a format's missing package; "" if none is."""
    module = load(name)
    library = getattr(module, "LIBRARY", "")
    is_missing = library and importlib.util.find_spec(library) is None
    return str(module.EXTRA) if is_missing else ""


def find_name_problem(dataset_name: str) -> str | None:
    """Return why a format does not accept a dataset name; None if all accept it."""
    for name in FORMATS:
        find_problem = getattr(load(name), "name_problem", None)
        if find_problem and (problem := find_problem(dataset_name)):
            return str(problem)
    return None


def find_version_problem(dataset_version: str) -> str | None:
    """Return why a dataset version is invalid; None if it is valid."""
    is_valid = _VERSION.fullmatch(dataset_version)
    return None if is_valid else "must be x.y.z, e.g. 1.0.0"


def list_group_folders() -> tuple[str, ...]:
    """Return the formats' glob patterns of group folders; only these may be empty."""
    patterns = (getattr(load(name), "GROUP_FOLDERS", "") for name in FORMATS)
    return tuple(filter(None, patterns))
