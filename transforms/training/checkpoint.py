"""Write and read checkpoints: one file per learning rate, replaced in every epoch."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from transforms.records import JobError
from transforms.training.curves import CurveRow

FOLDER = ".training"  # in the output folder, until the results are complete


@dataclass(frozen=True, kw_only=True, eq=False)
class Progress:
    """The state of a run at the end of an epoch.

    Attributes:
      rows: rows of curves.csv for all epochs so far.
      state: values of all variables that the next epoch depends on.
      outputs: predicted probabilities of the validation images after the last epoch,
        shape (images, classes).
    """

    rows: tuple[CurveRow, ...]
    state: Sequence[npt.NDArray]
    outputs: npt.NDArray[np.float32]


def path_of(folder: str, number: int) -> Path:
    """Return the path of the checkpoint for learning rate `number`, counted from 0."""
    return Path(folder, FOLDER, f"rate_{number}.npz")


def write(path: Path, progress: Progress) -> None:
    """Write a checkpoint atomically."""
    rows = np.frombuffer(json.dumps(progress.rows).encode(), np.uint8)
    temporary = path.with_name(f".{path.name}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("wb") as file:
        np.savez(file, rows, progress.outputs, *progress.state)
    temporary.replace(path)


def read(path: Path) -> Progress | None:
    """Read a checkpoint; return None if no epoch has finished.

    Raises:
      JobError: the file is damaged.
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
            f"{path}: is damaged ({error}); remove its folder to restart training"
        ) from error
