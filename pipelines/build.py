"""Raw ImageNet, or an index → a subset of it: groups × images, as shards."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.building.options import BuildOptions, method_options
from pipelines.cli import exit_codes, parse
from pipelines.grouping_flags import load_options
from pipelines.store_flags import settle


def main(argv: Sequence[str]) -> None:
    """Run the job from the command line."""
    with exit_codes(when_stopped="stopped; the same command with --resume goes on"):
        options, own, beam_flags = parse(
            BuildOptions,
            argv,
            prog="python -m pipelines.build",
            methods=method_options(),
        )
        directory = _run(options, own, settle(options, beam_flags))
    sys.stdout.write(f"{directory}\n")


def _run(
    options: BuildOptions, own: Mapping[str, Any], beam_flags: Sequence[str]
) -> str:
    # Beam's import takes a second, which --help has not.
    from pipelines.building import demonstration, run  # noqa: PLC0415
    from pipelines.building.planning import Request  # noqa: PLC0415

    if options.is_demonstration:
        options = demonstration.choose(options)
    options = options.expand_preset()
    request = Request(
        options=options,
        grouping_options=own.get("grouping") or load_options(options.grouping),
        sampling_options=own["sampling"],
        beam_flags=beam_flags,
    )
    return run.build(request)


if __name__ == "__main__":
    main(sys.argv[1:])
