"""Serialise an evaluation as report.json, and summarise it in lines of text.

docs/report_schema.md describes the keys of report.json.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from transforms.arrays import FloatArray
from transforms.evaluation.by_accuracies import AccuracyEvaluation, format_columns
from transforms.evaluation.by_curves import (
    CurveEvaluation,
    ScoredSet,
    ScoredSubset,
    format_subsets,
)
from transforms.evaluation.by_predictions import (
    Comparison,
    GroupScore,
    PredictionEvaluation,
    advise,
    format_comparison,
)
from transforms.evaluation.ranking import PairAgreement, RankAgreement
from transforms.evaluation.significance import PairTests
from transforms.records import to_json

VERSION = 3
_DIGITS = 6

Evaluation = CurveEvaluation | PredictionEvaluation | AccuracyEvaluation


def make_report(evaluation: Evaluation, *, seed: int) -> bytes:
    """Return the content of report.json, with numbers rounded to six decimal places.

    Args:
      evaluation: an evaluation of any kind.
      seed: seed of the evaluation.
    """
    if isinstance(evaluation, CurveEvaluation):
        kind, content = "curves", _describe_curves(evaluation)
    elif isinstance(evaluation, PredictionEvaluation):
        kind, content = "predictions", _describe_predictions(evaluation)
    else:
        kind, content = "accuracies", _describe_accuracies(evaluation)
    report = {
        "version": VERSION,
        "kind": kind,
        "seed": seed,
        "warnings": list(evaluation.warnings),
        **content,
    }
    return to_json(_round(report))


def _round(value: Any) -> Any:
    """Round floats, so that all machines agree; replace NaN and infinity by None."""
    if isinstance(value, Mapping):
        return {name: _round(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_round(part) for part in value]
    if isinstance(value, np.generic):
        return _round(value.item())
    if isinstance(value, float):
        return round(value, _DIGITS) if math.isfinite(value) else None
    return value


def _describe_ranks(ranks: RankAgreement) -> dict[str, Any]:
    interval = ranks.tau_interval
    return {
        "num_models": ranks.num_models,
        "tau": ranks.tau,
        "tau_interval": None if interval is None else list(interval),
        "spearman": ranks.spearman,
        "top_half_tau": ranks.top_half_tau,
        "regret": ranks.regret,
    }


def _describe_pairs(pairs: PairAgreement, models: Sequence[str]) -> dict[str, Any]:
    return {
        **pairs._asdict(),
        "contrary": [[models[a], models[b]] for a, b in pairs.contrary],
        "reversed": [[models[a], models[b]] for a, b in pairs.reversed],
    }


def _rank(values: FloatArray) -> list[int]:
    """Return the rank of each model, from 1 (best); ties share the smaller rank.

    `values` has shape (models,); higher is better.
    """
    return [int(rank) for rank in stats.rankdata(-values, method="min")]


def _list_models(models: Sequence[str], tests: PairTests) -> list[dict[str, Any]]:
    ranks = _rank(tests.accuracies)
    return [
        {
            "model": model,
            "accuracy": tests.accuracies[number],
            "standard_error": tests.errors[number],
            "rank": ranks[number],
        }
        for number, model in enumerate(models)
    ]


def _describe_set(scored: ScoredSet) -> dict[str, Any]:
    curve_set, tests, noise = scored.curve_set, scored.tests, scored.noise
    models = _list_models(curve_set.models, tests)
    for number, model in enumerate(models):
        model["curve"] = scored.curves[number].tolist()
        model["runs"] = [
            {
                "seed": run.seed,
                "learning_rate": run.learning_rate or None,  # 0: the log has none
                "final_accuracy": run.final,
                "is_used": run in curve_set.best_runs(run.model),
            }
            for run in curve_set.runs
            if run.model == model["model"]
        ]
    return {
        "dataset": curve_set.dataset,
        "subset_id": curve_set.subset_id,
        "epochs": curve_set.epochs,
        "train_images": curve_set.train_images,
        "validation_images": curve_set.validation_images,
        "pairs_compared_by": "images" if tests.is_paired else "accuracies",
        "seed_standard_deviation": None if noise is None else math.sqrt(noise.variance),
        "num_pairs": tests.num_pairs,
        "num_significant": tests.num_significant,
        "convergence_epoch": scored.convergence.convergence_epoch,
        "images_until_convergence": scored.convergence.images_seen,
        "tau_with_last_epoch": list(scored.convergence.taus),
        "models": models,
    }


def _describe_subset(scored: ScoredSubset) -> dict[str, Any]:
    verdict = scored.verdict
    return {
        **_describe_set(scored),
        "verdict": {"value": verdict.value, "text": f"{verdict}: {verdict.reason}."},
        "gain": verdict.gain,
        "gain_interval": None
        if verdict.gain_interval is None
        else list(verdict.gain_interval),
        "ceiling": scored.ceiling._asdict(),
        "full_convergence_epoch": scored.full_convergence.convergence_epoch,
        "ranks": _describe_ranks(scored.ranks),
        "pairs": _describe_pairs(scored.pairs, scored.models),
    }


def _describe_curves(evaluation: CurveEvaluation) -> dict[str, Any]:
    return {
        "full": _describe_set(evaluation.full),
        "subsets": [_describe_subset(subset) for subset in evaluation.subsets],
    }


def _describe_group(score: GroupScore, models: Sequence[str]) -> dict[str, Any]:
    listed = _list_models(models, score.tests)
    for number, model in enumerate(listed):
        model["num_right"] = score.num_right[number]
        model["undecided_share"] = score.undecided[number]
    return {
        "name": score.name,
        "answers": "own classes" if score.is_masked else "all classes",
        "shape": score.shape._replace(median=float(score.shape.median))._asdict(),
        "num_images": score.num_images,
        "ranks": _describe_ranks(score.ranks),
        "tau_if_undecided_right": score.tau_if_right,
        "is_rankable": score.is_rankable,
        "tau_balanced": score.tau_balanced,
        "tau_halves": score.halves.tau,
        "tau_same_images": score.tau_same_images,
        "pairs": _describe_pairs(score.pairs, models),
        "validation_images_needed": [
            {"share_of_pairs": share, "images": images}
            for share, images in score.needed.items()
        ],
        "models": listed,
    }


def _describe_predictions(evaluation: PredictionEvaluation) -> dict[str, Any]:
    models = evaluation.models
    return {
        "full": {
            "num_images": evaluation.num_images,
            "num_pairs": evaluation.full.num_pairs,
            "num_significant": evaluation.full.num_significant,
            "models": _list_models(models, evaluation.full),
        },
        "groupings": [_describe_group(score, models) for score in evaluation.scores],
    }


def _describe_accuracies(evaluation: AccuracyEvaluation) -> dict[str, Any]:
    ranks = (_rank(evaluation.full), _rank(evaluation.subset))
    return {
        "key_columns": list(evaluation.key_columns),
        "columns": list(evaluation.columns),
        "tables": list(evaluation.tables),
        "ranks": _describe_ranks(evaluation.ranks),
        "models": [
            {
                "model": model,
                "full": evaluation.full[number],
                "subset": evaluation.subset[number],
                "full_rank": ranks[0][number],
                "subset_rank": ranks[1][number],
            }
            for number, model in enumerate(evaluation.models)
        ],
    }


def summarise(evaluation: Evaluation) -> Iterator[str]:
    """Yield lines with the main results, a legend and a recommendation."""
    if isinstance(evaluation, CurveEvaluation):
        for subset in evaluation.subsets:
            name = subset.curve_set.name
            yield f"{name}: {subset.verdict}; {subset.verdict.reason}"
        yield ""
        yield from format_subsets(evaluation).splitlines()
    elif isinstance(evaluation, AccuracyEvaluation):
        yield from format_columns(evaluation).splitlines()
    else:
        rows = [Comparison(score, None, ()) for score in evaluation.scores]
        advice = advise(evaluation.full, evaluation.scores, evaluation.models)
        yield from format_comparison(rows, advice=advice).splitlines()
