"""The directory of a finished dataset → what its files say, each read when first asked.

Whatever is damaged raises where it is needed, so that one check fails and not all.
"""

import csv
import functools
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
    """What complete.json says."""

    subset_id: str
    files: Mapping[str, str]  # path → sha256


@dataclass
class DatasetFiles:
    """A dataset that is being verified."""

    directory: str
    num_threads: int = 1
    # sha256 of each manifest row's image, in order; found when images are decoded
    digests: list[bytes] = field(default_factory=list)

    def read(self, path: str) -> bytes:
        """Read a sidecar, which is never large."""
        place = f"{self.directory}/{path}"
        if (size := storage.num_bytes(place)) > _MAX_SIDECAR_BYTES:
            raise ValueError(f"{path} has {size} bytes, which no sidecar has")
        return storage.read(place)

    @property
    def num_readers(self) -> int:
        """How many threads read and make something of it."""
        return storage.num_readers(self.num_threads, [self.directory])

    @functools.cached_property
    def sizes(self) -> dict[str, int | None]:
        """The size of everything that lies there; None if it is no file."""
        return dict(storage.list_sizes(self.directory))

    def read_json(self, path: str) -> dict[str, Any]:
        """Read a sidecar that is a JSON object."""
        try:
            value = json.loads(self.read(path))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise TypeError(f"{path} is not a JSON object")
        return value

    @functools.cached_property
    def mark(self) -> CommitMark:
        """The commit mark, well-formed; its paths stay in the directory."""
        value = self.read_json(paths.COMPLETE)
        files = value.get("files")
        if value.keys() != {"subset_id", "files"} or not isinstance(files, dict):
            raise ValueError(
                f"{paths.COMPLETE} must hold subset_id and files, nothing else"
            )
        for name, checksum in [("subset_id", value["subset_id"]), *files.items()]:
            if not isinstance(checksum, str) or not SHA256.fullmatch(checksum):
                raise ValueError(f"{paths.COMPLETE}: {name} is {checksum!r}, no sha256")
        for path in files:
            parts = PurePosixPath(path).parts
            if not parts or path != "/".join(parts) or ".." in parts or "\0" in path:
                raise ValueError(
                    f"{paths.COMPLETE}: {path!r} is no path in the dataset"
                )
        return CommitMark(value["subset_id"], files)

    @functools.cached_property
    def recipe(self) -> dict[str, Any]:
        """How the dataset was made."""
        return self.read_json(paths.RECIPE)

    @functools.cached_property
    def image_settings(self) -> ImageSettings:
        """How the pictures were made."""
        names = (f.name for f in fields(ImageSettings))
        return ImageSettings(**{name: self.recipe["images"][name] for name in names})

    @functools.cached_property
    def statistics(self) -> dict[str, Any]:
        """The counts."""
        return self.read_json(paths.STATISTICS)

    @functools.cached_property
    def table(self) -> GroupTable:
        """The groups of all classes of the input."""
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
        """The chosen images that could not be used."""
        data = self.read(paths.FAILURES)
        failures = manifest.read_failures(data)
        if manifest.write_failures(failures) != data:
            raise ValueError(f"{paths.FAILURES} is not as it was written")
        return failures

    @functools.cached_property
    def manifest(self) -> pa.Table:
        """The written images, in order."""
        path = f"{self.directory}/{paths.MANIFEST}"
        if not (found := pq.read_schema(storage.for_arrow(path))).equals(
            manifest.SCHEMA
        ):
            missing = sorted(set(manifest.SCHEMA.names) ^ set(found.names))
            raise ValueError(
                f"{paths.MANIFEST}: the columns are others: {missing or found}"
            )
        table = pq.read_table(storage.for_arrow(path))
        for name in table.column_names:
            if count := table[name].null_count:
                raise ValueError(
                    f"{paths.MANIFEST}: {count} values of {name} are missing"
                )
        return table

    def rows(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield these columns of the manifest, row by row."""
        return zip(*(self.manifest[name].to_pylist() for name in columns), strict=True)

    @property
    def num_images(self) -> int:
        """How many images were written."""
        return int(self.manifest.num_rows)

    @functools.cached_property
    def formats(self) -> tuple[str, ...]:
        """What was written, the manifest's format first."""
        found = self.recipe["formats"]
        if unknown := sorted(set(found) - set(formats.FORMATS)):
            raise ValueError(f"{paths.RECIPE}: unknown formats {unknown}")
        return tuple(found)

    @functools.cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits of the chosen images."""
        failed = {failure.split for failure in self.failures}
        return tuple(sorted(failed | set(self.manifest["split"].unique().to_pylist())))

    @functools.cached_property
    def num_chosen(self) -> dict[str, int]:
        """Count the chosen images of each split."""
        counts = dict.fromkeys(self.splits, 0)
        for split in self.manifest["split"].to_pylist():
            counts[split] += 1
        for failure in self.failures:
            counts[failure.split] += 1
        return counts

    @functools.cached_property
    def num_shards(self) -> dict[str, int]:
        """Count the shards that each split must have."""
        most = self.recipe["images_per_shard"]
        return {
            split: dataset_plan.count_shards(split, chosen, most)
            for split, chosen in self.num_chosen.items()
        }

    def locate_shard(self, format_name: str, *, split: str, shard: int) -> str:
        """Return the file of a shard, in a format that writes one per shard."""
        where = Shard(split, shard, self.num_shards[split])
        return str(formats.load(format_name).shard_path(self.recipe["name"], where))

    def locate_image(
        self, format_name: str, *, split: str, shard: int, label: int, key: str
    ) -> str:
        """Return the file that holds an image in a format.

        Args:
          format_name: one of `formats`.
          split: the image's split.
          shard: the number of the image's shard.
          label: the image's group.
          key: the image's key.
        """
        return formats.locate_image(
            format_name,
            dataset_name=self.recipe["name"],
            shard=Shard(split, shard, self.num_shards[split]),
            folder=self.table.folders[label],
            file_name=f"{key}.JPEG",
        )
