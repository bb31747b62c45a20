"""Run a job as `imagenet-subsets JOB`, the same as `python -m pipelines.JOB`."""

import argparse
import importlib
import os
import sys

import argcomplete

from pipelines import stop_at_once
from pipelines.cli import suggest
from transforms import __version__

JOBS = {
    "build": "build a subset of ImageNet, or a demonstration",
    "index": "list every image of ImageNet and the location of its bytes",
    "group": "group the classes, and compare groupings",
    "identify": "identify the published subset in a folder, list or dataset",
    "verify": "check every file and image of a dataset",
    "train": "train models on a dataset",
    "predict": "run trained models on images",
    "confusion": "compute confusion matrices from predictions",
    "difficulty": "compute the difficulty of each image from predictions or scores",
    "evaluate": "compare the ranking of models on a subset and on the full set",
    "study": "compare subsets: build, train and evaluate each",
    "chain": (
        "run the jobs from raw images to a subset with a flat difficulty histogram"
    ),
    "doctor": "check this machine: versions, cores, memory, credentials, engines",
}


def _describe_jobs() -> str:
    lines = [f"  {name:<11} {what}" for name, what in JOBS.items()]
    return "\n".join([
        "usage: imagenet-subsets JOB [FLAGS]",
        "",
        *lines,
        "",
        "imagenet-subsets JOB --help lists the flags of a job.",
        "",
    ])


def _complete(line: str) -> str:
    """Complete the job's name in the shell, or return it if the line goes on.

    The job's parser completes its flags.
    """
    words = line.split()
    if words[1:2] and words[1] in JOBS and (words[2:] or line[-1].isspace()):
        os.environ["_ARGCOMPLETE"] = "2"  # the job's name is the program
        return words[1]
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("job", choices=JOBS)
    argcomplete.autocomplete(parser)  # exits
    return ""


def main() -> None:
    """Run the job named by the first argument."""
    stop_at_once()
    name, *flags = sys.argv[1:] or ["--help"]
    if "_ARGCOMPLETE" in os.environ:
        name = _complete(os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])])
    if name in {"--help", "-h"}:
        sys.stdout.write(_describe_jobs())
    elif name == "--version":
        sys.stdout.write(f"imagenet-subsets {__version__}\n")
    elif name not in JOBS:
        sys.stderr.write(f"error: {name}: unknown job{suggest(name, JOBS)}\n")
        sys.exit(2)
    else:
        importlib.import_module(f"pipelines.{name}").main(flags)
