"""Read class folders and number them as torchvision and Keras do.

Both libraries sort the folder names of a split and use the position as the label. timm
sorts in natural order (2 before 10), so both orders must agree.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from transforms.formats.folders import split_folder
from transforms.verification.readers import ReadImage

FORMAT = "folders"
LIBRARY = ""
NAMES_ARE_FOLDERS = True


def read_names(directory: str) -> Sequence[str] | None:
    """Return the folder names in the first split; None if there are no splits."""
    roots = _list_folders(Path(directory, "folders"))
    return [folder.name for folder in _list_folders(roots[0])] if roots else None


def read_images(directory: str, splits: Sequence[str]) -> Iterator[ReadImage]:
    """Read every file of every class folder.

    Raises:
      ValueError: torchvision and timm would number the folders differently.
    """
    for split in splits:
        folders = _list_folders(Path(directory, split_folder(split)))
        names = [folder.name for folder in folders]
        if names != sorted(names, key=_natural):
            raise ValueError(f"timm would number the folders of {split} differently")
        for label, folder in enumerate(folders):
            for path in sorted(folder.iterdir()):
                key = path.name.removesuffix(".JPEG")
                yield ReadImage(
                    split, key, path.read_bytes(), (label,), file_name=path.name
                )


def _list_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.findall(r"\d+|\D+", name.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
