"""An evaluation → the lines that are printed of it."""

from collections.abc import Iterator

from transforms.scoring.accuracies import AccuracyEvaluation
from transforms.scoring.agreement import RankAgreement
from transforms.scoring.curve_scoring import CurveEvaluation
from transforms.scoring.report import Evaluation
from transforms.scoring.training_free import GroupScore, PredictionEvaluation


def summarize(evaluation: Evaluation) -> Iterator[str]:
    """Say the most important of an evaluation, a line a subset, grouping or table."""
    if isinstance(evaluation, CurveEvaluation):
        for one in evaluation.subsets:
            yield f"{one.curve_set.name} {one.verdict}: {one.verdict.reason}"
            yield f"{one.curve_set.name}: {_say_ranks(one.ranks)}"
    elif isinstance(evaluation, AccuracyEvaluation):
        yield (
            f"{len(evaluation.models)} models in both tables: "
            f"{_say_ranks(evaluation.ranks)}"
        )
    else:
        yield from _summarize_predictions(evaluation)


def _summarize_predictions(evaluation: PredictionEvaluation) -> Iterator[str]:
    for score in evaluation.scores:
        yield f"{_name(score)}: {_say_ranks(score.ranks)}"
        yield (
            f"{_name(score)}: {score.undecided.mean():.2%} of {score.num_images} "
            "images undecided"
        )


def _name(score: GroupScore) -> str:
    return f"{score.name}, {'own' if score.is_masked else 'all'} classes"


def _say_ranks(ranks: RankAgreement) -> str:
    if ranks.tau is None or ranks.spearman is None:
        return "all models tie on a set, so that no correlation of ranks is defined"
    between = ""
    if ranks.tau_interval is not None:
        low, high = ranks.tau_interval
        between = f" (95 %: {low:.3f} to {high:.3f})"
        if not ranks.tau_interval.has_width:
            between = " (in every resample of these models)"
    return f"tau-b {ranks.tau:.4f}{between}, Spearman {ranks.spearman:.4f}"
