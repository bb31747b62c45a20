"""Make official training archives of any size from some hundred photographs."""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tests import making
from tests.benchmarks.settings import Settings
from transforms.formats.webdataset import make_member
from transforms.layouts.official_archives import TRAIN

_SIDE = 64  # pixels of small images


def make_archive(settings: Settings, num_images: int) -> Path:
    """Write the photographs repeatedly under different names; return the folder.

    An archive that an earlier benchmark of the same size wrote is reused.
    """
    photographs = settings.find_photographs()
    folder = settings.work / f"photographs_{num_images}"
    archive = folder / TRAIN
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = archive.with_suffix(".part")
        _write(unfinished, photographs, num_images)
        unfinished.rename(archive)
    _warm(archive)
    return folder


def shrink(settings: Settings) -> Settings:
    """Write thumbnails of the photographs; return settings that use them."""
    folder = settings.work / "small"
    for path in settings.find_photographs():
        place = folder / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.convert("RGB").resize((_SIDE, _SIDE)).save(place, "JPEG")
    return dataclasses.replace(settings, work=folder, photographs=folder)


def _write(path: Path, photographs: Sequence[Path], num_images: int) -> None:
    each, more = divmod(num_images, len(photographs))
    with path.open("wb") as file:
        for position, photograph in enumerate(photographs):
            wnid, data = photograph.parent.name, photograph.read_bytes()
            numbers = range(1, each + (position < more) + 1)
            images = {f"{wnid}_{number}.JPEG": data for number in numbers}
            if images:
                file.write(make_member(f"{wnid}.tar", making.tar_bytes(images)))
        file.write(bytes(1024))


def _warm(path: Path) -> None:
    """Read a file into the page cache, so that both sides start equal."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def make_class_archives(settings: Settings, num_images: int) -> Path:
    """Extract the class archives of an archive as files; return the folder."""
    folder = settings.work / f"class_archives_{num_images}"
    if not folder.exists():
        archive = make_archive(settings, num_images) / TRAIN
        making.write_files(folder, making.read_tar(archive))
    return folder
