"""Build and submit a job's command from the parameters of the flex template.

Google's launcher runs this file with --name=value for every parameter.
"""

import os
import sys
from collections.abc import Sequence

JOBS = ("build", "index")  # those that keep nothing on the machine that launches them
# Parameters are one text each; these hold several paths, parted by commas.
_LISTS = ("input",)
# Everything that workers import lies in the image; the session holds nothing of ours.
_ALWAYS = ("--no_wait_until_finish", "--no_save_main_session")


def make_command(argv: Sequence[str]) -> list[str]:
    """Return the command of the job that --job names.

    Raises:
      ValueError: there is no such job.
    """
    job = JOBS[0]
    words: list[str] = []
    for word in argv:
        name, is_given, value = word.removeprefix("--").partition("=")
        if name == "job":
            job = value
        elif name in _LISTS and is_given:
            words += [f"--{name}", *value.split(",")]
        elif not is_given or value:  # an empty parameter is one that is not given
            words.append(word)
    if job not in JOBS:
        raise ValueError(f"--job {job}: is not one of {', '.join(JOBS)}")
    return [sys.executable, "-m", f"pipelines.{job}", *words, *_ALWAYS]


def main(argv: Sequence[str]) -> None:
    """Replace this process by the job."""
    try:
        command = make_command(argv)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    os.execv(command[0], command)  # noqa: S606  # of our own making; no shell reads it


if __name__ == "__main__":
    main(sys.argv[1:])
