"""Create rows and files of learning curves, as `pipelines.train` writes them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from transforms.evaluation.curves import LocatedRow
from transforms.training import curves as training_curves
from transforms.training.curves import CurveRow

FULL_ID, SUBSET_ID = "f" * 64, "a" * 64


def rows(
    accuracies: Mapping[str, Sequence[float]],
    *,
    subset_id: str = FULL_ID,
    train_images: int = 1000,
    validation_images: int = 10_000,
    seed: int = 0,
    learning_rate: float = 0.1,
    epochs: int | None = None,
) -> list[CurveRow]:
    """Return the rows of one run of each model."""
    return [
        CurveRow(
            dataset="full" if subset_id == FULL_ID else "small",
            subset_id=subset_id,
            model=model,
            seed=seed,
            learning_rate=learning_rate,
            epoch=epoch,
            epochs=epochs or len(curve),
            train_images=train_images,
            validation_images=validation_images,
            validation_accuracy=accuracy,
            seconds=1.5,
        )
        for model, curve in accuracies.items()
        for epoch, accuracy in enumerate(curve, 1)
    ]


def locate(rows: Iterable[CurveRow], path: str = "curves.csv") -> list[LocatedRow]:
    """Add the path of a file to rows."""
    return [LocatedRow(row, path) for row in rows]


def write(path: Path, rows: Iterable[CurveRow]) -> str:
    """Write a file of curves; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(training_curves.to_csv(rows))
    return str(path)
