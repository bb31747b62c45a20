import subprocess
import sys

from tests import building

_EMBEDDED = """\
import sys
import pipelines
from pipelines import light_imports

pipelines.stop_at_once()
light_imports.import_beam([])
assert "apache_beam" in sys.modules
assert not {"pandas", "google.auth", "pymongo", "apitools"} & set(sys.modules)
from apache_beam.options.pipeline_options import PipelineOptions
import boto3, google.cloud.storage, pandas
"""
_IN_A_PROGRAM = """\
import sys
from pipelines import light_imports

light_imports.import_beam([])
light_imports.hide_pandas_from_arrow()
assert not {"apache_beam", "pyarrow"} & set(sys.modules)
"""
_PLAN = """\
import sys
import pipelines
from pipelines import build

pipelines.stop_at_once()
build.main(sys.argv[1:])
assert not {"apache_beam", "pandas"} & set(sys.modules)
"""


def _run(code, *words):
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_embedded_job_imports_beam_without_its_optional_libraries():
    assert _run(_EMBEDDED).stderr == ""


def test_program_that_calls_a_job_imports_beam_as_usual():
    _run(_IN_A_PROGRAM)


def test_plan_needs_no_beam(mini_imagenet, tmp_path):
    _run(_PLAN, *building.command_line(mini_imagenet, tmp_path), "--plan_only")


def test_job_on_dask_imports_beam_without_its_optional_libraries():
    flags = ["--runner=DaskRunner", "--dask_client_address=127.0.0.1:1"]
    code = _EMBEDDED.replace("import_beam([])", f"import_beam({flags})")
    assert _run(f"{code}\nimport distributed").stderr == ""
