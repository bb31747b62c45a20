"""Create images, archives and folders for tests."""

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageCms

from transforms.miniature import drawing

WNID = "n02088364"
GIANT_EXIF = b"Exif\0\0" + b"MM\0*" + bytes(range(256)) * 255  # invalid content


def picture(
    number: int = 1, *, size: tuple[int, int] = (96, 72), mode: str = "RGB"
) -> Image.Image:
    """Draw an image of exactly this size."""
    return drawing.draw_image(WNID, number, size=size).resize(size).convert(mode)


def encode(image: Image.Image, kind: str = "JPEG", **settings: Any) -> bytes:
    """Encode an image with Pillow; settings are passed to `save`."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def jpeg_bytes(
    number: int = 1,
    *,
    size: tuple[int, int] = (96, 72),
    mode: str = "RGB",
    quality: int = 90,
    **settings: Any,
) -> bytes:
    """Return a JPEG file of a drawn image."""
    image = picture(number, size=size, mode=mode)
    return encode(image, quality=quality, **settings)


def cmyk_jpeg(image: Image.Image) -> bytes:
    """Return an inverted CMYK JPEG with an Adobe marker, as in ImageNet."""
    return encode(image.convert("CMYK"))


def png_named_jpeg(image: Image.Image) -> bytes:
    """Return a PNG file."""
    return encode(image, "PNG")


def greyscale_jpeg(image: Image.Image) -> bytes:
    """Return a greyscale JPEG."""
    return encode(image.convert("L"))


def turned_jpeg(image: Image.Image) -> bytes:
    """Return a JPEG that is rotated according to its EXIF orientation (6)."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encode(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


def giant_exif_jpeg(image: Image.Image) -> bytes:
    """Return a JPEG whose EXIF segment is nearly 64 KiB of invalid data."""
    return encode(image, exif=GIANT_EXIF)


def profiled_jpeg(image: Image.Image) -> bytes:
    """Return a JPEG with an ICC profile."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    undated = profile[:24] + bytes(12) + profile[36:]
    return encode(image, icc_profile=undated)


# Unusual images that ImageNet contains too, in the fixture `mini_imagenet`, by key.
CONVERSIONS: dict[str, Callable[[Image.Image], bytes]] = {
    "n02088364_3": cmyk_jpeg,
    "n02088364_7": turned_jpeg,
    "n02099601_5": png_named_jpeg,
    "n02123159_2": greyscale_jpeg,
    "n02123394_11": giant_exif_jpeg,
    "n07747607_4": profiled_jpeg,
    "ILSVRC2012_val_00000008": greyscale_jpeg,
}


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a tar archive with these members in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(members))
    return path


def tar_bytes(members: Mapping[str, bytes]) -> bytes:
    """Return a tar archive with these members in this order."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def read_tar(source: Path | bytes) -> dict[str, bytes]:
    """Read all files of a tar archive in order."""
    data = source if isinstance(source, bytes) else source.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar]
        return {name: file.read() for name, file in files if file is not None}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files to a folder under their relative names."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read_labels(path: Path) -> dict[str, str]:
    """Read LOC_val_solution.csv; return the wnid of each stem."""
    rows = path.read_text().splitlines()[1:]
    return {row.split(",")[0]: row.split(",")[1].split()[0] for row in rows}
