"""Beam's flags → a runner that loses nothing, and its errors → ours."""

import logging
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
    TestOptions,
)
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.runner import PipelineState

from pipelines import portable_engines, remote_engines, spelling
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
    problems += remote_engines.find_dataflow_problems(options)
    return [*problems, *portable_engines.find_problems(options)]


def make_beam_options(flags: Sequence[str]) -> PipelineOptions:
    """Make Beam's options of the flags that are not ours, already checked."""
    options = PipelineOptions(list(flags))
    standard = options.view_as(StandardOptions)
    if standard.runner in {None, "DirectRunner"}:
        standard.runner = _EMBEDDED
    return options


def is_embedded(options: PipelineOptions) -> bool:
    """Tell whether the job runs by this process, and is done when `run` returns."""
    return options.view_as(StandardOptions).runner == _EMBEDDED


def has_one_process(options: PipelineOptions) -> bool:
    """Tell whether all steps run in this process."""
    direct = options.view_as(DirectOptions)
    return is_embedded(options) and direct.direct_running_mode == "in_memory"


def embed(flags: Sequence[str]) -> list[str]:
    """Make flags for a job that runs by this process, whatever engine they name."""
    return [*flags, f"--runner={_EMBEDDED}"]


def _stray_words(flags: Sequence[str]) -> list[str]:
    """Find the words that are neither a flag nor the value of the flag before them."""
    before = ["", *flags]
    return [
        flag
        for flag, last in zip(flags, before, strict=False)
        if not flag.startswith("-") and (not last.startswith("-") or "=" in last)
    ]


def run(define: Callable[[beam.Pipeline], Any], options: PipelineOptions) -> bool:
    """Build a graph and run it to its end, or, if that is asked for, only submit it.

    Returns: Whether the job is at its end; never False without
      --no_wait_until_finish.
    Raises: UsageError, JobError: as the steps raised them, on whatever engine.
    """
    pipeline = _make_pipeline(define, options)
    # What a step raises is raised here too; Beam's log would only say it twice.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    portable_engines.silence()
    try:
        result = pipeline.run()
        # A template's launcher is given the job as a file, and submits it.
        has_job = getattr(result, "has_job", True)
        if not has_job or not PipelineState.is_terminal(result.state):
            sys.stderr.write(f"{remote_engines.describe_job(result, options)}\n")
            if not has_job or options.view_as(StandardOptions).no_wait_until_finish:
                return False
        _wait(result, options)
    except (UsageError, JobError) as error:
        raise type(error)(_WHERE.sub("", str(error))) from error
    except remote_engines.list_errors(options) as error:
        raise _translate(error) from error
    return True


def _wait(result: Any, options: PipelineOptions) -> None:  # noqa: ANN401  # of any runner
    """Wait for a job; Ctrl-C ends it, wherever it is: else it would be paid for."""
    try:
        result.wait_until_finish()
    except KeyboardInterrupt:
        if not is_embedded(options):
            sys.stderr.write("cancelling the job\n")
            sys.stderr.write(f"{remote_engines.cancel_job(result, options)}\n")
        raise


def make_job(
    define: Callable[[beam.Pipeline], Any], options: PipelineOptions
) -> beam_runner_api_pb2.Pipeline:
    """Build a graph as its engine would get it, and give it to none."""
    options.view_as(TestOptions).dry_run = True
    pipeline = _make_pipeline(define, options)
    if remote_engines.is_dataflow(options):
        result: Any = pipeline.run()  # of the runner's own kind
        return result.job.proto_pipeline
    return pipeline.to_runner_api()


def _make_pipeline(
    define: Callable[[beam.Pipeline], Any], options: PipelineOptions
) -> beam.Pipeline:
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:  # flags that contradict each other
        raise UsageError(str(error)) from error
    define(pipeline)
    return pipeline


def _translate(error: Exception) -> BaseException:
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
