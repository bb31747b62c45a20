"""Create recipes for all groupings and class lists, and score them without training."""

import sys
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines import grouping_flags
from transforms import grouping
from transforms.arrays import IntegerArray
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.matrix import Confusion
from transforms.evaluation import training_free
from transforms.evaluation.by_predictions import make_group_of
from transforms.evaluation.training_free import Recipe, TrainingFree
from transforms.grouping.table import GroupingRequest, make_table
from transforms.labels import class_lists
from transforms.predictions.reading import NUM_CLASSES, Predictions, read_predictions
from transforms.records import UsageError


def compare_recipes(
    files: Sequence[str],
    *,
    group_counts: Sequence[int],
    num_draws: int,
    donors: Sequence[str] = (),
    seed: int,
) -> TrainingFree:
    """Score all groupings at several N and all published lists of classes.

    Args:
      files: prediction files of trained models.
      group_counts: values of N.
      num_draws: number of seeds of each random method.
      donors: names of the models whose confusion determines groups; they are not
        ranked. By default the model of median accuracy.
      seed: first seed of random methods, and seed of the selection of images.

    Raises:
      UsageError: the files, the donors or a value of N are invalid.
    """
    ranked, donor_models = training_free.exclude_donors(read_predictions(files), donors)
    recipes = [
        *_make_groupings(group_counts, num_draws, donor_models, seed=seed),
        *_make_lists(),
    ]
    names = [p.model for p in donor_models]
    return training_free.score_recipes(ranked, recipes, donors=names, seed=seed)


def _make_groupings(
    group_counts: Sequence[int],
    num_draws: int,
    donors: Sequence[Predictions],
    *,
    seed: int,
) -> Iterator[Recipe]:
    """Yield a recipe for each N and method that needs at most a confusion matrix."""
    with tempfile.TemporaryDirectory() as folder:
        matrices = [_write_confusion(donor, folder) for donor in donors]
        for method in grouping.METHODS:
            if grouping.find_num_groups_source(method) != "flag":
                continue
            tables = set(grouping.list_tables(method))
            if tables - {"confusion"}:
                sys.stderr.write(f"{method}: left out, it needs a table\n")
                continue
            for num_groups in group_counts:
                # A method that reads confusion is random only in the models it reads.
                requests: list[tuple[int, str | None]] = [
                    (seed, path) for path in matrices
                ]
                if not tables:
                    requests = [(seed + n, None) for n in range(num_draws)]
                drawn_by = "donors" if tables else "seeds"
                yield _draw(method, num_groups, requests, drawn_by)


def _draw(
    method: str,
    num_groups: int,
    requests: Sequence[tuple[int, str | None]],
    drawn_by: str,
) -> Recipe:
    """Group the classes once per request, or only once if the seed has no effect.

    Args:
      method: grouping method.
      num_groups: N.
      requests: (seed, path of a confusion matrix or None) of each draw.
      drawn_by: what differs between the requests, "seeds" or "donors".
    """
    draws: list[IntegerArray] = []
    for seed, confusion in requests:
        draws.append(_group(method, num_groups, seed, confusion))
        if drawn_by == "seeds" and len(draws) == 2 and (draws[0] == draws[1]).all():
            del draws[1:]
            break
    return Recipe(
        name=method,
        num_groups=num_groups,
        draws=tuple(draws),
        drawn_by=drawn_by if len(draws) > 1 else "",
    )


def _group(
    method: str, num_groups: int, seed: int, confusion: str | None
) -> IntegerArray:
    request = GroupingRequest(
        classes=grouping_flags.list_official_classes(),
        num_groups=num_groups,
        seed=seed,
        images_per_group=None,
        min_validation_images=0,
        allow_small_validation=True,
        groups_file=None,
        confusion_file=confusion,
        is_measured=False,
    )
    try:
        result = grouping.load(method).group_classes(
            request, grouping_flags.load_options(method)
        )
    except UsageError as error:
        raise UsageError(f"{method}: {error}") from None
    table = make_table(request.classes, result.assignment, result.names)
    return make_group_of(table.label_of)


def _make_lists() -> Iterator[Recipe]:
    """Yield a recipe for each published class list, with one group per class."""
    for name in class_lists.NAMES:
        wnids = class_lists.load(name)
        group_of = make_group_of({wnid: n for n, wnid in enumerate(wnids)})
        yield Recipe(name, len(wnids), (group_of,), is_list=True)


def _write_confusion(donor: Predictions, folder: str) -> str:
    """Write the confusion matrix of a model's top-1 classes; return its path."""
    matrix = np.zeros((NUM_CLASSES, NUM_CLASSES))
    np.add.at(matrix, (donor.truth, donor.top5[:, 0]), 1)
    confusion = Confusion(
        matrix=matrix,
        wnids=tuple(c.wnid for c in grouping_flags.list_official_classes()),
        num_images=np.bincount(donor.truth, minlength=NUM_CLASSES),
        models=(donor.model,),
    )
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".npz", delete=False) as file:
        file.write(confusion_matrix.to_npz(confusion))
    return file.name
