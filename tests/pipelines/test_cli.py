import dataclasses

import pytest

from pipelines.cli import flag, parse
from transforms.records import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoilOptions:
    """Hard or soft."""

    minutes: int = flag("how long", default=4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EggOptions:
    """Cook an egg."""

    method: str = flag("how", choices=("boil", "fry"))
    number: int | None = flag("how many", default=None)
    salt: float = flag("grams", default=0.5)
    peel: bool = flag("take off the shell", default=False)
    spice: tuple[str, ...] = flag("repeatable", default=())
    side: tuple[str, ...] = flag(
        "by commas", default=("toast",), choices=("toast", "ham")
    )

    def problems(self):
        if self.number == 0:
            yield "--number 0: must be at least 1"


METHODS = {"method": {"boil": BoilOptions}}


def _parse(*argv):
    return parse(EggOptions, argv, prog="cook", methods=METHODS)


def test_values_become_the_fields_types():
    options, own, rest = _parse(
        "--method=boil", "--number", "3", "--salt=1", "--peel", "--side=ham,toast",
        "--spice", "a,b", "--spice=c", "--boil_minutes=9", "--runner=DirectRunner",
    )  # fmt: skip
    assert options == EggOptions(
        method="boil",
        number=3,
        salt=1.0,
        peel=True,
        spice=("a,b", "c"),
        side=("ham", "toast"),
    )
    assert own == {"method": BoilOptions(minutes=9)}
    assert rest == ["--runner=DirectRunner"]


def test_defaults_stand_where_nothing_is_given():
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
        (["--method=fry", "--peel=x"], ["--peel x: is true or false"]),
        (["--method=fry", "--side=jam"], ["--side jam: is not one of toast, ham"]),
        (["--method=fry", "--number=0"], ["--number 0: must be at least 1"]),
        (
            ["--method=fry", "--boil_minutes=1"],
            ["--boil_minutes: goes with --method=boil only"],
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
    for expected in ("Cook an egg.", "--boil_minutes", "(4)", "(required)", "(toast)"):
        assert expected in text
