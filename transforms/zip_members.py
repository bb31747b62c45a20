"""The path of a small file in a zip, archive.zip/member → what it holds."""

from transforms import storage
from transforms.image_bytes import inflate
from transforms.records import DataError, UsageError
from transforms.zips import SUFFIX, DataFinder, find_directory, read_entries

_MAX_BYTES = 1 << 26  # of a table of labels


def is_inside(path: str) -> bool:
    """Tell whether a path names a member of a zip: archive.zip/member."""
    return f"{SUFFIX}/" in path.lower() and not storage.exists(path)


def read(path: str) -> bytes:
    """Read a small member whole.

    Raises: UsageError: it is not there, too large or damaged.
    """
    end = path.lower().rindex(f"{SUFFIX}/") + len(SUFFIX)
    archive, name = path[:end], path[end + 1 :]
    directory = find_directory(archive)
    for entry in read_entries(archive, directory.start, directory.end):
        if entry.name == name.encode():
            member = DataFinder(archive).find(entry, None)
            if max(entry.compressed, entry.size) > _MAX_BYTES:
                raise UsageError(f"{path}: is too large for what it should be")
            try:
                data = storage.read_range(archive, member.offset, member.length)
                return inflate(data) if member.is_deflated else data
            except DataError as error:
                raise UsageError(f"{path}: {error}") from error
    raise UsageError(f"{path}: no such member of the zip")
