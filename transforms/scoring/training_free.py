"""Predictions of trained models and groups → how well groups rank them, in detail.

Nothing is trained: a model's answer under a grouping is the group of its class.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.records import UsageError
from transforms.scoring import agreement, coarse, compare, pairs, power, ranking
from transforms.scoring.agreement import PairAgreement, RankAgreement
from transforms.scoring.coarse import BoolArray, Score
from transforms.scoring.compare import Shape
from transforms.scoring.pairs import PairTests
from transforms.scoring.predictions import IntArray, Predictions
from transforms.scoring.ranking import FloatArray
from transforms.tables.groups import LEFT_OUT

NEEDED_SHARES = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupScore:
    """One grouping; models lie in their order.

    Attributes:
      is_masked: whether models answered with grouped classes only.
      num_images: whose class is in a group.
      num_right: shape (models,), of these.
      undecided: shape (models,), share of images without a grouped class in the five.
      ranks: against the accuracies over single classes, on all images.
      tau_same_images: τ-b with those on the counted images: what grouping alone does.
      needed: share of the pairs decided on the full set → validation images that
        decide so many of them; None where no number would.
    """

    name: str
    shape: Shape
    is_masked: bool
    num_images: int
    num_right: IntArray
    undecided: FloatArray
    tests: PairTests
    ranks: RankAgreement
    tau_same_images: float | None
    pairs: PairAgreement
    needed: Mapping[float, int | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictionEvaluation:
    """All groupings.

    Attributes:
      full: the models over single classes, on all images.
    """

    models: tuple[str, ...]
    num_images: int
    full: PairTests
    scores: tuple[GroupScore, ...]
    warnings: tuple[str, ...]


def evaluate_predictions(
    predictions: Sequence[Predictions],
    tables: Mapping[str, IntArray],
    *,
    seed: int = 0,
) -> PredictionEvaluation:
    """Score every grouping, by all classes and, where some are left out, by its own.

    Args:
      predictions: of at least three models, all of the same images.
      tables: name → group of each class, shape (1000,), −1 where it is left out.
      seed: what draws are hashed from.
    Raises: UsageError: too few models, unlike images, a table without images.
    """
    compare.check_alike(predictions)
    if len(predictions) < ranking.MIN_MODELS:
        raise UsageError(
            f"--predictions: {len(predictions)} models; a ranking needs "
            f"{ranking.MIN_MODELS} or more"
        )
    fine = np.stack([coarse.score_classes(p) for p in predictions])
    num_images = fine.shape[1]
    full = pairs.decide_pairs(fine.mean(axis=1), num_images, shares=fine)
    scores = []
    warnings: list[str] = []
    for name, group_of in tables.items():
        for is_masked in (False, True) if (group_of == LEFT_OUT).any() else (False,):
            try:
                own = [coarse.score(p, group_of, masked=is_masked) for p in predictions]
            except UsageError as error:
                raise UsageError(f"--groups {name}: {error}") from None
            shape = compare.measure_shape(group_of)
            scores.append(
                _score(name, shape, own, fine, full, is_masked=is_masked, seed=seed)
            )
            warnings += _find_undecided(name, predictions, own)
    return PredictionEvaluation(
        models=tuple(p.model for p in predictions),
        num_images=num_images,
        full=full,
        scores=tuple(scores),
        warnings=tuple(warnings),
    )


def _score(
    name: str,
    shape: Shape,
    own: Sequence[Score],
    fine: BoolArray,
    full: PairTests,
    *,
    is_masked: bool,
    seed: int,
) -> GroupScore:
    correct = np.stack([score.correct for score in own])
    num_images = own[0].num_images
    tests = pairs.decide_pairs(correct.mean(axis=1), num_images, shares=correct)
    return GroupScore(
        name=name,
        shape=shape,
        is_masked=is_masked,
        num_images=num_images,
        num_right=correct.sum(axis=1),
        undecided=np.array([score.undecided_share for score in own]),
        tests=tests,
        ranks=agreement.compare_ranks(full.accuracies, tests.accuracies, seed=seed),
        tau_same_images=ranking.kendall_tau(
            fine[:, own[0].counted].mean(axis=1), tests.accuracies
        ),
        pairs=agreement.compare_pairs(
            full, tests, ceiling=ranking.noise_ceiling(fine, num_images, seed=seed)
        ),
        needed={
            share: power.images_needed(correct, full.decisions, share=share)
            for share in NEEDED_SHARES
        },
    )


def _find_undecided(
    name: str, predictions: Sequence[Predictions], own: Sequence[Score]
) -> Iterator[str]:
    """Yield a warning where five classes tell too little of a model."""
    shares = {
        p.model: score.undecided_share
        for p, score in zip(predictions, own, strict=True)
        if score.undecided_share > coarse.MAX_UNDECIDED_SHARE
    }
    if shares:
        worst = max(shares, key=lambda model: shares[model])
        yield (
            f"{name}, own classes only: {len(shares)} of {len(own)} models have none "
            f"of them among their five likeliest for more than "
            f"{coarse.MAX_UNDECIDED_SHARE:.0%} of the images, which count as wrong; "
            f"most {worst}, {shares[worst]:.1%}"
        )
