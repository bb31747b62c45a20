"""Write the results of a study.

study.json, study.csv, study.svg and study.html describe every subset; recipes.html and
the tables recipes.csv, differences.csv and effects.csv average over draws.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.commands import Places, Training
from pipelines.studying import measurements
from pipelines.studying.measurements import Measurements
from pipelines.studying.plan import SkippedRecipe
from pipelines.studying.recipes import FULL, Recipe
from transforms import csv_tables, storage
from transforms.evaluation import designed
from transforms.evaluation import study as study_ranking
from transforms.evaluation.designed import Design
from transforms.evaluation.study import Ranked, RecipeScore
from transforms.records import to_json
from transforms.reports import designed as designed_page
from transforms.reports import page as pages
from transforms.reports.study import StudyPage, make_page

JSON_FILE, CSV_FILE = "study.json", "study.csv"
SVG_FILE, PAGE_FILE = "study.svg", "study.html"
DESIGN_PAGE = "recipes.html"
_VERSION = 2
_COLUMNS = (
    *("rank", "recipe", "is_tied_with_best", "num_groups", "images_per_group"),
    *("train_images", "epochs", "validation_images", "tau", "tau_low", "tau_high"),
    *("spearman", "regret", "resolving_power", "sign_agreement"),
    *("images_until_convergence_full", "images_until_convergence_subset"),
    *("gain", "verdict", "left_out"),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The state of a study: its recipes and training settings.

    Attributes:
      evaluated: recipes whose subsets have been evaluated.
      left_out: recipes that cannot be built or evaluated, with reasons.
      waiting: names of the recipes that have not been run.
      full: training settings for the full set.
      subset: training settings for the subsets.
      trainings: training settings for each evaluated recipe, by name.
      num_groups: estimated N of each recipe.
      num_classes: number of classes of the input.
      curves: paths of the curves of the full set and of each recipe, by name.
    """

    evaluated: Sequence[Recipe]
    left_out: Sequence[SkippedRecipe]
    waiting: Sequence[str]
    full: Training
    subset: Training
    trainings: Mapping[str, Training]
    num_groups: Mapping[str, int]
    num_classes: int
    curves: Mapping[str, Sequence[str]]


def write_results(places: Places, outcome: Outcome) -> list[Ranked]:
    """Write all result files and return the recipes, best first."""
    scores = [
        _read_score(places, recipe, outcome.num_groups[recipe.name])
        for recipe in outcome.evaluated
    ]
    ranked = study_ranking.rank(scores)
    files = {
        JSON_FILE: to_json(_describe(ranked, outcome)),
        CSV_FILE: _make_csv(ranked, outcome.left_out),
    }
    page = make_page(_make_page(places, ranked, outcome))
    for chart in page.charts:
        files[SVG_FILE] = chart.svg.encode()
    design = _analyse(places, scores, outcome) if scores else None
    for table, rows in (designed.to_tables(design) if design else {}).items():
        files[f"{table}.csv"] = _to_csv(rows, list(rows[0])) if rows else b""
    for name, data in files.items():
        storage.write(places.root, name, data)
    if design:
        pages.write(places.root, DESIGN_PAGE, designed_page.make_page(design))
    pages.write(places.root, PAGE_FILE, page)
    return ranked


def _analyse(places: Places, scores: Sequence[RecipeScore], outcome: Outcome) -> Design:
    """Average the recipes over their draws, and test their differences."""
    models = outcome.full.models
    full = measurements.read(places, FULL, outcome.full, outcome.curves[FULL])
    draws: dict[str, list[Measurements]] = {}
    factors: dict[str, dict[str, str]] = {}
    for recipe, score in zip(outcome.evaluated, scores, strict=True):
        name, training = recipe.name, outcome.trainings[recipe.name]
        draw = measurements.read(places, name, training, outcome.curves[name])
        draws.setdefault(recipe.base, []).append(draw)
        share = draw.finals.num_images_seen / full.finals.num_images_seen
        factors[recipe.base] = {
            "labels": name_labels(
                recipe,
                num_groups=score.num_groups,
                num_classes=outcome.num_classes,
            ),
            "sampler": name_sampler(recipe),
            "images seen": f"{100 * share:.2g} %",
            "epochs": str(training.epochs),
        }
    recipes = [
        measurements.make_recipe(name, factors[name], drawn, full)
        for name, drawn in draws.items()
    ]
    finals = full.finals
    return designed.analyse(models, finals.accuracies, recipes, finals.num_images_seen)


def name_labels(recipe: Recipe, *, num_groups: int, num_classes: int) -> str:
    """Name the labels of a recipe as a level of a factor.

    Groups of one class each have the same name, whichever method formed them.

    Args:
      recipe: the recipe.
      num_groups: number of groups, N.
      num_classes: number of classes of the input.
    """
    if num_groups == num_classes:
        return f"all {num_classes} classes"
    name = _name_method(str(recipe.options.grouping), recipe.grouping_options)
    return f"{name} {num_groups}"


def name_sampler(recipe: Recipe) -> str:
    """Name the sampler of a recipe with its options, as a level of a factor."""
    name = _name_method(str(recipe.options.sampling), recipe.sampling_options)
    return f"{name} by class" if recipe.options.stratify_by_class else name


def _name_method(name: str, options: Any) -> str:
    """Name a method with its rules and all other options that are not the default."""
    words = [name]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name == "rule":
            words.append(str(value))
        elif value != field.default:
            words.append(f"{field.name} {value}")
    return " ".join(words)


def _to_csv(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> bytes:
    """Serialise rows with a header; cells that a row lacks are empty."""
    return csv_tables.to_csv(columns, ([row.get(c) for c in columns] for row in rows))


def _read_score(places: Places, recipe: Recipe, num_groups: int) -> RecipeScore:
    path = f"{places.dataset(recipe.name)}/classes.json"
    if storage.exists(path):  # datasets may be removed after training
        num_groups = len(json.loads(storage.read(path)))
    return study_ranking.read_report(
        json.loads(storage.read(places.report(recipe.name))),
        name=recipe.name,
        flags=recipe.flags,
        num_groups=num_groups,
        images_per_group=recipe.options.expand_preset().images_per_group,
    )


def _describe(ranked: Sequence[Ranked], outcome: Outcome) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "models": list(outcome.full.models),
        "seeds": list(outcome.subset.seeds),
        "full_seeds": list(outcome.full.seeds),
        "epochs": outcome.full.epochs,
        "subset_epochs": outcome.subset.epochs,
        "best": study_ranking.describe_best(ranked),
        "recipes": [
            {
                **_to_row(entry),
                "flags": dict(entry.score.flags),
                "reason": entry.score.reason,
            }
            for entry in ranked
        ],
        "left_out": [entry._asdict() for entry in outcome.left_out],
        "waiting": list(outcome.waiting),
        "warnings": list(_gather_warnings(ranked)),
    }


def _to_row(ranked: Ranked) -> Mapping[str, Any]:
    score = ranked.score
    low, high = score.tau_interval or (None, None)
    return {
        "rank": ranked.rank,
        "recipe": score.name,
        "is_tied_with_best": ranked.is_tied,
        "num_groups": score.num_groups,
        "images_per_group": score.images_per_group,
        "train_images": score.train_images,
        "epochs": score.trained_on // score.train_images,
        "validation_images": score.validation_images,
        "tau": score.tau,
        "tau_low": low,
        "tau_high": high,
        "spearman": score.spearman,
        "regret": score.regret,
        "resolving_power": score.resolving_power,
        "sign_agreement": score.sign_agreement,
        "images_until_convergence_full": score.images_until_convergence_full,
        "images_until_convergence_subset": score.images_until_convergence_subset,
        "gain": score.gain,
        "verdict": score.verdict,
    }


def _make_csv(ranked: Sequence[Ranked], left_out: Sequence[SkippedRecipe]) -> bytes:
    rows = [_to_row(entry) for entry in ranked]
    rows += [{"recipe": entry.name, "left_out": entry.reason} for entry in left_out]
    return _to_csv(rows, _COLUMNS)


def _gather_warnings(ranked: Sequence[Ranked]) -> list[str]:
    """Return the distinct warnings of all recipes."""
    seen: dict[str, list[str]] = {}
    for entry in ranked:
        for warning in entry.score.warnings:
            seen.setdefault(warning, []).append(entry.score.name)
    return list(seen)


def _make_page(places: Places, ranked: Sequence[Ranked], outcome: Outcome) -> StudyPage:
    return StudyPage(
        ranked=ranked,
        links={
            entry.score.name: Path(places.report(entry.score.name))
            .with_suffix(".html")
            .relative_to(places.root)
            .as_posix()
            for entry in ranked
        },
        left_out=[(entry.name, entry.reason) for entry in outcome.left_out],
        waiting=outcome.waiting,
        models=outcome.full.models,
        num_seeds=len(outcome.subset.seeds),
        epochs=outcome.full.epochs,
        subset_epochs=sorted({t.epochs for t in outcome.trainings.values()}),
        warnings=_gather_warnings(ranked),
    )
