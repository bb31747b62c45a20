"""Identify which published subset a folder, class list or dataset contains."""

import dataclasses
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.cli import exit_codes, parse
from pipelines.input_flags import InputFlags
from pipelines.store_flags import StoreFlags, settle
from transforms import csv_tables, layouts, storage
from transforms.csv_tables import CsvError
from transforms.dataset import paths
from transforms.labels import class_lists, identification
from transforms.options import flag
from transforms.records import UsageError

_GROUPS = "groups.csv"
_WNID = re.compile(r"(?<![a-z0-9])n[0-9]{8}(?![0-9])", re.IGNORECASE)
_MAX_BYTES = 500 * 10**6  # a list of 14 million images
_ARCHIVES = (".tar", ".zip", ".parquet")


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdentifyOptions(StoreFlags):
    """Identify which published subset a folder, class list or dataset contains.

    If none matches, print the nearest subsets and the differences from the first: "-"
    marks a class that the input lacks, "+" a class that the subset lacks. The path can
    be given without its flag:
    python -m pipelines.identify IMAGENET100
    """

    input: str = flag(
        "images (class folders, archives or any other input of pipelines.build), a "
        "built dataset, an index, a table of groups, or a file that contains wnids",
        metavar="PATH",
    )

    def problems(self) -> Iterator[str]:
        """Yield a message for each invalid flag or combination of flags."""
        yield from self.find_store_problems()


def read_groups(path: str) -> Mapping[str, str]:
    """Return the group of each class of an input; without groups, the class itself.

    Raises:
      UsageError: the path is missing, or no classes can be read from it.
    """
    if not storage.exists(path):
        raise UsageError(f"{path}: no such file or folder")
    if storage.is_folder(path):
        for name in (paths.GROUPS, _GROUPS):
            if storage.exists(f"{path}/{name}"):
                return _read_file(f"{path}/{name}")
        return _read_images(path)
    return _read_images(path) if path.endswith(_ARCHIVES) else _read_file(path)


def _read_images(path: str) -> Mapping[str, str]:
    """Return the classes of images, by folder names if possible, else by indexing."""
    wnids: set[str] = set()
    if not path.endswith(_ARCHIVES):
        found = layouts.find(storage.absolute(path))
        wnids = {piece.wnid for part in found for piece in part.pieces} - {""}
    if not wnids:
        wnids = set(_list_indexed(path))
    return {wnid: wnid for wnid in wnids}


def _list_indexed(path: str) -> Sequence[str]:
    """Index the images and return their classes."""
    from pipelines.index import resolve_input

    try:
        with tempfile.TemporaryDirectory() as scratch:
            _, inventory = resolve_input([path], InputFlags(), scratch)
            inventory.check_usable()
            return inventory.wnids()
    except UsageError as error:  # the path is usually given without its flag
        raise UsageError(str(error).replace(f"--input {path}", path)) from None


def _read_file(path: str) -> Mapping[str, str]:
    """Return the classes in a file, with their groups if it is a table of groups.

    Any other file is a text that contains wnids anywhere, or one class name per line.

    Raises:
      UsageError: the file is unreadable or contains no classes.
    """
    try:
        text = csv_tables.read_text(path, max_bytes=_MAX_BYTES)
        delimiter = csv_tables.DELIMITERS.get(Path(path).suffix.lower(), ",")
        header = text.partition("\n")[0].strip().split(delimiter)
        if "wnid" in header and {"group", "group_name"} & set(header):
            return _read_table(text, delimiter)
    except CsvError as error:
        raise UsageError(f"{path}: {error}") from None
    if wnids := {match.lower() for match in _WNID.findall(text)}:
        return {wnid: wnid for wnid in wnids}
    try:
        return {wnid: wnid for wnid in class_lists.read(path) if wnid}
    except UsageError as error:
        reason = str(error).partition("\n")[0].removeprefix(f"--class_list {path}:")
        raise UsageError(
            f"{path}: contains neither wnids nor a class name per line: {reason}"
        ) from None


def _read_table(text: str, delimiter: str) -> Mapping[str, str]:
    header, rows = csv_tables.parse_table(text, delimiter=delimiter)
    by_number = header.index("group" if "group" in header else "group_name")
    groups: dict[str, str] = {}
    for row in rows:
        cells = dict(enumerate(row.cells))
        wnid = cells.get(header.index("wnid"), "").lower()
        if group := cells.get(by_number):  # left-out classes have none
            groups[wnid] = group
    return groups


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    if argv and not argv[0].startswith("-"):
        argv = [f"--input={argv[0]}", *argv[1:]]
    with exit_codes():
        options, _, _ = parse(
            IdentifyOptions,
            argv,
            prog="python -m pipelines.identify",
            takes_beam_flags=False,
        )
        settle(options)
        groups = read_groups(options.input)
        if not groups:
            raise UsageError(f"{options.input}: contains no classes")
        sys.stdout.write("\n".join([*identification.describe(groups), ""]))


if __name__ == "__main__":
    main(sys.argv[1:])
