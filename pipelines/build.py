"""Build a subset of ImageNet: groups of classes × images, written as shards.

This is the main job. `build` calls its steps, which are in `pipelines/building/`.
"""

import sys
from collections.abc import Sequence

from pipelines import grouping_flags, light_imports
from pipelines.building.options import BuildOptions, Request, method_options
from pipelines.cli import exit_codes, parse
from pipelines.store_flags import settle


def build(request: Request) -> str:
    """Build a subset, or only plan it.

    Returns:
      The folder of the dataset, which --dry_run only names; with --plan_only, the
      folder of the plan.

    Raises:
      UsageError: the configuration or the input is invalid.
      JobError: too many images are unreadable, or the runner failed.
    """
    # These take half a second, which --help does not need.
    from pipelines import inputs
    from pipelines.building import fixed_images, output, planning

    options = request.options
    light_imports.hide_pandas_from_arrow()
    inputs.check_reach(
        options.input,
        options,
        [(f"--output {options.output}", options.output)],
        beam_flags=request.beam_flags,
    )
    fixed_images.check_table(options)
    grouping_flags.check_tables(options)
    with (
        output.prepare(options),
        inputs.report_fetched(),
        output.scratch_folder(options) as scratch,
    ):
        plan = planning.plan_build(request, scratch)
        if options.export_images and not options.dry_run:
            fixed_images.export(plan.folder, plan.shards, options.export_images)
        if options.plan_only:
            from pipelines.building import report

            return report.write_plan(plan, scratch)
        light_imports.import_beam(request.beam_flags)
        from pipelines.building import run

        if options.dry_run:
            return run.print_dry_run(request, plan)
        return run.write_dataset(request, plan, scratch)


def parse_request(argv: Sequence[str]) -> Request:
    """Parse the command line, and configure the stores of this process.

    Without flags that determine the contents, draw the demonstration's input.

    Raises:
      UsageError: lists all problems of the flags.
    """
    options, chosen, beam_flags = parse(
        BuildOptions,
        argv,
        prog="python -m pipelines.build",
        methods=method_options(),
    )
    settle(options)
    is_demonstration = options.is_demonstration
    if is_demonstration:
        from pipelines.building import demonstration

        options = demonstration.choose(options)
    for note in options.describe_preset():
        sys.stderr.write(f"{note}\n")
    options = options.expand_preset()
    return Request(
        options=options,
        grouping_options=chosen.get("grouping")
        or grouping_flags.load_options(options.grouping),
        sampling_options=chosen["sampling"],
        beam_flags=beam_flags,
        is_demonstration=is_demonstration,
    )


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    stopped = "stopped; run the same command with --resume to continue"
    with exit_codes(when_stopped=stopped):
        directory = build(parse_request(argv))
        sys.stdout.write(f"{directory}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
