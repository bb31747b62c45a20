"""Write the miniature ImageNet: drawn images in the layout of the official archives."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from transforms import storage
from transforms.labels.validation import KAGGLE_TABLE
from transforms.layouts.official_archives import TRAIN, VALIDATION
from transforms.miniature import drawing

CLASSES = (  # related classes are adjacent, so that the first few include pairs
    "n02088364",  # beagle
    "n02099601",  # golden retriever
    "n02123394",  # Persian cat
    "n02123159",  # tiger cat
    "n07747607",  # orange
    "n07742313",  # Granny Smith
    "n03100240",  # convertible
    "n04285008",  # sports car
    "n01558993",  # robin
    "n01580077",  # jay
    "n01443537",  # goldfish
    "n01484850",  # great white shark
    "n02676566",  # acoustic guitar
    "n03272010",  # electric guitar
    "n04147183",  # schooner
    "n04612504",  # yawl
    "n01641577",  # bullfrog
    "n01644373",  # tree frog
    "n02279972",  # monarch butterfly
    "n02281406",  # sulphur butterfly
    "n07734744",  # mushroom
    "n12998815",  # agaric
    "n11939491",  # daisy
    "n09472597",  # volcano
)
_FIRST_VALIDATION = 1_000_000  # number of an image; above those of training images
_JPEG_QUALITY = 90


class _Image(NamedTuple):
    """An image file of an archive: its name, class and number within the class."""

    name: str
    wnid: str
    number: int


def ensure_miniature(
    folder: str, *, num_classes: int, num_train: int, num_validation: int, seed: int = 0
) -> None:
    """Write the miniature ImageNet unless all of its files exist.

    A complete miniature is kept even if it was written with other arguments.

    Args:
      folder: folder to write to; created if missing.
      num_classes: number of classes, the first of `CLASSES`.
      num_train: number of training images per class.
      num_validation: number of validation images per class.
      seed: random seed of the drawings.
    """
    if not all(
        Path(folder, name).is_file() for name in (TRAIN, VALIDATION, KAGGLE_TABLE)
    ):
        write_miniature(
            folder,
            num_classes=num_classes,
            num_train=num_train,
            num_validation=num_validation,
            seed=seed,
        )


def write_miniature(
    folder: str, *, num_classes: int, num_train: int, num_validation: int, seed: int = 0
) -> None:
    """Write the training and validation archives, and the validation labels.

    Equal arguments give identical files. Each file is written atomically.

    Args:
      folder: folder to write to; created if missing.
      num_classes: number of classes, the first of `CLASSES`.
      num_train: number of training images per class.
      num_validation: number of validation images per class.
      seed: random seed of the drawings.

    Raises:
      ValueError: `num_classes` is not between 1 and the length of `CLASSES`.
    """
    if not 0 < num_classes <= len(CLASSES):
        raise ValueError(f"num_classes={num_classes}: must be 1 to {len(CLASSES)}")
    wnids = CLASSES[:num_classes]
    validation = list(_list_validation(wnids, num_validation))
    rows = [f"{Path(i.name).stem},{i.wnid} 0 0 1 1\n" for i in validation]
    labels = "ImageId,PredictionString\n" + "".join(rows)
    storage.write(folder, KAGGLE_TABLE, labels.encode())
    storage.write(folder, VALIDATION, _pack(_draw(validation, seed)))
    archives = _draw_class_archives(wnids, num_train, seed)
    storage.write(folder, TRAIN, _pack(archives))


def _list_validation(wnids: tuple[str, ...], num_images: int) -> Iterator[_Image]:
    """Yield the validation images, `num_images` per class, in alternating classes."""
    for position in range(num_images * len(wnids)):
        turn, place = divmod(position, len(wnids))
        name = f"ILSVRC2012_val_{position + 1:08d}.JPEG"
        yield _Image(name, wnids[place], _FIRST_VALIDATION + turn)


def _draw(images: list[_Image], seed: int) -> Iterator[tuple[str, bytes]]:
    for image in images:
        file = io.BytesIO()
        drawn = drawing.draw_image(image.wnid, image.number, seed=seed)
        drawn.save(file, "JPEG", quality=_JPEG_QUALITY)
        yield image.name, file.getvalue()


def _draw_class_archives(
    wnids: tuple[str, ...], num_images: int, seed: int
) -> Iterator[tuple[str, bytes]]:
    for wnid in sorted(wnids):
        numbers = range(1, num_images + 1)
        images = [_Image(f"{wnid}_{number}.JPEG", wnid, number) for number in numbers]
        yield f"{wnid}.tar", _pack(_draw(images, seed))


def _pack(members: Iterator[tuple[str, bytes]]) -> bytes:
    """Pack (name, data) pairs into a tar file in memory, without timestamps."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)  # no time, no owner
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()
