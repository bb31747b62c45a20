"""Describe an unrecognised input folder or file and suggest a remedy."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from transforms import storage
from transforms.archives import signatures, tar
from transforms.records import UsageError, list_names
from transforms.storage import Entry

_SHOWN = 3
_MAX_KINDS = 4
_MAX_DEPTH = 3
_UNFINISHED = (
    r"\.(part|partial|aria2|crdownload|download|filepart|opdownload|incomplete|!qb|!ut)"
)
_COMPRESSED = r"(\.tar\.(gz|xz|bz2|zst|lz4|lzma|z)|\.(tgz|txz|tbz2?|tzst))"
_SPLIT_ARCHIVE = r"(\.(tar|zip|7z)\.(part-?)?([a-z]{2}|\d+)|\.z\d\d|\.part\d+\.rar)"
# Pattern of names → what such files are, and what to do.
_REMEDIES = {
    rf".*{_UNFINISHED}": "unfinished downloads: finish or repeat them",
    rf".*{_COMPRESSED}": "compressed tars: decompress them (gunzip, unxz, unzstd)",
    rf".*{_SPLIT_ARCHIVE}": "pieces of a split archive: join them (cat NAME.tar.* > "
    "NAME.tar, or zip -s 0)",
    r".*\.(rar|7z)": "archives that are not read: extract them",
    r".*\.beton": "FFCV's files, which hold no original images",
    r"(data|lock)\.mdb": "an LMDB database: export its images to class folders",
    r".*\.(rec|idx|lst)": "MXNet's RecordIO: export its images to class folders",
    r".*\.arrow": "Hugging Face's cache: export it with Dataset.to_parquet",
    r"(train|val)_data(_batch_\d+)?(\.npz)?": "the down-sampled ImageNet in arrays, "
    "which has no original images",
    r".*\.(npz|npy|pkl|pt|h5|hdf5)": "arrays, which hold no original images",
    r"(.*\.tfrecords?|(train|validation)-\d{5}-of-\d{5})": "TFRecords that are not "
    "named as those of TensorFlow Datasets: NAME-train.tfrecord-00000-of-01024",
}
_ARCHIVE = re.compile(
    rf".*(\.(tar|zip|rar|7z|parquet|arrow|tfrecord[^.]*)|{_COMPRESSED}|{_SPLIT_ARCHIVE})"
    rf"({_UNFINISHED})?",
    re.IGNORECASE,
)


def is_archive(name: str) -> bool:
    """Return whether a name is that of an archive, even unsupported or unfinished."""
    return _ARCHIVE.fullmatch(name) is not None


def list_unfinished(names: Sequence[str]) -> dict[str, str]:
    """Map each file with an unfinished download to its partial file.

    For example, `a.tar.part` gives {"a.tar": "a.tar.part"}.
    """
    pattern = re.compile(rf"(.*){_UNFINISHED}", re.IGNORECASE)
    return {m[1]: m[0] for name in names if (m := pattern.fullmatch(name))}


def describe(path: str, depth: int = 0) -> str:
    """Describe the contents of a folder or file and suggest remedies.

    Args:
      path: path of the folder or file.
      depth: recursion depth; a folder with a single subfolder is described with it.
    """
    if not storage.is_folder(path):
        return "; ".join(_describe_file(path)) or "it is a file of an unknown kind"
    entries = storage.list_folder(path)
    described = [f"{'it' if not depth else path} contains {_count(entries)}"]
    if len(entries) == 1 and entries[0].is_folder and depth < _MAX_DEPTH:
        described.append(describe(f"{path}/{entries[0].name}", depth + 1))
    return "; ".join([*described, *find_remedies(entries)])


def _describe_file(path: str) -> Iterator[str]:
    name = path.rpartition("/")[2]
    remedies = find_remedies([Entry(name, is_folder=False, num_bytes=0)])
    what = signatures.describe(path)
    if remedies or what:
        yield from remedies or [f"it is {what}"]
    elif name.lower().endswith(".tar"):
        try:
            members = tar.read_members(path, observations=[])
            names = [member.name for member in islice(members, _SHOWN)]
        except UsageError as error:
            yield str(error)
            return
        yield f"its first members are {list_names(map(repr, names)) or 'missing'}"
        if any(map(is_archive, names)):
            yield "extract the archive"


def _count(entries: Sequence[Entry]) -> str:
    """Describe the number of entries of each kind, with examples."""
    kinds: dict[str, list[str]] = {}
    for entry in entries:
        _, dot, suffix = entry.name.rpartition(".")
        kind = f"{dot}{suffix} files" if dot else "files without a suffix"
        kinds.setdefault("folders" if entry.is_folder else kind, []).append(entry.name)
    shown = sorted(
        kinds.items(), key=lambda item: (item[0] != "folders", -len(item[1]))
    )
    texts = [
        f"{len(names)} {kind} ({list_names(names, _SHOWN)})"
        for kind, names in shown[:_MAX_KINDS]
    ]
    if num_others := sum(len(names) for _, names in shown[_MAX_KINDS:]):
        texts.append(f"{num_others} other files")
    return " and ".join(texts) or "nothing"


def find_remedies(entries: Sequence[Entry]) -> list[str]:
    """Return a line "FILES: REMEDY" for each known kind of unsupported file."""
    remedies = []
    names = [entry.name for entry in entries if not entry.is_folder]
    for pattern, remedy in _REMEDIES.items():
        compiled = re.compile(pattern, re.IGNORECASE)
        matches = [name for name in names if compiled.fullmatch(name)]
        names = [name for name in names if name not in set(matches)]
        if matches:
            remedies.append(f"{list_names(matches, _SHOWN)}: {remedy}")
    return remedies
