import subprocess
import sys

from tests import building

_EMBEDDED = """\
import sys
import pipelines
from pipelines.beam_import import import_beam

pipelines.stop_at_once()
import_beam([])
assert "apache_beam" in sys.modules
assert not {"pandas", "google.cloud", "pymongo", "apitools"} & set(sys.modules)
from apache_beam.options.pipeline_options import PipelineOptions
import boto3, google.cloud.storage, pandas
"""
_IN_A_PROGRAM = """\
import sys
from pipelines.beam_import import import_beam

import_beam([])
assert "apache_beam" not in sys.modules
"""
_PLAN = """\
import sys
from pipelines import build

build.main(sys.argv[1:])
assert "apache_beam" not in sys.modules
"""


def _run(code, *words):
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


def test_embedded_job_imports_beam_without_its_optional_libraries():
    assert _run(_EMBEDDED).stderr == ""


def test_program_that_calls_a_job_imports_beam_as_usual():
    _run(_IN_A_PROGRAM)


def test_plan_needs_no_beam(mini_imagenet, tmp_path):
    _run(_PLAN, *building.command_line(mini_imagenet, tmp_path), "--plan_only")
