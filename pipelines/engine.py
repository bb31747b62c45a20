"""Beam's flags → a runner that loses nothing, and its errors → ours."""

import logging
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
)

from pipelines import portable_engines, spelling
from transforms.records import JobError, UsageError

_WHERE = re.compile(r" \[while running .*?\]$", re.DOTALL)
_RAISED = re.compile(
    r"^(?:\w+\.)*(UsageError|JobError|\w+Error): (.*?)(?= \[while running|\n\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
# Beam's DirectRunner may become Prism, which it would download; this one never does.
_EMBEDDED = "FnApiRunner"


def find_flag_problems(flags: Sequence[str], ours: Collection[str] = ()) -> list[str]:
    """Name the flags that Beam does not know, or that lose images.

    Args:
      flags: what is left of the command line.
      ours: the job's own flags, to find the nearest name among.
    """
    options = PipelineOptions(list(flags))
    known = set(options.get_all_options())
    unknown = set(options.get_all_options(retain_unknown_options=True)) - known
    problems = [
        spelling.describe_unknown_flag(name, [*ours, *known])
        for name in sorted(unknown)
    ]
    problems += [f"{word}: not a flag" for word in _stray_words(flags)]
    if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
        problems.append(
            "--direct_running_mode multi_threading: loses images; use --threads, "
            "or multi_processing"
        )
    return [*problems, *portable_engines.find_problems(options)]


def make_beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Make Beam's options of the flags that are not ours, already checked."""
    options = PipelineOptions(list(flags))
    standard = options.view_as(StandardOptions)
    if standard.runner in {None, "DirectRunner"}:
        standard.runner = _EMBEDDED
    return options


def _stray_words(flags: Sequence[str]) -> list[str]:
    """Find the words that are neither a flag nor the value of the flag before them."""
    before = ["", *flags]
    return [
        flag
        for flag, last in zip(flags, before, strict=False)
        if not flag.startswith("-") and (not last.startswith("-") or "=" in last)
    ]


def run(define: Callable[[beam.Pipeline], Any], options: PipelineOptions) -> None:
    """Build a graph and run it to its end.

    Raises: UsageError, JobError: as the steps raised them, on whatever engine.
    """
    pipeline = beam.Pipeline(options=options)
    define(pipeline)
    # What a step raises is raised here too; Beam's log would only say it twice.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    portable_engines.silence()
    try:
        pipeline.run().wait_until_finish()
    except (UsageError, JobError) as error:
        raise type(error)(_WHERE.sub("", str(error))) from error
    except RuntimeError as error:
        raise _translate(error) from error


def _translate(error: RuntimeError) -> BaseException:
    """Find the error in the text that Beam, or another process's worker, made of it."""
    if str(error).startswith("KeyboardInterrupt"):
        return KeyboardInterrupt()
    found = list(_RAISED.finditer(str(error)))
    for match in reversed(found):
        message = _WHERE.sub("", match.group(2))
        if match.group(1) == "UsageError":
            return UsageError(message)
        if match.group(1) == "JobError":
            return JobError(message)
    return JobError(found[-1].group(0) if found else str(error))
