"""Recipes of subsets → which of them is best: each built, trained on, and judged."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.cli import exit_codes, parse
from pipelines.studying.options import StudyOptions

_PROG = "python -m pipelines.study"


def study(options: StudyOptions) -> str:
    """Run the study, or tell what it would do; returns what to print last.

    Raises: UsageError, JobError: what is found before and after the first step.
    """
    # SciPy and Beam take seconds that --help has not.
    from pipelines.studying import plan as study_plan  # noqa: PLC0415
    from pipelines.studying import run, steps  # noqa: PLC0415

    root = str(Path(options.output).absolute())
    if options.dry_run:
        plan = study_plan.plan_dry(options, root)
        return "\n".join(plan.describe())
    with steps.acquire_folder(root) as lock:
        runner = steps.Runner(root, lock)
        plan = study_plan.plan(options, root, runner)
        for line in plan.describe():
            sys.stderr.write(f"{line}\n")
        plan.check_space()
        run.run_study(plan, runner)
    return root


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes(when_stopped="stopped; the same command goes on from there"):
        options, _, _ = parse(StudyOptions, argv, prog=_PROG, takes_beam_flags=False)
        told = study(options)
    sys.stdout.write(f"{told}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
