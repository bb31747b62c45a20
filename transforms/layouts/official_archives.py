"""Read the official tars without extracting them.

The training archive is a tar of class tars, the validation archive a flat tar. A tar of
class folders is supported too.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from transforms import input_warnings, splits, storage
from transforms.archives import tar, tar_headers
from transforms.archives.tar import Member
from transforms.input_warnings import Observation
from transforms.layouts import (
    FoundParts,
    InputPart,
    PartItem,
    is_image_name,
    is_system_file,
    list_entries,
    make_ref,
    parse_class_folder,
    parse_class_tar,
)
from transforms.records import ByteRange, SkippedFile, UsageError

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
LOOKED_FOR = f"{TRAIN} and {VALIDATION}"
READS_HEADERS = True
_SUFFIX = ".tar"
_MEMBERS_SEEN = 8  # enough to recognise an archive
_MAX_ARCHIVES = 8  # more tars in one folder are shards
_LABEL_SUFFIXES = (".cls", ".json", ".txt")  # beside images in shards


def find(path: str) -> FoundParts | None:
    """Find the archives in a folder by name and content, or a single archive.

    Raises:
      UsageError: an archive is damaged, or has other members beside class tars.
    """
    if storage.is_folder(path):
        files = [f"{path}/{name}" for name in _list_archives(path)]
    else:
        files = [path] if _is_archive(path.rpartition("/")[2]) else []
    pieces: list[InputPart] = []
    observations: list[Observation] = []
    skipped: list[str] = []
    for file in files:
        pieces += _find_parts(file, observations, skipped)
    if not pieces:
        return None
    shown = " and ".join(sorted({piece.uri for piece in pieces}))
    return FoundParts(
        description=f"official archives ({shown})",
        pieces=tuple(pieces),
        notes=(f"{len(skipped)} files of operating systems in archives are left out",)
        if skipped
        else (),
        warnings=tuple(input_warnings.summarise(observations)),
    )


def _is_archive(name: str) -> bool:
    return name.lower().endswith(_SUFFIX) and not parse_class_tar(name)


def _list_archives(path: str) -> list[str]:
    """Return the names of the tars in a folder that may contain a whole split."""
    tars = [e.name for e in list_entries(path) if not e.is_folder]
    tars = [name for name in tars if _is_archive(name)]
    stated = [name for name in tars if splits.parse_split(name) in splits.FLAGS]
    if len(stated) > _MAX_ARCHIVES:
        return [name for name in stated if name in {TRAIN, VALIDATION}]
    return stated or (tars if len(tars) == 1 else [])


def _find_parts(
    file: str, observations: list[Observation], skipped: list[str]
) -> Iterator[InputPart]:
    """Yield the parts of an archive; its first members determine its kind.

    Args:
      file: path of the archive.
      observations: receives an observation if the end of the archive is unusual.
      skipped: receives the names of operating system files among the class tars.
    """
    root, _, uri = file.rpartition("/")
    members = tar.read_members(file, observations=[])
    files = (m for m in members if m.is_file and not is_system_file(m.name))
    names = [member.name for member in islice(files, _MEMBERS_SEEN)]
    if not names:
        return
    if names[0].lower().endswith(_SUFFIX):
        yield from _class_pieces(file, observations, skipped)
        return
    images = [name for name in names if is_image_name(name)]
    if not images or any(name.endswith(_LABEL_SUFFIXES) for name in names):
        return
    *above, folder, _ = ("", "", *images[0].split("/"))
    is_labelled = bool(parse_class_folder(folder))
    container = "/".join([uri, *filter(lambda n: n not in {"", "."}, above)])
    yield InputPart(
        layout="official_archives",
        root=root,
        uri=uri,
        container=container if is_labelled else uri,
        split=splits.parse_path(container),
        is_labelled=is_labelled,
        length=storage.num_bytes(file),
    )


def _class_pieces(
    file: str, observations: list[Observation], skipped: list[str]
) -> Iterator[InputPart]:
    """Yield one part per class tar, reading only the headers of the outer archive.

    Args:
      file: path of the outer archive.
      observations: receives an observation if the end of the archive is unusual.
      skipped: receives the names of operating system files among the class tars.

    Raises:
      UsageError: a member is not a class tar.
    """
    root, _, uri = file.rpartition("/")
    for member in tar.read_members(file, observations=observations):
        if is_system_file(member.name):
            skipped.append(member.name)
            continue
        if member.name.endswith("/"):
            continue
        name = PurePosixPath(member.name)
        if not (wnid := parse_class_tar(name.name)):
            raise UsageError(
                f"{file}: {member.name!r} is not a class archive (nXXXXXXXX.tar), "
                "unlike the members of ILSVRC2012's training archive; extract it and "
                "give the folder"
            )
        yield InputPart(
            layout="official_archives",
            root=root,
            uri=uri,
            split=splits.parse_path(f"{uri}/{name.parent}"),
            wnid=wnid,
            offset=member.offset,
            length=member.length,
        )


def read(piece: InputPart) -> Iterator[PartItem]:
    """Yield the images, skipped files and observations of one part.

    A part is a class tar, a flat tar, or a tar of class folders.

    Raises:
      UsageError: the archive is damaged, or has images of several splits.
    """
    observations: list[Observation] = []
    members = tar_headers.read_members(
        piece.path,
        start=piece.offset,
        end=piece.offset + piece.length,
        archive=f"{piece.wnid}.tar" if piece.wnid else piece.uri,
        observations=observations,
    )
    for member in members:
        if member.is_link and is_image_name(member.name):
            yield Observation("links", f"{piece.uri}: {member.name}")
        if member.is_file and not piece.is_labelled:
            yield _make_ref(piece, member)
        elif member.is_file:
            yield _read_labelled(piece, member)
        elif not member.name.endswith("/"):
            yield SkippedFile(piece.uri, member.name)
    yield from observations


def _read_labelled(piece: InputPart, member: Member) -> PartItem:
    """Convert a member of a tar of class folders to an image or another item.

    Raises:
      UsageError: the member belongs to another split than the part.
    """
    above, _, folder = member.name.rpartition("/")[0].rpartition("/")
    if is_system_file(member.name) or not is_image_name(member.name):
        return SkippedFile(piece.uri, member.name)
    stated = splits.parse_path(above)
    if stated == splits.TEST:
        return SkippedFile(piece.uri, member.name)
    if stated and stated != splits.parse_path(piece.container):
        raise UsageError(
            f"{piece.path}: holds images of several splits ({piece.container} and "
            f"{member.name!r}); extract it and give the folder"
        )
    wnid = parse_class_folder(folder)
    if not wnid:
        return Observation("outside_classes", f"{piece.uri}: {member.name}")
    return _make_ref(piece, member, wnid)


def _make_ref(piece: InputPart, member: Member, wnid: str = "") -> PartItem:
    return make_ref(
        piece,
        member.name,
        uri=piece.uri,
        location=ByteRange(member.offset, member.length),
        wnid=wnid,
    )
