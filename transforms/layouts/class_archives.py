"""Class archives: the training archive extracted once, to a folder of nXXXXXXXX.tar."""

from collections.abc import Iterator
from pathlib import Path

from transforms import storage
from transforms.layouts import official_archives
from transforms.pieces import WNID, Found, Piece
from transforms.records import ImageRef, Stray


def find(path: str) -> Found | None:
    """Recognise a folder of class archives, perhaps in `train/`, or one of them."""
    place = Path(path)
    if place.is_file():
        folder, files = place.parent, [place]
    else:
        folder = place / "train" if any(place.glob("train/n*.tar")) else place
        files = sorted(folder.glob("n*.tar"))
    files = [f for f in files if f.suffix == ".tar" and WNID.fullmatch(f.stem)]
    if not files:
        return None
    root = place if place.is_dir() else place.parent
    pieces = [
        Piece(
            layout="class_archives",
            root=str(root),
            uri=file.relative_to(root).as_posix(),
            split="train",
            wnid=file.stem,
            length=storage.num_bytes(str(file)),
        )
        for file in files
    ]
    return Found(
        description=f"class archives ({len(files)} in {folder})", pieces=tuple(pieces)
    )


def read(piece: Piece) -> Iterator[ImageRef | Stray]:
    """Yield the images of one class archive."""
    return official_archives.read(piece)
