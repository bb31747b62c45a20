"""Compare recipes of subsets: build each, train on it and evaluate its ranking."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.cli import exit_codes, parse
from pipelines.studying.options import StudyOptions

_PROG = "python -m pipelines.study"


def study(options: StudyOptions) -> str:
    """Run the study, or plan it with --dry_run; return the text to print to stdout.

    Raises:
      UsageError: invalid flags, recipes or input.
      JobError: a step failed.
    """
    # SciPy and Beam import slowly and are not needed for --help.
    from pipelines.step_runner import Runner, acquire_folder
    from pipelines.studying import plan as study_plan
    from pipelines.studying import run

    root = str(Path(options.output).absolute())
    if options.dry_run:
        plan = study_plan.plan_dry(options, root)
        return "\n".join(plan.describe())
    with acquire_folder(root) as lock:
        runner = Runner(root, lock)
        plan = study_plan.plan(options, root, runner)
        for line in plan.describe():
            sys.stderr.write(f"{line}\n")
        plan.check_space()
        run.run_study(plan, runner)
    return root


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes(when_stopped="interrupted; run the same command again to continue"):
        options, _, _ = parse(StudyOptions, argv, prog=_PROG, takes_beam_flags=False)
        summary = study(options)
        sys.stdout.write(f"{summary}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
