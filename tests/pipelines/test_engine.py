import apache_beam as beam
import pytest

from pipelines import engine
from transforms.records import JobError, UsageError


@pytest.mark.parametrize(
    "flags", [[], ["--runner=DirectRunner"], ["--runner", "DirectRunner"]]
)
def test_default_engine_is_the_embedded_one(flags):
    options = engine.make_beam_options(flags)
    assert options.get_all_options()["runner"] == "FnApiRunner"
    assert options.get_all_options()["direct_running_mode"] == "in_memory"


def test_other_engines_can_be_named():
    options = engine.make_beam_options(["--runner=FlinkRunner"])
    assert options.get_all_options()["runner"] == "FlinkRunner"


def _raise(error):
    raise error


@pytest.mark.parametrize("kind", [UsageError, JobError])
@pytest.mark.parametrize(
    "flags",
    [[], ["--direct_running_mode=multi_processing", "--direct_num_workers=1"]],
    ids=["in process", "other process"],
)
def test_a_steps_error_is_raised_as_it_was(kind, flags):
    def define(root):
        _ = root | beam.Create([kind("two\nlines")]) | beam.Map(_raise)

    with pytest.raises(kind) as raised:
        engine.run(define, engine.make_beam_options(flags))
    assert str(raised.value) == "two\nlines"


def test_an_error_of_the_machine_is_the_jobs():
    def define(root):
        _ = root | beam.Create([OSError(28, "No space left")]) | beam.Map(_raise)

    with pytest.raises(JobError, match=r"No space left"):
        engine.run(define, engine.make_beam_options([]))
