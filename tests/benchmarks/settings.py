"""How large the benchmarks are, and where their files lie."""

import dataclasses
from pathlib import Path


class NotMeasured(Exception):  # noqa: N818  # no error: something is not installed here
    """A benchmark cannot be run here; says what it lacks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The sizes of all benchmarks; the defaults are those of the published table."""

    work: Path  # for large files; only what is made for several benchmarks stays in it
    photographs: Path | None = None  # folder of <wnid>/*.JPEG
    repetitions: int = 5
    images: int = 20_000
    rows: int = 1_281_167  # of an index, as ImageNet's training images
    large_rows: int = 14_197_122  # as the whole of ImageNet, 21,841 classes
    members: int = 200_000
    peer_python: Path = Path(".venv-bench/bin/python")

    def find_photographs(self) -> list[Path]:
        """List the photographs by name.

        Raises: NotMeasured: there are none.
        """
        found = sorted((self.photographs or Path("/nowhere")).glob("*/*.JPEG"))
        if not found:
            raise NotMeasured("needs --photographs, a folder of <wnid>/*.JPEG")
        return found


QUICK = {
    "repetitions": 1,
    "images": 400,
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
    reached: bool | None  # None: reported without a target, or not measured
    figures: dict  # of every repetition
