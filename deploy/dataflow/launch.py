"""Run a job with the parameters of the flex template.

Google's launcher runs this file with --name=value for every parameter.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Each parameter is a single string; these hold several paths, separated by commas.
_LISTS = ("input", "model")
# The image contains everything that workers import, so no session is saved.
_ALWAYS = ("--no_wait_until_finish", "--no_save_main_session")
_METADATA = Path(__file__).with_name("metadata.json")


def make_command(argv: Sequence[str]) -> list[str]:
    """Return the command of the job that --job names; the default is build.

    Raises:
      ValueError: --job names another job.
    """
    # The console sends the defaults of all parameters, of which other jobs know few.
    parameters = json.loads(_METADATA.read_bytes())["parameters"]
    defaults = {p["name"]: p.get("defaultValue", "") for p in parameters}
    (options,) = (p["enumOptions"] for p in parameters if p["name"] == "job")
    jobs = [option["value"] for option in options]
    job = defaults["job"]
    words: list[str] = []
    for word in argv:
        name, is_given, value = word.removeprefix("--").partition("=")
        if name == "job":
            job = value
        elif name in _LISTS and is_given:
            words += [f"--{name}", *value.split(",")]
        elif not is_given or value not in {"", defaults.get(name)}:
            words.append(word)
    if job not in jobs:
        raise ValueError(f"--job {job}: is not one of {', '.join(jobs)}")
    return [sys.executable, "-m", f"pipelines.{job}", *words, *_ALWAYS]


def main(argv: Sequence[str]) -> None:
    """Replace this process by the job."""
    try:
        command = make_command(argv)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    os.execv(command[0], command)  # noqa: S606  # built above; no shell is involved


if __name__ == "__main__":
    main(sys.argv[1:])
