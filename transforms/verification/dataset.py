"""Read the files of a finished dataset lazily.

Each file is read on first access, so a damaged file fails only the checks that need it.
"""

import csv
import functools
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa

from transforms import formats, storage
from transforms.dataset import manifest, paths
from transforms.dataset import plan as dataset_plan
from transforms.grouping.table import LEFT_OUT, GroupRow, GroupTable
from transforms.images.settings import ImageSettings
from transforms.records import Failure, Shard

_MAX_SIDECAR_BYTES = 1 << 26
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class CommitMark:
    """The content of complete.json, which marks a dataset as finished."""

    subset_id: str
    files: Mapping[str, str]  # sha256 by path


class CheckedImage(NamedTuple):
    """The SHA-256 of an image's bytes, its problem and its size in pixels.

    The SHA-256 is "" if the image could not be read, and the problem if it has none.
    """

    sha256: str
    problem: str
    width: int = 0
    height: int = 0


class CheckedFile(NamedTuple):
    """The SHA-256 of a file, "" if it could not be read, its problem and its images."""

    sha256: str
    problem: str
    images: Sequence[CheckedImage] = ()


@dataclass
class DatasetFiles:
    """Lazy access to the files of a dataset under verification.

    If a file is missing or damaged, access raises one of `results.UNREADABLE`.
    """

    directory: str
    num_threads: int = 1

    def read(self, path: str) -> bytes:
        """Read a sidecar; `path` is relative to the dataset.

        Raises:
          ValueError: the file is too large.
        """
        place = f"{self.directory}/{path}"
        if (size := storage.num_bytes(place)) > _MAX_SIDECAR_BYTES:
            raise ValueError(f"{path} has {size} bytes, too many for a sidecar")
        return storage.read(place)

    @functools.cached_property
    def sizes(self) -> dict[str, int | None]:
        """Size in bytes of each path; None for paths that are not regular files."""
        return dict(storage.list_sizes(self.directory))

    def read_json(self, path: str) -> dict[str, Any]:
        """Read a sidecar and parse it as a JSON object.

        Raises:
          ValueError: the file is too large or not JSON.
          TypeError: the value is not an object.
        """
        try:
            value = json.loads(self.read(path))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise TypeError(f"{path} is not a JSON object")
        return value

    @functools.cached_property
    def mark(self) -> CommitMark:
        """The validated commit mark; all its paths are inside the folder."""
        try:
            value = self.read_json(paths.COMPLETE)
        except FileNotFoundError:
            raise ValueError(
                f"no commit mark ({paths.COMPLETE}): the dataset is incomplete; copy "
                "it again, or continue the build with --resume"
            ) from None
        files = value.get("files")
        if value.keys() != {"subset_id", "files"} or not isinstance(files, dict):
            raise ValueError(f"{paths.COMPLETE} must contain only subset_id and files")
        for name, checksum in [("subset_id", value["subset_id"]), *files.items()]:
            if not isinstance(checksum, str) or not SHA256.fullmatch(checksum):
                raise ValueError(
                    f"{paths.COMPLETE}: {name} is {checksum!r}, not a sha256"
                )
        for path in files:
            parts = PurePosixPath(path).parts
            if not parts or path != "/".join(parts) or ".." in parts or "\0" in path:
                raise ValueError(
                    f"{paths.COMPLETE}: {path!r} is not a path in the dataset"
                )
        return CommitMark(value["subset_id"], files)

    def list_present(self) -> list[str]:
        """List the files that the commit mark lists and that exist."""
        return [path for path in self.mark.files if self.sizes.get(path) is not None]

    @functools.cached_property
    def image_files(self) -> dict[tuple[str, str], list[str]]:
        """The existing files with images by format and split, sorted.

        They include files that the commit mark does not list.
        """
        files: dict[tuple[str, str], list[str]] = {}
        for name in formats.FORMATS:
            find_split = formats.load(name).find_split
            for path in sorted(p for p, size in self.sizes.items() if size is not None):
                if split := find_split(path):
                    files.setdefault((name, split), []).append(path)
        return files

    @functools.cached_property
    def recipe(self) -> dict[str, Any]:
        """The content of recipe.json, the settings of the build."""
        return self.read_json(paths.RECIPE)

    @functools.cached_property
    def image_settings(self) -> ImageSettings:
        """The image settings in the recipe, e.g. the size and the JPEG quality."""
        names = (f.name for f in fields(ImageSettings))
        return ImageSettings(**{name: self.recipe["images"][name] for name in names})

    @functools.cached_property
    def statistics(self) -> dict[str, Any]:
        """The content of statistics.json."""
        return self.read_json(paths.STATISTICS)

    @functools.cached_property
    def table(self) -> GroupTable:
        """The content of groups.csv, the group of each class in the input."""
        text = io.StringIO(self.read(paths.GROUPS).decode(), newline="")
        header, *rows = csv.reader(text, strict=True)
        if tuple(header) != GroupRow._fields:
            raise ValueError(f"{paths.GROUPS}: the header is {','.join(header)}")
        return GroupTable(
            tuple(
                GroupRow(wnid, int(index), name, int(group or LEFT_OUT), group_name)
                for wnid, index, name, group, group_name in rows
            )
        )

    @functools.cached_property
    def failures(self) -> list[Failure]:
        """The content of failures.csv, selected images that could not be written."""
        data = self.read(paths.FAILURES)
        failures = manifest.read_failures(data)
        if manifest.write_failures(failures) != data:
            raise ValueError(f"{paths.FAILURES} is not in its canonical form")
        return failures

    @functools.cached_property
    def manifest(self) -> pa.Table:
        """The manifest, a table with one row per written image, in output order."""
        path = f"{self.directory}/{paths.MANIFEST}"
        file = storage.open_parquet(path)
        if not (found := file.schema_arrow).equals(manifest.SCHEMA):
            missing = sorted(set(manifest.SCHEMA.names) ^ set(found.names))
            raise ValueError(
                f"{paths.MANIFEST}: unexpected or missing columns: {missing or found}"
            )
        table = file.read()
        for name in table.column_names:
            if count := table[name].null_count:
                raise ValueError(
                    f"{paths.MANIFEST}: {count} values of {name} are missing"
                )
        return table

    def rows(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield each row of the manifest as a tuple of the given columns."""
        return zip(*(self.manifest[name].to_pylist() for name in columns), strict=True)

    @property
    def num_images(self) -> int:
        """The number of written images."""
        return int(self.manifest.num_rows)

    @functools.cached_property
    def formats(self) -> tuple[str, ...]:
        """The formats of the dataset; the manifest refers to files of the first."""
        found = self.recipe["formats"]
        if unknown := sorted(set(found) - set(formats.FORMATS)):
            raise ValueError(f"{paths.RECIPE}: unknown formats {unknown}")
        return tuple(found)

    @functools.cached_property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits with selected images, sorted."""
        failed = {failure.split for failure in self.failures}
        return tuple(sorted(failed | set(self.manifest["split"].unique().to_pylist())))

    @functools.cached_property
    def num_chosen(self) -> dict[str, int]:
        """Number of selected images of each split, whether written or failed."""
        counts = dict.fromkeys(self.splits, 0)
        for split in self.manifest["split"].to_pylist():
            counts[split] += 1
        for failure in self.failures:
            counts[failure.split] += 1
        return counts

    @functools.cached_property
    def num_shards(self) -> dict[str, int]:
        """Expected number of shards of each split."""
        most = self.recipe["images_per_shard"]
        return {
            split: dataset_plan.count_shards(split, chosen, most)
            for split, chosen in self.num_chosen.items()
        }

    def locate_shard(self, format_name: str, *, split: str, shard: int) -> str:
        """Return the path of a shard's file, relative to the dataset.

        Args:
          format_name: a format with one file per shard.
          split: split of the shard.
          shard: number of the shard, from 0.
        """
        where = Shard(split, shard, self.num_shards[split])
        return str(formats.load(format_name).shard_path(self.recipe["name"], where))

    def locate_image(
        self, format_name: str, *, split: str, shard: int, label: int, key: str
    ) -> str:
        """Return the path of the file that contains an image in one of the formats.

        Args:
          format_name: one of `formats`.
          split: split of the image.
          shard: number of the image's shard, from 0.
          label: label of the image's group.
          key: key of the image.
        """
        return formats.locate_image(
            format_name,
            dataset_name=self.recipe["name"],
            shard=Shard(split, shard, self.num_shards[split]),
            folder=self.table.folders[label],
            file_name=f"{key}.JPEG",
        )


@dataclass
class FileResults:
    """The results of reading all files of a dataset.

    Attributes:
      dataset: the dataset.
      checked: results by path, for the files of the commit mark that exist.
      digests: SHA-256 of each manifest row's image, in order, "" if its file is not
        intact; `check_images` sets them.
    """

    dataset: DatasetFiles
    checked: Mapping[str, CheckedFile]
    digests: list[str] = field(default_factory=list)

    def is_intact(self, path: str) -> bool:
        """Return whether a file exists and has the checksum in the commit mark."""
        expected = self.dataset.mark.files.get(path)
        return path in self.checked and self.checked[path].sha256 == expected

    def list_damaged(self, format_name: str) -> list[str]:
        """List the damaged or missing files that affect readers of a format.

        Only the format's image files and all sidecars are considered.
        """
        others = [formats.load(n) for n in self.dataset.formats if n != format_name]
        return [
            path
            for path in self.dataset.mark.files
            if not self.is_intact(path)
            and all(module.find_split(path) is None for module in others)
        ]
