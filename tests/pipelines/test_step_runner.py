"""Test steps: each runs once in a process and passes on its output."""

import pytest

from pipelines.commands import Step
from pipelines.step_runner import RefusedError, Runner, acquire_folder
from transforms.records import UsageError


def make_step(root, *words: str, files=()) -> Step:
    output = root / "groups"
    flags = {"grouping": "random_groups", "output": output}
    result = str(output / "groups.csv")
    return Step("group", "group", flags, result, files, words)


@pytest.fixture
def runner(tmp_path):
    with acquire_folder(str(tmp_path)) as lock:
        yield Runner(str(tmp_path), lock)


def test_a_step_is_run_once(runner, tmp_path):
    step = make_step(tmp_path, "--num_groups=5")
    assert not runner.is_finished(step)
    runner.run(step)
    assert runner.is_finished(step)
    before = (tmp_path / "groups/groups.csv").stat().st_mtime_ns
    runner.run(step)
    assert (tmp_path / "groups/groups.csv").stat().st_mtime_ns == before


def test_changed_flags_or_tables_rerun_a_step(runner, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a")
    step = make_step(tmp_path, "--num_groups=5", files=(str(table),))
    runner.run(step)
    assert runner.is_finished(step)
    other = make_step(tmp_path, "--num_groups=6", files=(str(table),))
    assert runner.is_another(other)
    table.write_text("b")
    assert runner.is_another(step)


def test_step_without_its_result_is_not_finished(runner, tmp_path):
    step = make_step(tmp_path, "--num_groups=5")
    runner.run(step)
    (tmp_path / "groups/groups.csv").unlink()
    assert not runner.is_finished(step)
    assert not runner.is_another(step)
    assert runner.is_another(make_step(tmp_path, "--num_groups=6"))
    runner.run(step)
    assert runner.is_finished(step)


def test_rejected_step_reports_the_reason_once(runner, tmp_path, capsys):
    with pytest.raises(RefusedError, match="--num_groups 1: must be at least 2"):
        runner.run(make_step(tmp_path, "--num_groups=1"))
    assert "must be at least" not in capsys.readouterr().err


def test_rejected_required_step_is_named_before_each_reason(runner, tmp_path):
    step = make_step(tmp_path, "--num_groups=1", "--seed=x")
    with pytest.raises(UsageError) as caught:
        runner.run_required(step)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("group: --") for line in lines)


def test_second_concurrent_study_is_rejected(tmp_path):
    with (
        acquire_folder(str(tmp_path)),
        pytest.raises(
            UsageError, match="another run, or its last step, is running there"
        ),
        acquire_folder(str(tmp_path)),
    ):
        pass
    with acquire_folder(str(tmp_path)):
        pass


def test_folder_that_cannot_be_created_is_rejected(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match="is not writable"),
        acquire_folder(str(tmp_path / "file" / "study")),
    ):
        pass
