"""Identify the actual type of a misnamed file by its first bytes."""

from transforms import storage
from transforms.records import DataError

_NUM_BYTES = 512
_REMEDY = "decompress it first"
_SIGNATURES = {
    b"\x1f\x8b": f"gzip data; {_REMEDY} (gunzip)",
    b"\x28\xb5\x2f\xfd": f"Zstandard data; {_REMEDY} (unzstd)",
    b"\xfd7zXZ\0": f"xz data; {_REMEDY} (unxz)",
    b"BZh": f"bzip2 data; {_REMEDY} (bunzip2)",
    b"Rar!": "a RAR archive; extract it (unrar x)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; extract it (7z x)",
    b"PK\3\4": "a zip archive; name it .zip",
    b"PAR1": "a Parquet file",
    b"\xff\xd8\xff": "a JPEG image",
    b"version https://git-lfs": "a Git LFS pointer, not the file; run git lfs pull",
}
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
    for signature, what in _SIGNATURES.items():
        if start.startswith(signature):
            return what
    if start.lstrip().lower().startswith(_PAGES):
        return "a web page, perhaps a login page; download the file again"
    return ""


def explain(path: str) -> str:
    """Return " (it is TYPE)" to append to an error message; "" if unknown."""
    what = describe(path)
    return f" (it is {what})" if what else ""
