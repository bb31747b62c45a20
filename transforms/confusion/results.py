"""Write the matrices, the most confused pairs and the figure, and summarise them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transforms import figures, storage
from transforms.confusion import figure as confusion_figure
from transforms.confusion import matrix as confusion_matrix
from transforms.confusion.counts import ConfusionCounts, CountPlan, PredictionSurvey
from transforms.confusion.matrix import Confusion
from transforms.predictions.chance import describe_chance, is_at_chance
from transforms.records import JobError, check_all_arrived

_NAMES = ("confusion", "confusion_a", "confusion_b")
_MAX_UNDECIDED_SHARE = 0.02  # above it, top-5 classes are insufficient


@dataclass(frozen=True, kw_only=True)
class MatrixSettings:
    """Settings of the step that writes the matrices.

    Attributes:
      output: folder of the matrices.
      survey: summary of the prediction files.
      plan: classes and options of the count.
      summary: path of the JSON file of summary lines, written last; "" for none.
    """

    output: str
    survey: PredictionSurvey
    plan: CountPlan
    summary: str = ""


def write_results(counts: ConfusionCounts, settings: MatrixSettings) -> None:
    """Write all files; a repeated call writes the same bytes.

    Raises:
      JobError: the engine lost or repeated parts of the predictions, or a file has
        changed.
    """
    check_all_arrived(
        counts.parts,
        settings.survey.pieces,
        what="parts of the predictions",
        remedy="no matrix is written; run again, and without --runner if this repeats",
    )
    num_counted, expected = int(counts.num_images.sum()), settings.survey.num_images
    if num_counted != expected:
        raise JobError(
            f"counted {num_counted} of {expected} predictions: a file has changed "
            "since the job was started; no matrix is written; run again"
        )
    matrices = counts.to_confusions(settings.plan, settings.survey.models)
    write_matrices(settings.output, matrices, settings.survey.scope)
    if settings.summary:
        lines = list(_summarise(counts, matrices[0], settings))
        folder, _, name = settings.summary.rpartition("/")
        storage.write(folder, name, json.dumps(lines).encode())


def write_matrices(folder: str, matrices: Sequence[Confusion], scope: str) -> None:
    """Write the matrices, the most confused pairs and the figure.

    Args:
      folder: output folder.
      matrices: matrices of all images, of half a and of half b.
      scope: the classes that predictions are limited to, for the title of the figure.
    """
    for name, confusion in zip(_NAMES, matrices, strict=True):
        data = confusion_matrix.to_npz(confusion)
        storage.write(folder, f"{name}.npz", data)
    whole = matrices[0]
    pairs = confusion_figure.find_pairs(whole)
    storage.write(folder, "confusion.csv", confusion_figure.to_csv(pairs))
    figure = confusion_figure.draw(whole, pairs, scope)
    png = figures.to_png(figure, dpi=confusion_figure.DPI)
    storage.write(folder, "confusion.png", png)
    storage.write(folder, "figures/confusion.svg", figures.to_svg(figure).encode())
    storage.write(folder, "figures/confusion.pdf", figures.to_pdf(figure))


def _summarise(
    counts: ConfusionCounts, whole: Confusion, settings: MatrixSettings
) -> Iterator[str]:
    """Yield the notes and warnings about the counted predictions, and their errors."""
    survey, is_soft = settings.survey, settings.plan.is_soft
    if is_soft and survey.by_probabilities:
        yield f"counted by probabilities: {', '.join(survey.by_probabilities)}"
        if survey.by_rank:
            without = ", ".join(survey.by_rank)
            yield f"counted by rank, without probabilities: {without}"
    chance = 1 / len(survey.wnids)
    guessing = [
        f"warning: {model} {describe_chance(num_correct, num_images, chance)}"
        for model, (num_images, num_correct) in zip(
            survey.models, counts.accuracy.tolist(), strict=True
        )
        if is_at_chance(num_correct, num_images, chance)
    ]
    yield from guessing or confusion_matrix.find_order_problem(whole)
    if survey.num_seen:
        yield (
            f"warning: models were trained on {_share(survey.num_seen, survey)}: "
            "confusion on training images is too low; use validation images, or "
            "predict each of two folds with the model trained on the other"
        )
    if counts.num_undecided:
        is_much = counts.num_undecided > _MAX_UNDECIDED_SHARE * survey.num_images
        yield (
            f"{'warning: ' if is_much else ''}no prediction is usable for "
            f"{_share(counts.num_undecided, survey)}: none of the top-5 classes "
            "is a class of the images"
            + (
                "; keep all probabilities (--keep_probabilities of predict)"
                if is_much
                else ""
            )
        )
    errors = _count_errors(whole, counts.num_undecided, is_soft=is_soft)
    yield f"{errors}, {survey.scope}" if survey.scope else errors


def _count_errors(whole: Confusion, num_undecided: int, *, is_soft: bool) -> str:
    """Describe the share of errors among predictions of a class of the matrix."""
    models = ", ".join(whole.models)
    num_decided = int(whole.num_images.sum()) - num_undecided
    usable = " with usable predictions" if num_undecided else ""
    if is_soft:
        of_images = f" of images{usable}" if usable else ""
        return (
            f"{whole.error_rate:.1%} of the predicted probability{of_images} is on "
            f"wrong classes: {models}"
        )
    what = "images" if len(whole.models) == 1 else "predictions"
    return (
        f"{whole.num_errors:.0f} of {num_decided} {what}{usable} are misclassified by "
        f"{models}"
    )


def _share(count: int, survey: PredictionSurvey) -> str:
    share = count / survey.num_images
    return f"{count} of {survey.num_images} images ({share:.2%})"
