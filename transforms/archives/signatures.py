"""Identify the actual type of a misnamed file by its first bytes."""

from transforms import storage
from transforms.records import DataError

_NUM_BYTES = 512
_DECOMPRESS = "decompress it first"
# First bytes of files that are no images: name, and remedy in place of an archive.
FILE_KINDS = {
    b"\x1f\x8b": ("a gzip file", f"{_DECOMPRESS} (gunzip)"),
    b"\x28\xb5\x2f\xfd": ("a Zstandard file", f"{_DECOMPRESS} (unzstd)"),
    b"\xfd7zXZ\0": ("an xz file", f"{_DECOMPRESS} (unxz)"),
    b"BZh": ("a bzip2 file", f"{_DECOMPRESS} (bunzip2)"),
    b"Rar!": ("a RAR archive", "extract it (unrar x)"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "extract it (7z x)"),
    b"PK\3\4": ("a zip archive", "name it .zip"),
    b"PAR1": ("a Parquet file", ""),
    b"version https://git-lfs": (
        "a Git LFS pointer; fetch the file with git lfs pull",
        "",
    ),
}
_JPEG = b"\xff\xd8\xff"
_PAGES = (b"<!doctype html", b"<html", b"<?xml")


def describe(path: str) -> str:
    """Describe a file's type by its first bytes, with a remedy for most types.

    Return "" if the type is unknown or the file cannot be read.
    """
    try:
        length = min(storage.num_bytes(path), _NUM_BYTES)
        start = storage.read_range(path, 0, length)
    except DataError:
        return ""
    if not start:
        return "an empty file"
    for signature, (name, remedy) in FILE_KINDS.items():
        if start.startswith(signature):
            return f"{name}; {remedy}" if remedy else name
    if start.startswith(_JPEG):
        return "a JPEG image"
    if start.lstrip().lower().startswith(_PAGES):
        return "a web page, perhaps a login page; download the file again"
    return ""


def explain(path: str) -> str:
    """Return " (it is TYPE)" to append to an error message; "" if unknown."""
    what = describe(path)
    return f" (it is {what})" if what else ""
