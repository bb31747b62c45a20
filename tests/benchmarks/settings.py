"""Sizes and folders of the benchmarks, and the rows of their results."""

import dataclasses
from pathlib import Path


class NotMeasured(Exception):  # noqa: N818  # not an error: a requirement is not installed
    """A benchmark cannot run here; the message names what it needs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes of all benchmarks; the defaults are those of the published table."""

    work: Path  # for large files; only inputs that benchmarks share remain in it
    photographs: Path | None = None  # folder of <wnid>/*.JPEG
    repetitions: int = 5
    images: int = 20_000
    tar_images: int = 60_000
    small_rows: int = 50_000
    rows: int = 1_281_167  # of an index: the training images of ImageNet
    large_rows: int = 14_197_122  # the whole of ImageNet, 21,841 classes
    members: int = 200_000
    peer_python: Path = Path(".venv-bench/bin/python")

    def find_photographs(self) -> list[Path]:
        """List the photographs by name.

        Raises:
          NotMeasured: there are none.
        """
        photographs = sorted((self.photographs or Path("/nowhere")).glob("*/*.JPEG"))
        if not photographs:
            raise NotMeasured("needs --photographs, a folder of <wnid>/*.JPEG")
        return photographs


QUICK = {
    "repetitions": 1,
    "images": 400,
    "tar_images": 600,
    "small_rows": 6_000,
    "rows": 60_000,
    "large_rows": 240_000,
    "members": 4_000,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    target: str
    reached: bool | None  # None: no target, or not measured
    figures: dict  # of every repetition
