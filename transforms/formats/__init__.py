"""A finished dataset as plain data: what its sidecars and its card are made of."""

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple, Protocol

from transforms.records import JSON, ImageLocation, Record, Shard, WrittenFile


class LabelInfo(NamedTuple):
    """One group: its label and what stands behind it."""

    label: int
    name: str  # display name, unique
    folder: str  # lower-case, sorts as the label does
    wnids: tuple[str, ...]
    class_indices: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """One split, with the real counts of what was written."""

    name: str
    num_images: int
    shard_lengths: tuple[int, ...]
    files: dict[str, tuple[WrittenFile, ...]]  # format → files in shard order


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """All that sidecars tell of a dataset."""

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
        """The directory as instructions show it: nothing tells where it was made."""
        return f"PATH/TO/{self.name}/{self.version}"


@dataclass(frozen=True, kw_only=True)
class ShardPlace:
    """Where a shard is written, for whatever format."""

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
        """Remove what was written; does nothing after `close`."""


FORMATS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def load(name: str) -> ModuleType:
    """Import one format."""
    return importlib.import_module(f"{__name__}.{name}")
