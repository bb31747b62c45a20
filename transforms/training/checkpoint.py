"""What training at one learning rate has reached ↔ one file, renewed every epoch."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.records import JobError
from transforms.training.curves import CurveRow

FOLDER = ".training"  # in the folder of the results, until they are there


@dataclass(frozen=True, kw_only=True, eq=False)
class Progress:
    """The end of an epoch.

    Attributes:
      rows: of all epochs so far.
      state: all that the next epoch depends on.
      outputs: what the model said of the images to validate on, shape (images,
        classes).
    """

    rows: tuple[CurveRow, ...]
    state: Sequence[npt.NDArray]
    outputs: npt.NDArray[np.float32]


def path_of(folder: str, number: int) -> Path:
    """Return where the run at one of the learning rates is kept."""
    return Path(folder, FOLDER, f"rate_{number}.npz")


def write(path: Path, reached: Progress) -> None:
    """Write it; the file is whole or as it was before."""
    rows = np.frombuffer(json.dumps(reached.rows).encode(), np.uint8)
    temporary = path.with_name(f".{path.name}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("wb") as file:
        np.savez(file, rows, reached.outputs, *reached.state)
    temporary.replace(path)


def read(path: Path) -> Progress | None:
    """Read it; None when no epoch has ended.

    Raises: JobError: the file is broken.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            rows, outputs, *state = (file[f"arr_{n}"] for n in range(len(file.files)))
        return Progress(
            rows=tuple(CurveRow(*row) for row in json.loads(rows.tobytes())),
            state=state,
            outputs=outputs,
        )
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise JobError(
            f"{path}: is broken ({error}); remove its folder to train from the start"
        ) from error
