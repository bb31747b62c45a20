"""Read the final accuracies of the models on a set, and which images they get right."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.commands import Places, Training
from transforms import storage
from transforms.arrays import FloatArray
from transforms.evaluation import correctness, designed
from transforms.evaluation.correctness import SetCorrectness
from transforms.evaluation.designed import FinalAccuracies
from transforms.records import UsageError

FOLDER = "correctness"


class Measurements(NamedTuple):
    """Measurements of one set.

    Attributes:
      finals: final accuracies of all models.
      by_seed: the correctness of all models, for each seed in ascending order as in
        `finals`; empty if it is unknown for any seed.
    """

    finals: FinalAccuracies
    by_seed: tuple[SetCorrectness, ...]

    @property
    def balanced(self) -> FloatArray | None:
        """Accuracies over groups with equal weight, (seeds, models), or None."""
        if not self.by_seed:
            return None
        return np.stack([one.balance() for one in self.by_seed])

    def measure_on(self, other: "Measurements") -> FloatArray | None:
        """Return the accuracies on the validation images of another set.

        Returns:
          Shape (seeds, models); None if any correctness or image is unknown.
        """
        if not self.by_seed or not other.by_seed:
            return None
        keys = other.by_seed[0].keys
        if not all(np.isin(keys, one.keys).all() for one in self.by_seed):
            return None
        rows = [one.measure_on(keys.tolist()) for one in self.by_seed]
        return np.stack([row for row in rows if row is not None])


def make_recipe(
    name: str,
    factors: Mapping[str, str],
    draws: Sequence[Measurements],
    full: Measurements,
) -> designed.Recipe:
    """Combine the measurements of all draws of a recipe.

    Args:
      name: name of the recipe.
      factors: its level of each factor of the design.
      draws: measurements of the draws.
      full: measurements of the full set.
    """
    num_seen = np.mean([draw.finals.num_images_seen for draw in draws])
    return designed.Recipe(
        name=name,
        factors=factors,
        num_images_seen=round(float(num_seen)),
        accuracies=np.stack([draw.finals.accuracies for draw in draws]),
        balanced=_stack([draw.balanced for draw in draws]),
        on_its_images=_stack([full.measure_on(draw) for draw in draws]),
    )


def _stack(arrays: Sequence[FloatArray | None]) -> FloatArray | None:
    """Stack the arrays of all draws; None if one is unknown."""
    known = [array for array in arrays if array is not None]
    return np.stack(known) if len(known) == len(arrays) else None


def read(
    places: Places, name: str, training: Training, curves: Sequence[str]
) -> Measurements:
    """Read the measurements of a set.

    Correctness is read from the folder `correctness` of the study. A file that is
    missing or belongs to other models is written from their predictions, if these
    exist.

    Args:
      places: paths of the study.
      name: name of the set.
      training: training settings of the set.
      curves: files with the set's curves.

    Raises:
      UsageError: the curves are invalid or belong to several sets.
    """
    finals = designed.read_finals(curves, training.models)
    by_seed = [
        _read_correctness(places, name, training._replace(seeds=(seed,)), accuracies)
        for seed, accuracies in zip(
            sorted(training.seeds), finals.accuracies, strict=True
        )
    ]
    known = tuple(one for one in by_seed if one is not None)
    return Measurements(finals, known if len(known) == len(by_seed) else ())


def _read_correctness(
    places: Places, name: str, training: Training, accuracies: FloatArray
) -> SetCorrectness | None:
    """Return the correctness with one seed; None if it is unknown.

    Args:
      places: paths of the study.
      name: name of the set.
      training: training settings with a single seed.
      accuracies: shape (models,), final accuracies with this seed.
    """

    def is_current(one: SetCorrectness) -> bool:
        return one.models == tuple(training.models) and bool(
            np.allclose(
                one.correct.mean(axis=1), accuracies, 0, correctness.MAX_DIFFERENCE
            )
        )

    folder, file = f"{places.root}/{FOLDER}", f"{name}_seed{training.seeds[0]}.npz"
    try:
        stored = correctness.from_npz(storage.read(f"{folder}/{file}"))
        if is_current(stored):
            return stored
    except (FileNotFoundError, ValueError):
        pass
    paths = [
        str(Path(path).with_name(correctness.PREDICTIONS))
        for path in places.curves(name, training)
    ]
    if not all(Path(path).exists() for path in paths):
        return None
    try:
        made = correctness.read_set(paths, training.models)
    except UsageError:
        return None
    if not is_current(made):
        return None
    storage.write(folder, file, correctness.to_npz(made))
    return made
