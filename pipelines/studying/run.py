"""Run the steps of a study in order and write its results after every recipe."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.commands import Step
from pipelines.step_runner import RefusedError, Runner
from pipelines.studying import measurements, recipes, results, timing
from pipelines.studying import plan as study_plan
from pipelines.studying.plan import Plan, SkippedRecipe
from pipelines.studying.recipes import FULL, Recipe
from pipelines.studying.steps import join_curves
from transforms.evaluation import study as study_ranking
from transforms.evaluation.study import Ranked
from transforms.records import JobError, UsageError


def run_study(plan: Plan, runner: Runner) -> None:
    """Run all unfinished steps and write the results.

    Raises:
      UsageError: a step rejected its input.
      JobError: a step failed, or no recipe could be evaluated.
    """
    study_run = _StudyRun(plan, runner)
    study_run.run_shared()
    for recipe in plan.recipes:
        study_run.run_recipe(recipe)
    ranked = study_run.write_results()
    for left in study_run.left_out:
        sys.stderr.write(f"left out: {left.name}: {left.reason}\n")
    if not ranked:
        raise JobError("no recipe could be evaluated; the reasons are listed above")
    for recipe_rank in ranked:
        sys.stderr.write(f"{recipe_rank.rank}. {_describe(recipe_rank)}\n")
    sys.stderr.write(f"{study_ranking.describe_best(ranked)}\n")


def _describe(ranked: Ranked) -> str:
    score = ranked.score
    tau = "undefined" if score.tau is None else f"{score.tau:.3f}"
    interval = score.tau_interval
    between = f" ({interval.low:.2f} to {interval.high:.2f})" if interval else ""
    tie = ", tied with the best" if ranked.is_tied else ""
    return f"{score.name}: tau-b {tau}{between}, {score.verdict}{tie}"


class _StudyRun:
    """Run the steps of a study, number them and record recipes that are left out."""

    def __init__(self, plan: Plan, runner: Runner) -> None:
        self.left_out = list(plan.left_out)
        self._plan = plan
        self._runner = runner
        self._evaluated: set[str] = set()  # saves hashing their files after every step
        steps = plan.list_shared_steps()
        for recipe in plan.recipes:
            steps += plan.list_recipe_steps(recipe)
        self._number_of = {step.name: n for n, step in enumerate(steps, 1)}

    def run_shared(self) -> None:
        """Run the steps that all recipes share.

        The full set is not built again if all models are trained on it.

        Raises:
          UsageError: a step rejected its input.
          JobError: a step failed.
        """
        build, *steps = self._plan.list_shared_steps()
        trainings = steps[: len(self._plan.full.seeds)]
        if not self._is_trained(build, trainings):
            self.run(build)
        references = steps[len(trainings) :]
        for step in trainings:
            self.run(step)
        # Writes the correctness of these models, which the recipes are compared with.
        plan = self._plan
        curves = plan.steps.list_joined(FULL, plan.full)
        measurements.read(plan.places, FULL, plan.full, curves)
        if not self._has_tables(references):
            for step in references:
                self.run(step)

    def _has_tables(self, references: Sequence[Step]) -> bool:
        """Return whether the tables of the study exist; other files may be gone."""
        tables = [step for step in references if step.job in recipes.COMPUTED_TABLES]
        return all(map(self._runner.has_run, references)) and all(
            map(self._runner.is_finished, tables)
        )

    def _is_trained(self, build: Step, trainings: Sequence[Step]) -> bool:
        """Return whether all models are trained on this dataset, which may be gone."""
        is_finished = self._runner.is_finished
        return self._runner.has_run(build) and all(map(is_finished, trainings))

    def _is_evaluated(self, recipe: Recipe) -> bool:
        """Return whether models and report have the recipe's current flags."""
        if recipe.name not in self._evaluated:
            build, *trainings, evaluation = self._plan.list_recipe_steps(recipe)
            is_finished = self._runner.is_finished
            if self._is_trained(build, trainings) and is_finished(evaluation):
                self._evaluated.add(recipe.name)
        return recipe.name in self._evaluated

    def run(self, step: Step) -> None:
        """Run a step that the study requires.

        Raises:
          UsageError: the step rejected its input.
          JobError: the step failed.
        """
        self._run(step, self._runner.run_required)

    def _run(self, step: Step, run: Callable[[Step], None]) -> None:
        if self._runner.is_finished(step):
            return
        number, total = self._number_of[step.name], len(self._number_of)
        sys.stderr.write(f"step {number} of {total}: {step.name}\n")
        run(step)
        if step.job == "train" and step.result.endswith(".csv"):
            join_curves(step)
        left_out = {recipe.name for recipe in self.left_out}
        step_times = self._plan.list_step_times(left_out)
        if timing.estimate(step_times):
            sys.stderr.write(f"{timing.describe_time(step_times)}\n")

    def run_recipe(self, recipe: Recipe) -> None:
        """Build, train on and evaluate a recipe; record a rejected build or evaluation.

        Raises:
          UsageError: training was rejected, or another dataset has the recipe's path.
          JobError: a step failed.
        """
        build, *trainings, evaluation = self._plan.list_recipe_steps(recipe)
        is_trained = self._is_trained(build, trainings)
        if is_trained and self._runner.is_finished(evaluation):
            return
        try:
            if not is_trained:  # otherwise the dataset is not needed any more
                self._run(build, self._runner.run)
        except RefusedError as error:
            if self._has_other_dataset(recipe):
                raise UsageError(f"{build.name}: {error}") from error
            self._leave_out(recipe, error)
            return
        for step in trainings:
            self.run(step)
        try:
            self._run(evaluation, self._runner.run)
        except RefusedError as error:
            self._leave_out(recipe, error)
        self.write_results()

    def _has_other_dataset(self, recipe: Recipe) -> bool:
        """Return whether a dataset, finished or not, exists at this recipe's path."""
        target = Path(self._plan.places.dataset(recipe.name))
        return any(
            place.exists()
            for place in (target, target.with_name(f".{target.name}.partial"))
        )

    def _leave_out(self, recipe: Recipe, error: RefusedError) -> None:
        reason = study_plan.join_problems(str(error).splitlines())
        self.left_out.append(SkippedRecipe(recipe.name, reason))

    def write_results(self) -> list[Ranked]:
        """Write the results so far and return the recipes, best first."""
        plan = self._plan
        left_out = {recipe.name for recipe in self.left_out}
        evaluated = [
            recipe
            for recipe in plan.recipes
            if recipe.name not in left_out and self._is_evaluated(recipe)
        ]
        done = {recipe.name for recipe in evaluated}
        return results.write_results(
            plan.places,
            results.Outcome(
                evaluated=evaluated,
                left_out=self.left_out,
                waiting=[
                    recipe.name
                    for recipe in plan.recipes
                    if recipe.name not in done | left_out
                ],
                full=plan.full,
                subset=plan.subset,
                trainings={r.name: plan.training_of(r) for r in evaluated},
                num_classes=len(plan.inventory.wnids()),
                num_groups={e.recipe.name: e.num_groups for e in plan.estimates},
                curves={
                    FULL: plan.steps.list_joined(FULL, plan.full),
                    **{
                        recipe.name: plan.steps.list_joined(
                            recipe.name, plan.training_of(recipe)
                        )
                        for recipe in evaluated
                    },
                },
            ),
        )
