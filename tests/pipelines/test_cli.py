import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import cli, difficulty, evaluate, group, index, study, train
from pipelines.building.options import BuildOptions, method_options
from pipelines.building.output import make_folder
from pipelines.cli import parse
from pipelines.train import TrainOptions
from transforms import __version__
from transforms.images.settings import RESIZE_MODES, ImageSettings
from transforms.options import flag
from transforms.records import UsageError
from transforms.training import architectures


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoilOptions:
    """Hard or soft."""

    minutes: int = flag("how long", default=4, minimum=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EggOptions:
    """Cook an egg."""

    method: str = flag("how", choices=("boil", "fry"))
    number: int | None = flag("how many", default=None, minimum=1)
    salt: float = flag("grams", default=0.5, minimum=0, below=10)
    heat: float = flag("watts", default=100.0, above=0, maximum=2000)
    stove_size: int = flag("plates", default=4, minimum=1, maximum=6)
    peel: bool = flag("take off the shell", default=False)
    spice: tuple[str, ...] = flag("repeatable", default=())
    side: tuple[str, ...] = flag(
        "by commas", default=("toast",), choices=("toast", "ham"), split=","
    )
    seconds: tuple[float, ...] = flag(
        "by commas", default=(60.0,), above=0, split=",", allow_repeats=True
    )

    def problems(self):
        if self.number == 13:
            yield "--number 13: brings bad luck; take another"
        if self.side == ("ham",) and not self.peel:
            yield "--peel: is required (for ham)"


METHODS = {"method": {"boil": BoilOptions}}


@pytest.fixture(autouse=True)
def _given_files(tmp_path_factory, monkeypatch):
    """Create the files that the command lines name, because missing ones are errors."""
    folder = tmp_path_factory.mktemp("given")
    monkeypatch.chdir(folder)
    for name in ("i", "i.parquet", "g.csv", "c.npz", "d.parquet"):
        (folder / name).touch()


def _parse(*argv):
    return parse(EggOptions, argv, prog="cook", methods=METHODS)


def test_values_become_the_fields_types():
    options, own, rest = _parse(
        "--method=boil", "--number", "3", "--salt=1", "--peel", "--side=ham,toast",
        "--spice", "a,b", "--spice=c", "--boil_minutes=9", "--runner=DirectRunner",
        "--seconds=60, 60,", "--seconds", "5",
    )  # fmt: skip
    assert options == EggOptions(
        method="boil",
        number=3,
        salt=1.0,
        peel=True,
        spice=("a,b", "c"),
        side=("ham", "toast"),
        seconds=(60.0, 60.0, 5.0),
    )
    assert own == {"method": BoilOptions(minutes=9)}
    assert rest == ["--runner=DirectRunner"]


def test_defaults_apply_to_absent_flags():
    options, own, rest = _parse("--method=fry", "--peel=false")
    assert options == EggOptions(method="fry")
    assert (own, rest) == ({}, [])


@pytest.mark.parametrize(
    ("argv", "problems"),
    [
        ([], ["--method: is required (how)"]),
        (
            ["--method=bail"],
            ["--method bail: is not one of boil, fry; did you mean boil?"],
        ),
        (["--method=fry", "--number=x"], ["--number x: is not a whole number"]),
        (["--method=fry", "--salt=x"], ["--salt x: is not a number"]),
        (["--method=fry", "--peel=x"], ["--peel x: must be true or false"]),
        (["--method=fry", "--side=jam"], ["--side jam: is not one of toast, ham"]),
        (["--method=fry", "--number=0"], ["--number 0: must be at least 1"]),
        (["--method=fry", "--number=13"], ["--number 13: brings bad luck"]),
        (
            ["--method=fry", "--salt=10"],
            ["--salt 10: must be at least 0 and below 10"],
        ),
        (
            ["--method=fry", "--salt=nan"],
            ["--salt nan: must be at least 0 and below 10"],
        ),
        (
            ["--method=fry", "--heat=0"],
            ["--heat 0: must be above 0 and at most 2000"],
        ),
        (
            ["--method=fry", "--stove_size=7"],
            ["--stove_size 7: must be between 1 and 6"],
        ),
        (
            ["--method=fry", "--seconds=1,x,-2"],
            ["--seconds x: is not a number", "--seconds -2: must be above 0"],
        ),
        (
            ["--method=fry", "--side", "ham,jam", "toast, ham"],
            [
                "--side jam: is not one of toast, ham",
                "--side ham: is given twice; give it once",
            ],
        ),
        (["--method=fry", "--side=,"], ["--side: has no value; give at least one"]),
        (
            ["--method=boil", "--boil_minutes=0"],
            ["--boil_minutes 0: must be at least 1"],
        ),
        (
            ["--method=fry", "--stove-size=3"],
            ["--stove-size: unknown flag; did you mean --stove_size?"],
        ),
        (
            ["--method=fry", "--stove-size", "3", "--numbr=1"],
            [
                "--stove-size: unknown flag; did you mean --stove_size?",
                "--numbr: unknown flag; did you mean --number?",
            ],
        ),
        (
            ["--method=fry", "--boil_minutes=1"],
            ["--boil_minutes: applies only with --method=boil"],
        ),
        (
            ["--method=fry", "--numbr=1"],
            ["--numbr: unknown flag; did you mean --number?"],
        ),
        (["--method=fry", "--meth=boil"], ["--meth: unknown flag"]),
        (["--method=fry", "well"], ["well: not a flag"]),
        (
            ["--number=x", "--salt=y"],
            ["--method: is required (how)", "--number x: ", "--salt y: "],
        ),
    ],
)
def test_every_problem_is_named(argv, problems):
    with pytest.raises(UsageError) as raised:
        _parse(*argv)
    for line, expected in zip(str(raised.value).splitlines(), problems, strict=True):
        assert line.startswith(expected)


def test_help_shows_flags_defaults_and_method_options(capsys):
    with pytest.raises(SystemExit) as ended:
        _parse("--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for expected in (
        "Cook an egg.",
        "--boil_minutes",
        "(at least 1; default: 4)",
        "(required)",
        "(default: toast)",
    ):
        assert expected in text


def test_every_job_prints_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        _parse("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"imagenet-subsets {__version__}\n"


@pytest.mark.parametrize(
    ("runner", "problem"),
    [
        (
            "PortbleRunner",
            "PortbleRunner: unknown runner; did you mean PortableRunner?",
        ),
        ("dask", "dask: unknown runner; did you mean DaskRunner?"),
        ("Sun", "Sun: unknown runner"),
    ],
)
def test_an_unknown_runner_is_named(runner, problem):
    with pytest.raises(UsageError) as raised:
        _parse("--method=fry", f"--runner={runner}")
    assert str(raised.value) == f"--runner {problem}"


@pytest.mark.parametrize("runner", ["direct", "FLINKRUNNER", "a.module.MyRunner"])
def test_runners_may_be_written_as_beam_accepts_them(runner):
    _parse("--method=fry", f"--runner={runner}")


def test_dashes_are_corrected_where_beam_has_no_flags():
    with pytest.raises(UsageError) as raised:
        parse(
            EggOptions, ["--stove-size=3"], prog="cook", takes_beam_flags=False,
        )  # fmt: skip
    assert str(raised.value).splitlines() == [
        "--stove-size: unknown flag; did you mean --stove_size?",
        "--method: is required (how)",
    ]


def test_consequences_of_a_reported_problem_are_not_reported():
    with pytest.raises(UsageError) as raised:
        _parse("--method=fry", "--peel=x", "--side=ham")
    assert str(raised.value) == "--peel x: must be true or false"


def _build_errors(*words):
    with pytest.raises(UsageError) as raised:
        parse(BuildOptions, words, prog="build", methods=method_options())
    return str(raised.value).splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ["--preset=n20_m500"],
        ["--preset=n20-m5000", "--groups=g.csv"],
        ["--presett=n20_m5000"],
        ["--grouping=all_clases", "--folds=2", "--confusion_prior=1"],
        ["--groupin=random_groups", "--num_groups=2", "--images_per_group=1"],
        ["--grouping=random_groups", "--num-groups=2", "--images_per_group=1"],
        ["--grouping=random_groups", "--num_groups=2", "--images_per_grup=1"],
    ],
)
def test_misspelt_flag_or_value_adds_no_second_problem(words):
    (line,) = _build_errors("--input=i", *words)
    assert "; did you mean " in line


def test_all_missing_files_are_reported_with_the_other_problems():
    words = ["--input", "no", "i", "*.tar", "--grouping=confusion", "--num_groups=5"]
    words += ["--confusion=no.npz", "--confusion_heldout=no2.npz", "--difficulty=no3"]
    made = "no such file; make it with python -m pipelines.confusion"
    assert _build_errors(*words, "--images_per_group=9", "--output=gs://no") == [
        "--difficulty no3: applies only with --sampling=difficulty",
        "--confusion no.npz: " + made,
        "--input no: no such file or folder",
        "--input *.tar: no such file or folder; patterns are not expanded: give the "
        "folder of the files, .",
        "--confusion_heldout no2.npz: " + made,
    ]


def test_other_problems_are_reported_beside_a_misspelt_preset():
    first, second = _build_errors("--preset=n20_m500", "--dataset_version=1")
    assert first.endswith("; did you mean n20_m5000?")
    assert second == "--dataset_version 1: must be x.y.z, e.g. 1.0.0"


@pytest.mark.parametrize(
    ("word", "suggested"),
    [
        ("resnet18", "resnet152 or resnet101 or resnet50"),
        ("efficientnet_b0", "efficientnetb0"),
        ("VGG-16", "vgg16"),
    ],
)
def test_unknown_model_is_answered_with_all_models_and_the_nearest(word, suggested):
    words = ["--dataset=d", "--output=o", f"--models={word}"]
    with pytest.raises(UsageError) as raised:
        parse(TrainOptions, words, prog="train", takes_beam_flags=False)
    assert str(raised.value) == (
        f"--models {word}: is not one of {', '.join(architectures.NAMES)}; did you "
        f"mean {suggested}?"
    )


@pytest.mark.parametrize("word", ["--job-name=x", "--numbr=1"])
def test_unknown_flags_are_reported_once_and_not_by_beam(word, caplog):
    with pytest.raises(UsageError, match=f"^{word.split('=')[0]}: unknown flag"):
        _parse("--method=fry", word)
    assert not caplog.records


def test_preset_names_the_grouping_that_it_takes():
    for flags in ({"preset": "imagenette"}, {"grouping": "curated"}):
        assert not list(BuildOptions(**flags).describe_preset())
    chosen = {"preset": "n20_m5000", "grouping": "random_groups"}
    assert not list(BuildOptions(**chosen).describe_preset())
    assert list(BuildOptions(preset="n20_m5000").describe_preset()) == [
        "--preset n20_m5000: uses --grouping=wordnet; give --grouping to choose "
        "another method"
    ]


BUILD = ("--input=i.parquet", "--grouping=all_classes", "--min_validation_images=0")


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_every_resize_mode_is_accepted(mode):
    words = (*BUILD, f"--resize_mode={mode}")
    options, _, _ = parse(BuildOptions, words, prog="build", takes_beam_flags=False)
    assert options.image_settings == ImageSettings(resize_mode=mode)


def test_every_problem_of_the_image_settings_is_named():
    wrong = ("--image_size=0", "--resize_mode=crop", "--jpeg_quality=101")
    with pytest.raises(UsageError) as raised:
        parse(BuildOptions, (*BUILD, *wrong), prog="build", takes_beam_flags=False)
    lines = str(raised.value).splitlines()
    assert [line.split()[0] for line in lines] == [
        "--image_size",
        "--resize_mode",
        "--jpeg_quality",
    ]


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("--difficulty_drop_hardest=1", "1: must be at least 0 and below 1"),
        ("--difficulty_drop_hardest=-0.1", "-0.1: must be at least 0 and below 1"),
        ("--difficulty_drop_hardest=nan", "nan: must be at least 0 and below 1"),
        ("--confusion_prior=-1", "-1: must be between 0 and 100"),
        ("--confusion_prior=nan", "nan: must be between 0 and 100"),
        ("--wordnet_rule=pure2", "pure2: is not one of pairwise, capped, pure"),
    ],
)
def test_ranges_and_choices_of_methods_are_checked(word, problem):
    words = ["--input=i", "--num_groups=2", "--images_per_group=1", word]
    words += ["--confusion=c.npz", "--sampling=difficulty", "--difficulty=d.parquet"]
    method = word.removeprefix("--").split("_")[0]
    words.append(f"--grouping={'wordnet' if method == 'difficulty' else method}")
    with pytest.raises(UsageError) as raised:
        parse(BuildOptions, words, prog="build", methods=method_options())
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{word.split('=')[0]} {problem}")


@pytest.mark.parametrize("output", ["/proc/new/folder", "/dev/null/x", "/proc"])
def test_outputs_that_cannot_be_written_are_refused(output):
    message = f"--output {output}: is not writable .*; use another path"
    with pytest.raises(UsageError, match=message):
        cli.check_output(output)


@pytest.mark.parametrize("output", ["/proc/new/i.parquet", "/dev/null/i.parquet"])
def test_index_checks_its_output_before_the_input(output, capfd, tmp_path):
    with pytest.raises(SystemExit) as ended:
        index.main([f"--input={tmp_path}", f"--output={output}"])
    assert ended.value.code == 2
    err = capfd.readouterr().err
    assert re.fullmatch(rf"error: --output {output}: is not writable \(.*\n", err)


def test_output_folder_that_is_a_file_is_named(tmp_path):
    file = tmp_path / "recipes.json"
    file.touch()
    with pytest.raises(UsageError, match=r"recipes\.json: is a file; give a folder"):
        make_folder(str(file))


def test_checking_an_output_leaves_nothing(tmp_path):
    for output in (tmp_path, tmp_path / "new/folder", tmp_path / "file.parquet", None):
        cli.check_output(output and str(output))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("job", [difficulty, evaluate, group, study, train])
def test_jobs_of_one_machine_say_so(job, capfd):
    with pytest.raises(SystemExit):
        job.main(["--runner=DataflowRunner", "--runer=x"])
    err = capfd.readouterr().err
    assert (
        "error: --runner: unknown flag; it is one of Apache Beam, without which this "
        "job runs on one machine; leave it out\n" in err
    )
    assert "error: --runer: unknown flag\n" in err


ROOT = Path(__file__).parents[2]
_COMPLETE = """
eval "$(register-python-argcomplete imagenet-subsets)"
while read -r COMP_LINE; do
  COMP_POINT=${#COMP_LINE}
  _python_argcomplete imagenet-subsets
  echo "${COMPREPLY[@]}"
done
"""


def test_jobs_flags_and_values_are_completed_in_bash(tmp_path):
    command = tmp_path / "imagenet-subsets"
    code = "from pipelines.entry_point import main; main()"
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{code}' \"$@\"\n")
    command.chmod(0o700)
    folders = (tmp_path, Path(sys.executable).parent, os.environ["PATH"])
    completions = {
        "bu": ["build"],
        "build --pres": ["--preset"],
        "build --grouping wo": ["wordnet"],
        "build --formats=parquet,web": ["parquet,webdataset"],
        "train --mo": ["--models"],
    }
    bash = subprocess.run(
        ["bash", "-c", _COMPLETE],
        input="".join(f"imagenet-subsets {words}\n" for words in completions),
        env={
            **os.environ,
            "PATH": ":".join(map(str, folders)),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    lines = bash.stdout.splitlines()
    assert [line.split() for line in lines] == list(completions.values()), bash.stderr
